"""Every network of the package's list is trained and scored; the score and the stains that choose the epoch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.networks import build
from napari_virtual_paint.training import load_config, train
from napari_virtual_paint.training.callback import TrainingProgress
from small_training import TOY

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")

from napari_virtual_paint.networks.sizes import multiples, smallest
from napari_virtual_paint.training.modules.base import share_of_rate
from napari_virtual_paint.training.network_sizes import run_whole

TINY: dict[str, Any] = {
    **TOY,
    "steps": 2,
    "epoch": 1,
}
VOLUME = {"simulate": {"fields": 1, "size": 64, "z": 8}, "target_channels": ["DNA"]}
UNEXT = {"stem": 4, "widths": "8,16", "blocks": "1,1", "decoder_blocks": 1}


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


CASES: dict[str, dict[str, Any]] = {
    "fnet on planes": {"data": VOLUME, "network": {"architecture": "FNet", "config": {"dims": 2, "depth": 2, "mult_chan": 2}}},
    "unext2 of planes as channels": {
        "network": {
            "architecture": "UNeXt2",
            "config": {**UNEXT, "planes": 3, "stem_planes": 3, "out_planes": 1, "out_widths": "32", "head": "shuffle"},
        }
    },
    "unext2 of volumes": {
        "data": VOLUME,
        "patch": [5, 32, 32],
        "network": {"architecture": "UNeXt2", "config": {**UNEXT, "planes": 5, "stem_planes": 5, "out_planes": 5, "out_widths": "28"}},
    },
    "pix2pixhd by pixels": {"network": {"architecture": "Pix2PixHD", "config": {"width": 2, "downs": 1, "blocks": 1}}},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_a_network_is_trained_scored_and_packed(tmp_path: Path, changes: dict[str, Any]) -> None:
    train(load_config(written(tmp_path, **changes)))
    report = check_model(tmp_path / "tiny")
    assert report.ok, report.checks
    assert set(open_model(tmp_path / "tiny").info.card.scores) == set(changes.get("data", TINY["data"])["target_channels"])


@pytest.mark.parametrize(
    ("architecture", "config", "shape"),
    [
        ("UNet", {"in_channels": 1, "out_channels": 2, "depth": 3, "width": 2}, (1, 21, 30)),
        ("FNet", {"dims": 3, "depth": 2, "mult_chan": 2}, (1, 5, 17, 22)),
        ("Pix2PixHD", {"in_channels": 1, "out_channels": 2, "width": 2, "downs": 2, "blocks": 1}, (1, 5, 19)),
    ],
)
def test_a_field_of_any_size_is_padded_to_what_the_network_takes(architecture: str, config: dict[str, Any], shape: tuple[int, ...]) -> None:
    network = build(architecture, config).eval()
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    painted = run_whole(network, x, "cpu")
    assert all(side >= given for side, given in zip(painted.shape[1:], shape[1:], strict=True))
    assert all(side % step == 0 for side, step in zip(painted.shape[1:], multiples(network), strict=True))
    assert all(side >= least for side, least in zip(painted.shape[1:], smallest(network), strict=True))


def test_a_network_of_so_many_planes_is_slid_over_the_stack_and_averaged() -> None:
    network = build("UNeXt2", CASES["unext2 of volumes"]["network"]["config"] | {"out_channels": 1}).eval()
    x = np.random.default_rng(0).normal(size=(1, 7, 32, 32)).astype(np.float32)
    painted = run_whole(network, x, "cpu")
    with torch.inference_mode():
        windows = [network(torch.from_numpy(x[None, :, first : first + 5]))[0] for first in range(3)]
    painted = torch.from_numpy(painted)
    torch.testing.assert_close(painted[:, 0], windows[0][:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(painted[:, 2], (windows[0][:, 2] + windows[1][:, 1] + windows[2][:, 0]) / 3, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({**CASES["unext2 of volumes"], "patch": [8, 32, 32]}, "patch: the first number must be 5 for this network"),
        ({**CASES["pix2pixhd by pixels"], "patch": [33, 33]}, "patch: each side must be a multiple of 2"),
        ({**CASES["pix2pixhd by pixels"], "patch": [2, 2]}, "patch: y and x must be 4 or more for this network"),
        ({"monitor_stains": ["DAPI"]}, "monitor_stains: there is no stain 'DAPI'; there are DNA, ER"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        train(load_config(written(tmp_path, **changes)))
    assert words in str(caught.value)


def test_the_ssim_of_one_stain_chooses_the_epoch_and_ends_the_run(tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    changes = {"monitor": "ssim", "monitor_stains": ["ER"], "patience": 3, "steps": 40, "optimizer": {"lr": 0.3, "schedule": "linear"}}
    train(load_config(written(tmp_path, **changes)), seen.append)
    lines = [report.epoch for report in seen if report.epoch is not None]
    ssim = [line.scores["ssim"][1] for line in lines]
    best = int(np.argmax(ssim))
    assert [report.epoch for report in seen if report.best][-1] == lines[best]
    assert len(lines) == best + 1 + 3 < 40
    assert open_model(tmp_path / "tiny").info.card.scores["ER"]["ssim"] == pytest.approx(ssim[best], abs=2e-3)
    header = (tmp_path / "tiny.run" / "curve.csv").read_text().splitlines()[0]
    assert header == "epoch,step,loss,pcc_0,pcc_1,ssim_0,ssim_1"


def test_the_rate_falls_over_the_second_half() -> None:
    settings = load_settings({"schedule": "linear"})
    assert [share_of_rate(settings, step, 10) for step in (0, 4, 5, 7, 9, 10)] == pytest.approx([1, 1, 1, 0.6, 0.2, 0])


def load_settings(values: dict[str, Any]) -> Any:
    from napari_virtual_paint.training.config.network import Optimizer

    return Optimizer.model_validate(values)


@pytest.mark.skipif("VIRTUAL_PAINT_SLOW" not in os.environ, reason="starts three processes; set VIRTUAL_PAINT_SLOW=1 to run it")
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    shared = {"batch": 4, "steps": 4, "epoch": 2, "ema": 0.5, "network": {"config": {"depth": 2, "width": 4, "batch_norm": False}}}
    for devices in (1, 2):
        path = written(tmp_path / str(devices), **shared, devices=devices)
        done = subprocess.run(
            [sys.executable, "-m", "napari_virtual_paint.cli", "train", str(path), "--json"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"model"') == 1
    mine, theirs = (open_model(tmp_path / devices / "tiny").network.state_dict() for devices in "12")
    for key, value in mine.items():
        torch.testing.assert_close(value, theirs[key], atol=1e-3, rtol=0)
