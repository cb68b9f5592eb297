"""An image is made fit as the settings say: the models get the planes around the focus, even light and phase, and the stains say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import ModelInfo
from napari_virtual_paint.painting import Member, ModelSet, PaintSettings, image_preparation, paint, run_to_end
from napari_virtual_paint.painting.image_preparation import (
    Preprocessed,
    expected,
    phase_is_missing,
    preprocess,
    takes_phase,
    wants_preprocessing,
    why_no_phase,
)
from napari_virtual_paint.preprocessing import Microscope, PhaseSettings
from napari_virtual_paint.samples.camera import illumination
from napari_virtual_paint.stack import PixelSize, Stack
from random_models import model_of

OPTICS = PhaseSettings(Microscope(0.5, 0.3))
OFFSETS = {"channels": ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um"), "z_offsets": (-4.0, 0.0, 4.0)}


class Toy:
    """A model without weights."""

    def __init__(self, *channels: str, **changes: Any) -> None:
        texts = dict.fromkeys(("name", "version", "description", "license"), "x")
        settings: dict[str, Any] = {"dims": 2, "stains": ("DNA",), "weights": "pytorch_state_dict", **changes}
        self.info = ModelInfo(id="toy", authors=(), source=Path("toy"), channels=channels, **texts, **settings)


PLANE = Toy("Phase contrast")
WINDOW = Toy(*OFFSETS["channels"], z_offsets=OFFSETS["z_offsets"])
NEIGHBOURS = Toy("z0", "z1", "z2", planes_as_channels=True)
VOLUME = Toy("Brightfield", dims=3)


def stack_of(planes: int, focus: int | tuple[int, ...], names: tuple[str, ...] = ("Phase contrast",), step: float = 1.0) -> Stack:
    """A z-stack that is sharpest in one plane, at each time point in another; each plane's last pixel is its number."""
    rng = np.random.default_rng(0)
    sharp = (rng.random((64, 64)) > 0.98) * 4000.0
    frames = []
    for t in (focus,) if isinstance(focus, int) else focus:
        blurred = [ndimage.gaussian_filter(sharp, 0.8 + 0.6 * abs(z - t)) + 100 + rng.normal(0, 2, sharp.shape) for z in range(planes)]
        frames.append([blurred] * len(names))
    data = np.asarray(frames, np.float32)
    data[..., -1, -1] = np.arange(planes)
    return Stack(data, names, PixelSize(step, 0.5, 0.5), source="x.tif")


def prepared(model: Any, stack: Stack, **settings: Any) -> Preprocessed:
    models = model if isinstance(model, ModelSet) else ModelSet((Member(model),))
    chosen = PaintSettings(**settings)
    found = run_to_end(preprocess(models, stack, chosen))
    assert expected(models, stack, chosen).stack.shape == found.stack.shape
    assert expected(models, stack, chosen).stack.channels == found.stack.channels
    assert not wants_preprocessing(chosen, found.stack)
    return found


def planes_of(stack: Stack) -> list[list[int]]:
    """Return which planes an image holds: at each time point, those of its channels and planes."""
    return np.asarray(stack.data)[..., -1, -1].reshape(stack.shape[0], -1).round().astype(int).tolist()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("focus", "plane"), [("auto", 6), ("middle", 4), (2, 2)])
def test_a_model_of_single_planes_gets_the_one_in_focus(focus: Any, plane: int, lazy: bool) -> None:
    stack = stack_of(9, 6)
    stack = replace(stack, data=da.from_array(stack.data, chunks=(1, 1, 1, 64, 64))) if lazy else stack
    found = prepared(PLANE, stack, focus=focus)
    assert planes_of(found.stack) == [[plane]]
    assert found.focus == plane
    assert found.stack.pixel_size == PixelSize(None, 0.5, 0.5)
    record = (found.stack.provenance or {})["focus"]
    assert (record["planes"], record["of"]) == ([plane], 9)
    assert (found.curve is not None) == (focus == "auto")


def test_each_time_point_has_its_own_focus() -> None:
    found = prepared(PLANE, stack_of(7, (1, 5)), focus="auto")
    assert planes_of(found.stack) == [[1], [5]]
    assert (found.stack.provenance or {})["focus"]["planes"] == [1, 5]


@pytest.mark.parametrize(
    ("model", "focus", "step", "planes"),
    [
        (WINDOW, 6, 1.0, [2, 6, 10]),
        (WINDOW, 6, 2.0, [4, 6, 8]),
        (WINDOW, 1, 1.0, [0, 1, 5]),
        (WINDOW, 12, 1.0, [8, 12, 12]),
        (WINDOW, 6, 40.0, [5, 6, 7]),
        (NEIGHBOURS, 6, 1.0, [5, 6, 7]),
        (NEIGHBOURS, 0, 1.0, [0, 1, 2]),
        (NEIGHBOURS, 12, 1.0, [10, 11, 12]),
    ],
)
def test_a_model_of_several_planes_gets_those_around_the_focus(model: Toy, focus: int, step: float, planes: list[int]) -> None:
    """At its distances where they are known, and within the stack; with a note where they would lie beyond it."""
    found = prepared(model, stack_of(13, 6, ("Brightfield",), step), focus=focus)
    assert planes_of(found.stack) == [planes]
    assert found.stack.channels == model.info.channels
    assert bool(found.notes) == (focus in (0, 1, 12))


def test_the_channel_that_the_user_chose_is_that_of_the_stack() -> None:
    stack = stack_of(9, 4, ("DNA", "Brightfield"))
    found = prepared(ModelSet((Member(WINDOW, channels=(1,)),)), stack, focus="middle")
    assert found.stack.channels == WINDOW.info.channels
    assert found.models.members[0].channels is None
    with pytest.raises(ModelError, match="wants the channels"):
        run_to_end(preprocess(ModelSet((Member(NEIGHBOURS),)), stack, PaintSettings(focus="middle")))


def test_a_volume_is_painted_whole_and_its_focus_known() -> None:
    found = prepared(VOLUME, stack_of(5, 2, ("Brightfield",)), focus=2)
    assert found.stack.shape[2] == 5
    assert found.focus == 2
    assert "whole z-stack" in found.notes[0]


def test_one_plane_is_in_focus() -> None:
    found = prepared(PLANE, stack_of(1, 0), focus="auto")
    assert found.focus == 0
    assert planes_of(found.stack) == [[0]]


def test_what_can_not_be_focused_is_said() -> None:
    with pytest.raises(InputError, match=r"x\.tif: it has 5 planes \(0 to 4\), so there is no plane 5"):
        prepared(PLANE, stack_of(5, 2), focus=5)
    with pytest.raises(ModelError, match="different planes"):
        prepared(ModelSet((Member(PLANE), Member(VOLUME)), ensemble=True), stack_of(5, 2), focus=2)
    with pytest.raises(ModelError, match="3 z-planes"):
        prepared(NEIGHBOURS, stack_of(2, 0, ("Brightfield",)), focus=0)
    for focus in ("all", -1):
        with pytest.raises(InputError, match="focus"):
            PaintSettings(focus=focus)  # type: ignore[arg-type]


# -- light --------------------------------------------------------------------------------------------------------------


def test_light_is_estimated_from_the_image_and_corrected_before_anything_else() -> None:
    noise = np.random.default_rng(0).normal(1000, 10, (1, 2, 12, 64, 64)).astype(np.float32)
    even = Stack(noise, ("Brightfield", "DNA"), source="x.tif")
    light = illumination((64, 64), 0.4, (0.3, 0.6))
    uneven = replace(even, data=even.data * light)
    found = prepared(PLANE_OF_BRIGHTFIELD, uneven, illumination="auto")
    assert found.stack.shape == even.shape
    ratio = np.median(np.asarray(found.stack.data)[0, 0] / even.data[0, 0], axis=0)
    assert np.ptp(ratio / ratio.mean()) < 0.06 < np.ptp(light / light.mean())
    assert np.array_equal(np.asarray(found.stack.data)[0, 1], uneven.data[0, 1])
    assert list((found.stack.provenance or {})["illumination"]["fall"]) == ["Brightfield"]
    with pytest.raises(InputError, match="it is dark"):
        prepared(PLANE_OF_BRIGHTFIELD, replace(even, data=even.data * 0), illumination="auto")


PLANE_OF_BRIGHTFIELD = Toy("Brightfield")


def test_functions_of_a_folder_are_taken(tmp_path: Path) -> None:
    light = illumination((64, 64), 0.4, (0.3, 0.6))
    np.save(tmp_path / "Plate1_IllumBrightfield.npy", light)
    even = stack_of(3, 1, ("Brightfield",))
    found = prepared(PLANE_OF_BRIGHTFIELD, replace(even, data=even.data * light), illumination=str(tmp_path))
    assert np.allclose(np.asarray(found.stack.data), even.data * light.mean(), rtol=1e-4)
    assert (found.stack.provenance or {})["illumination"]["from"] == str(tmp_path)


# -- phase --------------------------------------------------------------------------------------------------------------

QUANTITATIVE = Toy("Phase")


def test_phase_is_made_for_models_of_phase() -> None:
    """2D for a model of single planes, 3D for one of several; once."""
    stack = stack_of(5, 2, ("DNA", "Brightfield"))
    found = prepared(QUANTITATIVE, stack, phase=OPTICS)
    assert (found.stack.channels, found.stack.shape[2]) == (("Phase",), 1)
    assert (found.stack.provenance or {})["phase"]["mode"] == "2d"
    volume = prepared(Toy("Phase", dims=3), stack, phase=OPTICS)
    assert volume.stack.shape[2] == 5
    window = prepared(Toy("Phase z0", "Phase z1", "Phase z2", planes_as_channels=True), stack, phase=OPTICS, focus=2)
    assert window.stack.shape[1:3] == (3, 1)


def test_phase_that_is_missing_is_noticed() -> None:
    brightfield = stack_of(5, 2, ("Brightfield",))
    assert phase_is_missing(QUANTITATIVE.info, brightfield)
    assert not phase_is_missing(PLANE_OF_BRIGHTFIELD.info, brightfield)
    assert not phase_is_missing(QUANTITATIVE.info, stack_of(5, 2, ("Phase",)))
    assert takes_phase(QUANTITATIVE.info)
    assert not takes_phase(PLANE.info)


@pytest.mark.parametrize(
    ("model", "stack", "words"),
    [
        (PLANE_OF_BRIGHTFIELD, stack_of(5, 2, ("Brightfield",)), "does not paint from phase"),
        (PLANE, stack_of(5, 2, ("Brightfield",)), "phase contrast, which is made in the microscope"),
        (QUANTITATIVE, stack_of(1, 0, ("Brightfield",)), "there is one plane"),
        (QUANTITATIVE, stack_of(3, 1, ("BF -4um", "BF +4um")), "which of its channels is the brightfield"),
        (QUANTITATIVE, stack_of(3, 1, ("DNA",)), "its channel is DNA"),
    ],
)
def test_why_no_phase_is_made_is_said(model: Toy, stack: Stack, words: str) -> None:
    assert words in why_no_phase(model.info, stack)
    with pytest.raises(InputError, match=words):
        run_to_end(preprocess(ModelSet((Member(model),)), stack, PaintSettings(phase=OPTICS)))  # type: ignore[arg-type]


# -- painting -----------------------------------------------------------------------------------------------------------


def test_painting_makes_the_image_fit_and_the_stains_say_so() -> None:
    model = model_of("UNet", depth=2, width=4, in_channels=1)
    stack = stack_of(5, 3, (model.info.channels[0],))
    chosen = PaintSettings(device="cpu", focus="auto", illumination="auto")
    painted = run_to_end(paint(model, stack, chosen))
    assert painted.stack.shape[2] == 1
    record = painted.stack.provenance or {}
    assert record["focus"]["planes"] == [3]
    assert record["settings"]["focus"] == "auto"
    assert "fall" in record["illumination"]
    ready = run_to_end(preprocess(model, stack, chosen))
    again = run_to_end(paint(model, ready.stack, chosen))
    assert np.array_equal(again.stack.data, painted.stack.data)
    assert run_to_end(paint(model, stack, PaintSettings(device="cpu"))).stack.shape[2] == 5


@pytest.mark.parametrize("focus", [{}, "x", {"planes": ["q"]}, {"planes": [0, 1, 2]}, {"planes": []}])
def test_malformed_entries_of_a_files_provenance_are_left_out(focus):
    stack = Stack(np.ones((1, 1, 1, 8, 8), np.float32), ("Brightfield",), provenance={"focus": focus, "phase": 3, "illumination": []})
    assert image_preparation.inherited(stack) == {}
    assert image_preparation.planes_in_focus(stack) is None
