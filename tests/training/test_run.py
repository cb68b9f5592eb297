"""Runs from their configuration to their package: seeded, resumable, whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import Cancelled, InputError
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.training import load_config, train
from napari_virtual_paint.training.callback import TrainingProgress
from small_training import TOY

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")

TINY: dict[str, Any] = {
    **TOY,
    "data": {"simulate": {"fields": 2, "size": 96}},
    "network": {"config": {"depth": 2, "width": 4, "dropout": 0.1}},
    "steps": 6,
    "epoch": 2,
    "augment": {"flips": True},
    "optimizer": {"lr": 0.01, "schedule": "one_cycle", "clip": 1.0},
    "ema": 0.5,
    "seed": 3,
}
VOLUME = {
    "data": {"simulate": {"fields": 1, "size": 64, "z": 8}, "target_channels": ["DNA", "Membrane"]},
    "network": {"architecture": "FNet", "config": {"dims": 3, "depth": 2, "mult_chan": 2}},
    "patch": [8, 16, 16],
    "loss": "mse",
    "steps": 2,
}


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def weights(package: Path) -> dict[str, torch.Tensor]:
    return open_model(package).network.state_dict()


def same(a: Path, b: Path) -> bool:
    mine, theirs = weights(a), weights(b)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrainingProgress]]:
    folder = tmp_path_factory.mktemp("finished")
    seen: list[TrainingProgress] = []
    return train(load_config(written(folder)), seen.append, "virtual-paint train run.yaml"), seen


def test_the_package_is_sound_and_its_card_tells(finished: tuple[Path, list[TrainingProgress]]) -> None:
    package, _ = finished
    report = check_model(package)
    assert report.ok, report.checks
    info = open_model(package).info
    assert info.stains == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert set(info.card.scores) == set(info.stains)
    assert all(set(row) == {"pcc", "ssim"} for row in info.card.scores.values())
    assert info.card.made_with == "virtual-paint train run.yaml"
    assert "right 25% of each image" in info.card.held_out_on
    assert info.card.not_for == TINY["not_for"]
    assert info.pixel_size.y == pytest.approx(0.65)


def test_progress_counts_to_the_end(finished: tuple[Path, list[TrainingProgress]]) -> None:
    _, seen = finished
    assert [report.step for report in seen if report.epoch is None] == [1, 2, 3, 4, 5, 6]
    epochs = [report.epoch for report in seen if report.epoch is not None]
    assert [epoch.step for epoch in epochs] == [2, 4, 6]
    assert seen[-1].seconds_left == 0
    best = max(epochs, key=lambda epoch: epoch.mean_pcc)
    assert [report.epoch for report in seen if report.best][-1] == best


def test_the_best_epoch_is_kept(finished: tuple[Path, list[TrainingProgress]]) -> None:
    package, seen = finished
    best = max(report.epoch.mean_pcc for report in seen if report.epoch is not None)
    scored = np.mean([row["pcc"] for row in open_model(package).info.card.scores.values()])
    assert scored == pytest.approx(best, abs=1e-3)
    text = (package.with_name("tiny.run") / "curve.csv").read_text().splitlines()
    assert text[0].startswith("epoch,step,loss,pcc_0")
    assert len(text) == 4


def test_the_same_seed_gives_the_same_weights_and_another_one_others(finished: tuple[Path, list[TrainingProgress]], tmp_path: Path) -> None:
    again = train(load_config(written(tmp_path / "again")))
    other = train(load_config(written(tmp_path / "other", seed=4)))
    assert same(finished[0], again)
    assert not same(finished[0], other)


def test_a_run_broken_off_goes_on_as_if_it_had_not_been(finished: tuple[Path, list[TrainingProgress]], tmp_path: Path) -> None:
    config = load_config(written(tmp_path))

    def break_off(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        train(config, break_off)
    seen: list[TrainingProgress] = []
    package = train(config, seen.append)
    assert [report.step for report in seen if report.epoch is None] == [5, 6]
    assert same(finished[0], package)
    assert (config.run / "curve.csv").read_text() == (finished[0].with_name("tiny.run") / "curve.csv").read_text()
    later: list[TrainingProgress] = []
    train(config, later.append)
    assert later == []


def command(path: Path) -> subprocess.Popen[str]:
    code = "import sys; from napari_virtual_paint.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", code, "train", str(path)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def stopped_after_an_epoch(path: Path, number: int) -> tuple[int, str]:
    process = command(path)
    written_last = path.with_name("tiny.run") / "curve.csv"  # after the checkpoint
    end = time.monotonic() + 90
    while not written_last.is_file() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    _, words = process.communicate(timeout=60)
    return process.returncode, words


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    long = {"steps": 60, "epoch": 1}
    killed = written(tmp_path / "killed", **long)
    code, _ = stopped_after_an_epoch(killed, signal.SIGKILL)
    assert code == -signal.SIGKILL
    lines = (killed.with_name("tiny.run") / "curve.csv").read_text().splitlines()
    assert 2 <= len(lines) < 31
    done: list[int] = []

    def until(progress: TrainingProgress) -> None:
        done.append(progress.step)
        if progress.step == 30:
            raise Cancelled("that is enough")

    with pytest.raises(Cancelled):
        train(load_config(killed), until)
    assert done[0] in (len(lines), len(lines) + 1)
    whole = written(tmp_path / "whole", **long)
    with pytest.raises(Cancelled):
        train(load_config(whole), until)
    curves = [(path.with_name("tiny.run") / "curve.csv").read_text() for path in (killed, whole)]
    assert curves[0] == curves[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a child")
def test_ctrl_c_says_that_the_run_can_go_on(tmp_path: Path) -> None:
    code, words = stopped_after_an_epoch(written(tmp_path, steps=5000, epoch=1), signal.SIGINT)
    assert code == 130
    assert "the same command resumes it" in words
    assert "Traceback" not in words


def test_a_run_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    train(load_config(written(tmp_path, steps=2)))
    with pytest.raises(InputError, match=r"tiny\.run: this run was started with other settings"):
        train(load_config(written(tmp_path, steps=2, batch=3)))


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "tiny.run").mkdir()
    (tmp_path / "tiny.run" / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"last\.ckpt: the checkpoint can't be read"):
        train(load_config(written(tmp_path)))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"config": {"depth": 2, "widht": 4}}, "network.config: UNet has no setting 'widht'"),
        ({"config": {"depth": 1}}, "network.config: UNet depth must be 2 or more."),
        ({"config": {"depth": 2, "in_channels": 7}}, "network.config.in_channels is 7, but the data has 3"),
        ({"config": {"depth": 7, "width": 2}}, "patch: each side must be a multiple of 64"),
    ],
)
def test_a_network_that_does_not_fit(tmp_path: Path, network: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        train(load_config(written(tmp_path, network=network)))
    assert words in str(caught.value)


def test_refit_trains_on_everything_for_as_long(tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    package = train(load_config(written(tmp_path, refit=True)), seen.append)
    best = [report.step for report in seen if report.best and report.phase == "training"][-1]
    assert [report.step for report in seen if report.phase == "refit" and report.epoch is None][-1] == best
    card = open_model(package).info.card
    assert "anew on everything" in card.trained_on
    assert card.scores


def test_the_last_epoch_is_kept_where_it_is_asked_for(finished: tuple[Path, list[TrainingProgress]], tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    changes = {"keep": "last", "optimizer": {"lr": 0.5}}
    package = train(load_config(written(tmp_path, **changes)), seen.append)
    pcc = [report.epoch.mean_pcc for report in seen if report.epoch is not None]
    scored = np.mean([row["pcc"] for row in open_model(package).info.card.scores.values()])
    assert scored == pytest.approx(pcc[-1], abs=1e-3)
    assert all(report.best for report in seen if report.epoch is not None)


def test_a_volume_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(written(tmp_path, **VOLUME)), "--json"]) == 0
    out, words = capsys.readouterr()
    found = json.loads(out)
    assert found["model"] == "tiny"
    assert set(found["scores"]) == {"DNA", "Membrane"}
    assert "training: step 2/2" in words
    assert check_model(tmp_path / "tiny").ok
    assert open_model(tmp_path / "tiny").info.dims == 3


def test_without_lightning_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "lightning" else find(name, *rest))
    assert main(["train", str(written(tmp_path))]) == 1
    assert "pip install 'napari-virtual-paint[train]'" in capsys.readouterr().err


def test_importing_the_room_imports_neither_torch_nor_lightning() -> None:
    code = "import sys, napari_virtual_paint.training; print(sorted({'torch', 'lightning'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
