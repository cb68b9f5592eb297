"""Plates painted by networks whose bits depend on the number of threads: it is part of the job, and a resumed run has it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
import torch

from napari_virtual_paint.metrics import report
from napari_virtual_paint.models import Match, open_model
from napari_virtual_paint.painting import blocks
from napari_virtual_paint.painting.predictor import Predictor
from napari_virtual_paint.plates.job import field as field_module
from napari_virtual_paint.plates.job import planning
from napari_virtual_paint.plates.job.field import Painter, true_stains
from napari_virtual_paint.plates.job.job import job_folder, load_job
from napari_virtual_paint.plates.paint import paint_plate, read_scores
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import Stack
from small_models import CONFIG_3D, TOY_3D, lively, write_toy
from small_plates import checksums, counts, make_plate, paint_and_die, preload, to_end, toy_model


def pix2pixhd(folder: Path) -> tuple[Plate, Path]:
    """A plate of pictures larger than a tile, and a network that normalises over the whole field."""
    config = {"in_channels": 3, "out_channels": 2, "width": 2, "downs": 1, "blocks": 1}
    return make_plate(folder / "plate", 2, size=272), write_toy(folder / "model", architecture="Pix2PixHD", config=config)


def fnet(folder: Path) -> tuple[Plate, Path]:
    """A plate of stacks, and a network of volumes."""
    plate = make_plate(folder / "plate", 2, size=32, planes=8, channels=("Brightfield", "DNA"))
    return plate, write_toy(folder / "model", TOY_3D, network=lively("FNet", CONFIG_3D, seed=6))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are started from one that has torch loaded, which needs fork")
@pytest.mark.parametrize(("make", "tile"), [(pix2pixhd, 256), (fnet, 64)])
def test_killed_and_gone_on_with_by_another_number_of_threads(
    make: Any, tile: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plate, package = make(tmp_path)
    model = open_model(package)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    to_end(paint_plate(plate, model, tmp_path / "whole"))
    process = preload().Process(target=paint_and_die, args=(plate, package, tmp_path / "out", 6, 2))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert 1 <= len(checksums(tmp_path / "out")) <= 2  # the second one may lie there whole, but not yet be listed as finished
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    used = threads_of(monkeypatch)
    fields, painted, skipped, failed = counts(to_end(paint_plate(plate, model, tmp_path / "out")))
    assert (fields, painted + skipped, failed) == (2, 2, 0)
    assert painted >= 1
    assert set(used) == {2}, "as many as the first run had"
    job = load_job(job_folder(tmp_path / "out"))
    assert job is not None
    assert (job.threads, job.settings.tile) == (2, tile)
    assert checksums(tmp_path / "out") == checksums(tmp_path / "whole")
    assert read_scores(tmp_path / "out")["pcc_DNA"].notna().all()


def threads_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the number of torch's threads whenever a field is painted."""
    found: list[int] = []
    whole = Predictor.paint

    def noted(self: Predictor, *args: Any) -> Any:
        found.append(torch.get_num_threads())
        return whole(self, *args)

    monkeypatch.setattr(Predictor, "paint", noted)
    return found


def test_a_field_is_matched_once_and_the_job_read_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate = make_plate(tmp_path / "plate", 3)
    model = toy_model(tmp_path)
    paths = (
        "napari_virtual_paint.plates.job.field.match",
        "napari_virtual_paint.painting.model_set.match",
        "napari_virtual_paint.models.applicability.check.match",
        "napari_virtual_paint.plates.job.field.load_job",
    )
    calls: list[str] = []
    for path in paths:
        original = resolve_name(path)

        def counted(*args: Any, _path: str = path, _original: Any = original, **options: Any) -> Any:
            calls.append(_path)
            return _original(*args, **options)

        monkeypatch.setattr(path, counted)
    request = []
    monkeypatch.setattr(Painter, "open", lambda painter: (calls.clear(), request.append(painter)))  # planning is over then
    assert counts(to_end(paint_plate(plate, model, tmp_path / "out", workers=1))) == (3, 3, 0, 0)
    assert len(request) == 1
    assert (calls.count(paths[0]), calls.count(paths[3]), len(calls)) == (3, 1, 4)


def test_true_stains_are_found_by_other_names_of_theirs() -> None:
    stack = Stack(np.zeros((1, 4, 1, 2, 2)), ("Brightfield", "MitoTracker Deep Red", "HOECHST 33342", "Cy5"))
    assert true_stains(stack, Match((0,), "planes"), ("DNA", "ER", "Mito")) == [2, 1]
    assert true_stains(Stack(stack.data), Match((0,), "planes"), ("DNA", "ER", "Mito")) == []


def test_mosaics_are_read_painted_and_scored_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate, model = make_plate(tmp_path / "plate", 2, size=420), toy_model(tmp_path)
    to_end(paint_plate(plate, model, tmp_path / "whole.zarr"))
    monkeypatch.setattr(field_module, "LARGE", 0)
    monkeypatch.setattr(planning, "LARGE", 0)
    monkeypatch.setattr(blocks, "WHOLE", 3 << 20)
    monkeypatch.setattr(blocks, "PER_BLOCK", 3 << 20)
    monkeypatch.setattr(report, "IN_MEMORY", 0)
    monkeypatch.setattr(report, "BLOCK", 100_000)
    seen: list[Any] = []
    monkeypatch.setattr(Painter, "paint", noting(Painter.paint, seen))
    assert counts(to_end(paint_plate(plate, model, tmp_path / "blocks.zarr"))) == (2, 2, 0, 0)
    assert all(not isinstance(loaded.stack.data, np.ndarray) for loaded in seen), "pixels stay in their files"
    for where in ("A/1/0", "A/2/0"):
        ours, theirs = (read(tmp_path / f"{name}.zarr", scene=where) for name in ("blocks", "whole"))
        assert ours.provenance is not None
        assert ours.provenance["block"] > 0
        np.testing.assert_allclose(np.asarray(ours.data), np.asarray(theirs.data), atol=1e-5)
        assert ours.channels == theirs.channels
    tables = [read_scores(tmp_path / f"{name}.zarr") for name in ("blocks", "whole")]
    for column in ("pcc_DNA", "ssim_DNA", "psnr_DNA", "mae_DNA"):
        np.testing.assert_allclose(tables[0][column], tables[1][column], rtol=1e-5)


def noting(paint: Any, seen: list[Any]) -> Any:
    """Note what is painted."""

    def noted(self: Painter, loaded: Any) -> Any:
        seen.append(loaded)
        return paint(self, loaded)

    return noted
