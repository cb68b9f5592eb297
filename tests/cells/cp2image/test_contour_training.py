"""Training of ContourPainter: handles, counterfactuals, its losses, and runs that are broken off and go on."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_virtual_paint.cells.cp2image.config import CellTrainConfig
from napari_virtual_paint.cells.cp2image.contour_training import ContourTraining, blurred, log_spectrum
from napari_virtual_paint.cells.cp2image.counterfactuals import Counterfactuals
from napari_virtual_paint.cells.cp2image.handles import calibrate
from napari_virtual_paint.cells.cp2image.module import CURVE, Tensors, fit
from napari_virtual_paint.networks.contour_painter import CYTOPLASM_AREA, MEANS, NUCLEUS_AREA
from napari_virtual_paint.networks.outlines import SHAPE, Outlines, fit_outlines

SIZE = 32
NAMES = (
    "Nuclei_AreaShape_Area",
    "Cytoplasm_AreaShape_Area",
    "Nuclei_Intensity_MeanIntensity_DNA",
    "Cells_AreaShape_Solidity",
    "turn_cos",
    "turn_sin",
)


def cells(count: int = 24) -> Tensors:
    """Ellipses whose areas and brightness are three of the features, at the orientation of the last two."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(count, len(NAMES), generator=generator).clamp(-2, 2)
    angle = math.pi * (torch.rand(count, generator=generator) - 0.5)
    features[:, -2:] = torch.stack([angle.cos(), angle.sin()], 1)
    shape = torch.zeros(count, SHAPE)
    shape[:, 0] = 0.25
    drawn = Outlines(shape, 120 + 20 * features[:, 0], 180 + 30 * features[:, 1], features[:, -2:], torch.zeros(count, 2))
    nucleus, cell = drawn.masks(SIZE)
    dna = nucleus * (0.6 + 0.1 * features[:, 2, None, None])
    crops = torch.stack([dna, 0.5 * cell], 1) + 0.02 * torch.randn(count, 2, SIZE, SIZE, generator=generator)
    return Tensors(features, crops, (), fit_outlines(nucleus > 0.5, cell > 0.5))


def config_of(**changes: Any) -> CellTrainConfig:
    given: dict[str, Any] = {
        "id": "tiny-cells",
        "name": "Tiny cells",
        "description": "For tests.",
        "trained_on": "Discs.",
        "not_for": "Anything.",
        "output": "tiny.zip",
        "data": {"images": ["none.tif"], "channels": ["DNA", "ER"], "size": SIZE},
        "generator": {"architecture": "ContourPainter", "config": {"width": 4, "max_width": 8, "style": 8, "code": 2, "turn": 1}},
        "critic": {"architecture": "ContourCritic", "config": {"width": 4, "code": 8}},
        "batch": 6,
        "steps": 6,
        "epoch": 2,
        "threads": 1,
    }
    turn = given["generator"]["config"].pop("turn")
    config = CellTrainConfig.model_validate({**given, **changes})
    config.generator.config["turn"] = turn  # as `train.begin` adds it
    return config


def begun(data: Tensors, **changes: Any) -> ContourTraining:
    return ContourTraining.start(config_of(**changes), NAMES, data)


def test_handles_are_what_the_cells_show() -> None:
    data = cells(60)
    network = begun(data).generator
    assert network.handle_known.tolist() == [1, 1, 1, *[0] * 5]  # the table has no mean of the cytoplasm, nor of ER, nor a texture
    assert network.handle_columns[::2][:3].tolist() == [0, 1, 2]
    found = network.handles(data.features)
    torch.testing.assert_close(found[:, NUCLEUS_AREA], 120 + 20 * data.features[:, 0], atol=4, rtol=0)
    torch.testing.assert_close(found[:, CYTOPLASM_AREA], 180 + 30 * data.features[:, 1], atol=6, rtol=0)
    torch.testing.assert_close(found[:, MEANS], 0.57 + 0.1 * data.features[:, 2], atol=0.05, rtol=0)
    torch.testing.assert_close(network.noise_floor.data, torch.full((2,), 0.02), rtol=0.3, atol=0)


def test_contrasts_are_handles_in_the_pixels_that_were_measured() -> None:
    """Stripes of 3 px whose amplitude a feature gives: pixels 3 px apart differ by twice the amplitude, across the stripes alone."""
    data = cells(60)
    names = (*NAMES[:3], "Nuclei_Texture_Contrast_DNA_3_00_256", *NAMES[4:])
    amplitude = 0.1 + 0.02 * data.features[:, 3]
    stripes = torch.where(torch.arange(SIZE) // 3 % 2 == 0, 1.0, -1.0)
    crops = data.crops.clone()
    crops[:, 0] = 0.5 + amplitude[:, None, None] * stripes
    features = data.features.clone()
    features[:, 3] = amplitude.square()
    whole = Tensors(features, crops, (), data.outlines, torch.ones(60, SIZE, SIZE, dtype=torch.bool))
    network = ContourTraining.start(config_of(), names, whole).generator
    assert network.texture_scale.tolist() == [3, 0]
    assert network.handle_known[-2:].tolist() == [1, 0]
    torch.testing.assert_close(network.handles(features)[:, -2], 4 * amplitude.square() / 2, atol=1e-4, rtol=0)


def test_a_feature_that_explains_nothing_is_no_handle() -> None:
    data = cells(60)
    shuffled = Tensors(data.features[torch.randperm(60, generator=torch.Generator().manual_seed(0))], data.crops, (), data.outlines)
    assert begun(shuffled).generator.handle_known.sum() == 0


def test_calibration_inverts_what_a_segmentation_changes() -> None:
    data = cells(60)
    network = begun(data).generator
    before = network.handles(data.features)

    def segmented(crops: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """A segmentation by which nuclei have a tenth less area, and 10 px less."""
        nucleus = np.zeros((len(crops), SIZE * SIZE), bool)
        for row, area in enumerate(before[:, NUCLEUS_AREA].tolist()):
            nucleus[row, : round(0.9 * area - 10)] = True
        cell = nucleus.copy()
        cell[:, -100:] = True
        return nucleus.reshape(-1, SIZE, SIZE), cell.reshape(-1, SIZE, SIZE)

    notes = calibrate(network, data.features, lambda values, *_: values, segmented, torch.zeros(60, network.noise))
    assert notes[0].startswith("handle 0: measured = 0.90 x requested -")
    torch.testing.assert_close(network.handles(data.features)[:, NUCLEUS_AREA], (before[:, NUCLEUS_AREA] + 10) / 0.9, atol=1, rtol=0)
    # A cytoplasm that is the same whatever is asked for is left as it was.
    torch.testing.assert_close(network.handles(data.features)[:, CYTOPLASM_AREA], before[:, CYTOPLASM_AREA])


def test_moved_features_follow_as_a_population_s_do() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(500, 1))
    values = np.concatenate([hidden + 0.3 * rng.normal(size=(500, 2)), rng.normal(size=(500, 1))], 1)
    angle = torch.rand(500)
    pool = torch.cat([torch.from_numpy(values).float(), torch.stack([angle.cos(), angle.sin()], 1)], 1)
    moves = Counterfactuals.of(pool, turn=True, clip=5)
    column = torch.zeros(4, dtype=torch.int64)
    followed = moves.moved(pool[:4], column, pool[:4, 0] + 1, True) - pool[:4]
    slope = np.polyfit(values[:, 0], values[:, 1], 1)[0]
    torch.testing.assert_close(followed[:, 0], torch.ones(4))
    torch.testing.assert_close(followed[:, 1], torch.full((4,), float(slope)), atol=0.05, rtol=0)
    assert followed[:, 2].abs().max() < 0.15
    assert (followed[:, 3:] == 0).all()
    alone = moves.moved(pool[:4], column, pool[:4, 0] + 1, False) - pool[:4]
    torch.testing.assert_close(alone, torch.tensor([[1.0, 0, 0, 0, 0]]).expand(4, -1))
    drawn = moves.drawn(pool[:200], torch.tensor([1]), np.random.default_rng(1))
    changed = (drawn[:, :3] != pool[:200, :3]).sum(1)
    assert {int(each) for each in changed} >= {0, 1, 3}
    assert (changed == 1).logical_and(drawn[:, 1] != pool[:200, 1]).sum() == (changed == 1).sum()
    torch.testing.assert_close(drawn[:, 3:].norm(dim=1), torch.ones(200))


def test_a_run_that_was_broken_off_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = cells()
    whole = begun(data)
    list(fit(whole, data, data, tmp_path / "whole"))
    list(islice(fit(begun(data), data, data, tmp_path / "broken"), 3))
    resumed = begun(data)
    assert [step.done for step in fit(resumed, data, data, tmp_path / "broken")] == [3, 4, 5, 6]
    assert (tmp_path / "whole" / CURVE).read_text() == (tmp_path / "broken" / CURVE).read_text()
    pairs = zip(whole.final_generator.state_dict().values(), resumed.final_generator.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_painter_learns() -> None:
    data = cells()
    run = begun(data, steps=40, epoch=20, batch=8, ema=0.0)
    list(fit(run, data, data))
    first, last = run.curve
    assert last["pixel"] < first["pixel"]
    assert last["outline"] < first["outline"]
    assert last["spectrum"] < first["spectrum"]


@pytest.mark.parametrize("turned", [False, True])
def test_neither_step_touches_the_other_network(turned: bool) -> None:
    data = cells()
    if turned:
        data = Tensors(data.features, data.crops, (data.features,) * 8, data.outlines)
    run = begun(data)
    before = [parameter.clone() for parameter in run.critic.parameters()]
    run._update_critic = lambda *_: None  # type: ignore[method-assign]
    run.update(data)
    assert all(torch.equal(a, b) for a, b in zip(before, run.critic.parameters(), strict=True))
    run = begun(data)
    drawing = [parameter.clone() for parameter in run.generator.parameters()]
    run._update_generator = lambda *_: None  # type: ignore[method-assign]
    run.update(data)
    assert all(torch.equal(a, b) for a, b in zip(drawing, run.generator.parameters(), strict=True))


def test_a_spectrum_is_that_of_a_wave() -> None:
    line = torch.arange(SIZE)
    wave = torch.cos(2 * math.pi * 6 * line / SIZE).expand(1, 1, SIZE, SIZE)
    spectrum = log_spectrum(wave)
    assert spectrum.shape == (1, SIZE // 2)
    assert int(spectrum.argmax()) == 5  # the sixth ring
    torch.testing.assert_close(log_spectrum(2 * wave)[0, 5] - spectrum[0, 5], torch.tensor(math.log(4)), atol=1e-3, rtol=0)


def test_a_blur_keeps_the_light() -> None:
    crops = torch.zeros(1, 2, SIZE, SIZE)
    crops[..., 16, 16] = 1
    out = blurred(crops, 1.5)
    torch.testing.assert_close(out.sum((2, 3)), torch.ones(1, 2))
    rows = torch.arange(SIZE) - 16.0
    variance = (out[0, 0].sum(1) * rows.square()).sum()
    assert float(variance) == pytest.approx(1.5**2, rel=0.05)
    assert blurred(crops, 0) is crops
