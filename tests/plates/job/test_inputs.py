"""Which channels of a plate a model paints from, and when the user is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models import Model
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.inputs import PlateInputs, find_inputs
from napari_virtual_paint.plates.paint import paint_plate
from small_models import CONFIG_2D
from small_plates import counts, make_plate, to_end, toy_model

ONE_PLANE: dict[str, Any] = {
    "channels": ("Brightfield",),
    "config": {**CONFIG_2D, "in_channels": 1},
    "planes_as_channels": False,
    "z_offsets": None,
}


@pytest.fixture(scope="module")
def one_plane(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of one brightfield plane."""
    return toy_model(tmp_path_factory.mktemp("model"), **ONE_PLANE)


@pytest.mark.parametrize(
    ("channels", "taken", "question"),
    [
        (("DNA", "Brightfield"), (1,), ""),
        (("channel 0",), (0,), ""),
        (("Phase",), (0,), ""),
        (("FITC",), (None,), "FITC is fluorescence by name, and the model toy-planes paints from brightfield."),
        (
            ("DNA", "405 nm"),
            (None,),
            "The model toy-planes paints from Brightfield, and the plate's channels are DNA, 405 nm.",
        ),
    ],
)
def test_channels_are_taken_by_name_or_asked_for(
    one_plane: Model, tmp_path: Path, channels: tuple[str, ...], taken: tuple[int | None, ...], question: str
) -> None:
    plate = make_plate(tmp_path / "plate", 2, channels=channels)
    assert find_inputs(plate, one_plane.info) == PlateInputs(("Brightfield",), channels, taken, question)
    assert find_inputs(plate, one_plane.info, (channels[0],)).taken == (0,), "what the user chose is taken"


def test_a_stack_of_one_stain_is_asked_for_too(tmp_path: Path) -> None:
    model = toy_model(tmp_path)
    found = find_inputs(make_plate(tmp_path / "plate", 2, planes=5, channels=("Hoechst 33342",)), model.info)
    assert (found.wanted, found.taken) == (("the z-stack",), (None,))
    assert found.question == "Hoechst 33342 is fluorescence by name, and the model toy-planes paints from brightfield."


def test_the_first_field_that_can_be_read_tells(one_plane: Model, tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", 2, channels=("Brightfield",))
    (tmp_path / "plate" / "A01_0.npy").unlink()
    assert find_inputs(plate, one_plane.info).offered == ("Brightfield",)
    (tmp_path / "plate" / "A02_0.npy").unlink()
    found = find_inputs(plate, one_plane.info)
    assert found.unreadable.startswith("None of the 2 fields can be read: ")
    assert "A01_0.npy" in found.unreadable, "the fault of the first one"
    assert found == PlateInputs(unreadable=found.unreadable)


def test_a_stain_is_painted_from_only_if_it_is_named(one_plane: Model, tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "plate", 2, channels=("FITC",))
    with pytest.raises(ModelError, match=r"FITC is fluorescence by name.* as in --channels FITC\.$"):
        to_end(paint_plate(plate, one_plane, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert counts(to_end(paint_plate(plate, one_plane, tmp_path / "out", PaintSettings(channels=("FITC",))))) == (2, 2, 0, 0)
