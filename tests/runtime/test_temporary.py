"""Temporary folders: removed at the end, and after a kill by whoever makes the next one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.runtime import temporary

LEFT = """
import os, signal
from napari_virtual_paint.runtime.temporary import make_temporary_folder
(make_temporary_folder() / "file").write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_that_a_killed_process_left_goes_with_the_next(place: Path) -> None:
    subprocess.run([sys.executable, "-c", LEFT], check=False)
    assert len(list(place.iterdir())) == 1
    others = [place / "virtual-paint-table-abc", place / "virtual-paint-0000-1-x", place / "pymp-abc"]
    for other in others:
        other.mkdir()
    with temporary.temporary_folder() as folder, temporary.temporary_folder() as second:
        assert folder != second
        assert sorted(place.iterdir()) == sorted([*others, folder, second])
    assert sorted(place.iterdir()) == sorted(others), "those of other programs, and of other machines, stay"


def test_no_place_for_one_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: object) -> None:
        raise OSError(28, "No space left on device", str(place))

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    with pytest.raises(WriteError, match=r"no temporary folder can be made .*set TMPDIR"):
        temporary.make_temporary_folder()


def test_a_process_of_ones_own_puts_everything_into_one_folder(tmp_path: Path) -> None:
    script = """
import os, tempfile
from pathlib import Path
from napari_virtual_paint.runtime import temporary
place = tempfile.gettempdir()
temporary.LONGEST_PLACE = 1000
temporary.use_own_folder()
folder = Path(tempfile.gettempdir())
assert folder.parent == Path(place) and os.environ["TMPDIR"] == str(folder)
tempfile.mkdtemp(prefix="pymp-")
assert len(list(folder.iterdir())) == 1
temporary.LONGEST_PLACE = 1
temporary.use_own_folder()
assert folder == Path(tempfile.gettempdir())
"""
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path))}
    )
    assert not list(tmp_path.iterdir())
