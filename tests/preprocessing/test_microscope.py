"""A microscope's optics are checked, and kept by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.preprocessing import microscope as module
from napari_virtual_paint.preprocessing.microscope import Microscope, save_microscope, saved_microscopes


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0, 0.4), "NA is 0; give a number above 0"),
        ((0.5, float("nan")), "condenser NA is nan"),
        ((0.5, 0.4, 532.0), "light has 0.2 to 2 um"),
        ((0.5, 0.4, 0.5, 0.8), "give 1.0 for air"),
        ((1.2, 0.4, 0.5, 1.0), "is not below the refractive index"),
    ],
)
def test_impossible_optics_are_refused(values: tuple[float, ...], said: str) -> None:
    """Each in a sentence that names the number."""
    with pytest.raises(InputError, match=said):
        Microscope(*values)


def test_microscopes_are_kept_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that can't be read are left out, and stay in the file."""
    path = tmp_path / "new" / "microscopes.json"
    monkeypatch.setattr(module, "microscopes_file", lambda: path)
    assert saved_microscopes() == {}
    save_microscope("left one", Microscope(0.75, 0.4))
    save_microscope("left one", Microscope(0.8, 0.4, 0.6, 1.0))
    path.write_text(path.read_text().replace("{", '{"odd": {"na": -1}, "older": [1],', 1))
    assert saved_microscopes() == {"left one": Microscope(0.8, 0.4, 0.6, 1.0)}
    save_microscope("other", Microscope(0.3, 0.2))
    assert set(saved_microscopes()) == {"left one", "other"}
    assert '"odd"' in path.read_text()
