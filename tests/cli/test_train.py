"""`virtual-paint train --plate`: which of the plates that a table holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.cli import main
from napari_virtual_paint.cli.train import command_of, epoch_line

RNG = np.random.default_rng(0)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def configured(folder: Path, data: dict[str, object]) -> Path:
    """Write the configuration of a tiny training."""
    words = {"name": "A tiny model", "description": "For tests.", "trained_on": "Noise.", "not_for": "Anything."}
    network = {"config": {"depth": 2, "width": 4}}
    values = {"id": "tiny", **words, "output": "out.zip", "patch": [16, 16], "batch": 2, "network": network, "data": data}
    values["split"] = {"validation": {"side": "left"}}
    path = folder / "config.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def test_a_plate_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = ["file,plate,well,channel"]
    for name, well in (("P1", "A01"), ("P2", "B01"), ("P3", "C01")):
        for channel in ("Brightfield", "DNA"):
            tifffile.imwrite(tmp_path / f"{name}_{channel}.tif", RNG.integers(0, 4000, (32, 32)).astype(np.uint16))
            lines.append(f"{name}_{channel}.tif,{name},{well},{channel}")
    (tmp_path / "plates.csv").write_text("\n".join(lines))
    config = configured(tmp_path, {"plate": "plates.csv"})
    assert run("train", config, "--check", "--json") == 2
    assert "it holds 3 plates (P1, P2, P3); choose one by its name (--plate NAME)" in capfd.readouterr().err
    assert run("train", config, "--check", "--json", "--plate", "P3") == 0
    assert [pair["name"] for pair in json.loads(capfd.readouterr().out)["pairs"]] == ["C01/0"]
    assert run("train", config, "--check", "--json", "--plate", "P3", "--plate", "P1") == 0
    assert {pair["name"] for pair in json.loads(capfd.readouterr().out)["pairs"]} == {"P1/A01/0", "P3/C01/0"}
    assert run("train", config, "--check", "--plate", "P4") == 2
    assert "none called 'P4'" in capfd.readouterr().err


def test_a_plate_is_named_without_plates(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("train", configured(tmp_path, {"simulate": {"fields": 2}}), "--check", "--plate", "P1") == 2
    assert "--plate names plates of data.plate" in capfd.readouterr().err


def test_the_card_names_the_whole_command() -> None:
    args = argparse.Namespace(config=Path("a b.yaml"), axes="YXC,", plate_names=["P1", "P 2"])
    assert command_of(args) == "virtual-paint train 'a b.yaml' --axes YXC, --plate P1 --plate 'P 2'"


def test_the_line_of_an_epoch_has_each_score_of_the_curve() -> None:
    pytest.importorskip("lightning")
    from napari_virtual_paint.training.callback import TrainingProgress
    from napari_virtual_paint.training.modules.base import Epoch

    epoch = Epoch(1, 20, 0.5, {"pcc": (0.25, 0.75), "ssim": (0.1, 0.3)})
    line = epoch_line(TrainingProgress("training", 20, 40, epoch=epoch, best=True))
    assert line == "training: step 20/40, loss 0.5000, PCC 0.5000 (0.250 0.750), SSIM 0.2000 (0.100 0.300) best"
