"""A run seen from outside: how it stands, its preview, what it is told."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import Cancelled, InputError, ReadError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.training import TrainConfig, load_config, train
from napari_virtual_paint.training.callback import TrainingProgress
from napari_virtual_paint.training.run_folder.watch import CONTROL, PREVIEW, PROGRESS, EpochRecord, read_preview, send_command, watch
from napari_virtual_paint.training.run_folder.writer import RunFolderWriter
from napari_virtual_paint.training.time_estimate import DataShape, estimate, shape_of
from small_training import TOY

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")

TINY: dict[str, Any] = {
    **TOY,
    "data": {"simulate": {"fields": 1, "size": 64}, "target_channels": ["DNA", "ER"]},
    "split": {"validation": {"side": "right", "fraction": 0.5}},
    "network": {"config": {"depth": 2, "width": 4, "dropout": 0.1}},
    "batch": 1,
    "steps": 9,
    "epoch": 3,
    "ema": 0.5,
}
ALIVE = {"state": "running", "pid": os.getpid(), "born": psutil.Process().create_time(), "host": platform.node()}


def config_of(folder: Path, **changes: Any) -> TrainConfig:
    folder.mkdir(exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return load_config(path)


def at(step: int, config: TrainConfig, word: str, seen: list[TrainingProgress] | None = None) -> Any:
    """Return a report that tells the run a word at a step, and waits until it has heard it."""
    told = False

    def report(progress: TrainingProgress) -> None:
        nonlocal told
        if seen is not None:
            seen.append(progress)
        if progress.step == step and progress.epoch is None and not told:
            told = True
            send_command(config.run, word)
            time.sleep(0.5)

    return report


def written(folder: Path, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / PROGRESS).write_text(json.dumps({**ALIVE, **values}))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    config = config_of(tmp_path_factory.mktemp("whole"))
    train(config)
    return config


def weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    return open_model(config.output).network.state_dict()


def same(a: TrainConfig, b: TrainConfig) -> bool:
    mine, theirs = weights(a), weights(b)
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_finished_run_tells_all(whole: TrainConfig) -> None:
    state = watch(whole.run)
    assert (state.state, state.phase, state.id, state.stains) == ("finished", "writing the package", "tiny", ("DNA", "ER"))
    assert state.package == str(whole.output)
    assert not state.alive
    assert state.resumable
    assert [line.step for line in state.curve] == [3, 6, 9]
    assert all(len(line.scores["pcc"]) == 2 for line in state.curve)
    assert state.best == max(state.curve, key=lambda line: line.mean("pcc"))
    assert not (whole.run / CONTROL).exists()


def test_the_preview_is_what_the_network_paints_of_the_held_out_field(whole: TrainConfig) -> None:
    shown = read_preview(whole.run)
    assert (shown.step, shown.held_out, shown.stains) == (9, True, ("DNA", "ER"))
    assert shown.input.shape == (3, 64, 32)
    assert shown.truth.shape == shown.painted.shape == (2, 64, 32)
    assert len(shown.channels) == 3
    assert shown.pixel_size == pytest.approx((0.65, 0.65))
    pcc = [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(shown.painted, shown.truth, strict=True)]
    assert pcc == pytest.approx(watch(whole.run).curve[-1].scores["pcc"], abs=1e-4)


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_stop_keeps_every_step(whole: TrainConfig, tmp_path: Path, step: int) -> None:
    config = config_of(tmp_path)
    with pytest.raises(Cancelled, match=f"after step {step} is kept"):
        train(config, at(step, config, "stop"))
    state = watch(config.run)
    assert (state.state, state.resumable) == ("stopped", True)
    assert f"after step {step} is kept" in state.message
    seen: list[TrainingProgress] = []
    train(config, seen.append)
    assert [report.step for report in seen if report.epoch is None] == list(range(step + 1, 10))
    assert same(whole, config)
    assert (config.run / "curve.csv").read_text() == (whole.run / "curve.csv").read_text()


def test_finish_writes_the_package_of_the_best_epoch(tmp_path: Path) -> None:
    config = config_of(tmp_path, steps=3000, refit=True)
    seen: list[TrainingProgress] = []
    package = train(config, at(4, config, "finish", seen))
    steps = [report.step for report in seen if report.epoch is None]
    assert steps == [1, 2, 3, 4, 5]
    assert {report.phase for report in seen} == {"training"}
    state = watch(config.run)
    assert state.state == "finished"
    assert [line.step for line in state.curve] == [3, 5]
    scores = [row["pcc"] for row in open_model(package).info.card.scores.values()]
    assert np.mean(scores) == pytest.approx(state.best.mean("pcc"), abs=1e-3)
    card = open_model(package).info.card
    assert card.stopped == "Stopped after 5 of 3,000 steps"
    assert "**Stopped after 5 of 3,000 steps.**" in card.to_markdown()


def test_finish_before_the_first_epoch_scores_what_there_is(tmp_path: Path) -> None:
    config = config_of(tmp_path, steps=3000, epoch=1000)
    train(config, at(1, config, "finish"))
    assert [line.step for line in watch(config.run).curve] == [2]


def test_a_pause_holds_the_run_until_it_may_go_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, steps=4)
    seen: list[TrainingProgress] = []
    states: list[str] = []

    def go_on() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and watch(config.run).state != "paused":
            time.sleep(0.05)
        time.sleep(0.5)
        states.append(watch(config.run).state)
        states.append(str(watch(config.run).step))
        send_command(config.run, "go")

    helper = threading.Thread(target=go_on)
    helper.start()
    train(config, at(2, config, "pause", seen))
    helper.join()
    assert states == ["paused", "2"]
    assert [report.message for report in seen if report.message] == ["paused", "resumed"]
    assert watch(config.run).state == "finished"
    assert max(report.seconds_left or 0 for report in seen) < 5


def test_progress_is_written_once_a_second_at_most(tmp_path: Path) -> None:
    with RunFolderWriter(tmp_path / "run", "a", tmp_path / "a") as files:
        files.phase("training", 10)
        stamps = set()
        for step in range(12):
            files.step(step, 1.0, 0.5)
            stamps.add((files.folder / PROGRESS).stat().st_mtime_ns)
            time.sleep(0.1)
    assert len(stamps) <= 2
    assert watch(files.folder).recent[-1] == (11, 0.5)


def test_words_are_heard_within_a_second(tmp_path: Path) -> None:
    with RunFolderWriter(tmp_path / "run", "a", tmp_path / "a") as files:
        send_command(files.folder, "pause")
        end = time.monotonic() + 1
        while files.command != "pause" and time.monotonic() < end:
            time.sleep(0.02)
        assert files.command == "pause"


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    config = config_of(tmp_path, patch=[128, 128])
    with pytest.raises(InputError):
        train(config)
    state = watch(config.run)
    assert state.state == "failed"
    assert "smaller than a patch" in state.message


def test_a_run_whose_process_is_gone_is_told_as_stopped(tmp_path: Path) -> None:
    process = psutil.Popen(["sleep", "0"]) if os.name != "nt" else psutil.Popen(["cmd", "/c", "exit"])
    process.wait()
    state = watch(written(tmp_path / "gone", pid=process.pid))
    assert (state.state, state.resumable) == ("stopped", False)
    assert "ended without a message" in state.message
    assert watch(written(tmp_path / "reused", born=1.0)).state == "stopped"
    assert watch(written(tmp_path / "mine")).state == "running"


def test_a_run_of_another_machine_lives_while_it_gives_signs(tmp_path: Path) -> None:
    assert watch(written(tmp_path / "a", host="elsewhere", updated=time.time() - 5)).state == "running"
    assert watch(written(tmp_path / "b", host="elsewhere", updated=time.time() - 500)).state == "stopped"


def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    written(tmp_path, pid=os.getppid(), born=psutil.Process(os.getppid()).create_time())
    with pytest.raises(InputError, match="is already working on this run"):
        RunFolderWriter(tmp_path, "a", tmp_path / "a").__enter__()


def test_two_runs_that_begin_at_once(tmp_path: Path) -> None:
    with RunFolderWriter(tmp_path / "run", "a", tmp_path / "a"):
        (tmp_path / "run" / "progress.json").unlink()
        with pytest.raises(InputError, match="it is being trained by another run"), RunFolderWriter(tmp_path / "run", "a", tmp_path / "a"):
            pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["progress.json"]


def test_an_empty_folder_and_files_of_something_else(tmp_path: Path) -> None:
    assert watch(tmp_path / "none").state == "none"
    for text in ("not json", "[1]", '{"state": "flying", "pid": 1}', "{}"):
        (tmp_path / PROGRESS).write_text(text)
        with pytest.raises(ReadError, match="not the progress of a training run"):
            watch(tmp_path)
    (tmp_path / PREVIEW).write_bytes(b"PK nothing")
    with pytest.raises(ReadError, match="preview can't be read"):
        read_preview(tmp_path)
    with pytest.raises(InputError, match="use pause, go, stop, finish"):
        send_command(tmp_path, "fly")


def test_columns_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("epoch,step,loss,pcc_0,ssim_0,critic\n0,5,0.25,0.5,0.75,-3\n1,broken\n")
    assert watch(tmp_path).curve == (EpochRecord(5, 0.25, {"pcc": (0.5,), "ssim": (0.75,)}),)

    written(tmp_path, monitor="ssim")
    (tmp_path / "curve.csv").write_text("epoch,step,loss,pcc_0,ssim_0\n0,5,0.25,0.5,0.75\n1,10,0.2,0.75,0.5\n")
    state = watch(tmp_path)
    assert state.best is not None
    assert (state.best.step, state.best.mean("ssim")) == (5, 0.75), "the best epoch is that of the monitored metric"


# -- how long it takes ------------------------------------------------------------------------------------------------


def test_an_estimate_times_real_steps(tmp_path: Path) -> None:
    config = config_of(tmp_path, steps=1000)
    assert shape_of(config) == DataShape(3, 2, 0.5 * 64 * 64, 64 * 64)
    found = estimate(config)
    assert not found.scaled
    assert found.steps == 1000
    assert found.seconds > 1000 * found.step > 0
    assert found.pace.passes == pytest.approx(config.batch * config.patch[0] * config.patch[1] / (0.5 * 64 * 64))
    assert found.pace.seconds(1000, config.epoch) == found.seconds
    twice = estimate(config.model_copy(update={"refit": True}), DataShape(3, 2, 0))
    assert twice.seconds == pytest.approx(2000 * twice.step)
    assert "this CPU, 1 core" in found.text()
    assert 0 < found.alone <= found.seconds
    assert "share" not in replace(found, alone=found.seconds).text()
    assert "(10 s without them)" in replace(found, seconds=100.0, alone=10.0).text()


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_watches_and_tells(whole: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(whole.run.parent / "run.yaml")
    assert main(["train", path, "--watch", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["step"], set(found["pcc"])) == ("finished", 9, {"DNA", "ER"})
    assert main(["train", path, "--watch"]) == 0
    assert "tiny: finished" in capsys.readouterr().out
    assert main(["train", path, "--tell", "stop"]) == 2
    assert "no active run" in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "Give the configuration" in capsys.readouterr().err


def test_the_command_lists_recipes_and_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--recipes", "--json"]) == 0
    assert "quick" in [recipe["name"] for recipe in json.loads(capsys.readouterr().out)["recipes"]]
    assert main(["train", "--schema"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)
