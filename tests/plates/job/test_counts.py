"""Counting as part of a plate job: with the painting, after it, resumed, and its gray levels."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_virtual_paint.counting.settings import CountSettings
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.painting import PaintSettings, original_values
from napari_virtual_paint.plates import open_plate
from napari_virtual_paint.plates.job.gray import controls_of
from napari_virtual_paint.plates.paint import paint_plate, plate_state, read_scores
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.plates.simulation.simulate import simulate_plate
from napari_virtual_paint.reading import read
from napari_virtual_paint.reading.ome_zarr import ZarrImages
from napari_virtual_paint.runtime.generators import run_to_end

CPU = PaintSettings(device="cpu")
COUNT = CountSettings()


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Plate:
    """Two simulated wells, a control and a treated one, with their true stains."""
    path = tmp_path_factory.mktemp("plate") / "p.zarr"
    run_to_end(simulate_plate(PlateDesign((1, 2), size=160, seed=2), path))
    return open_plate(path)


@pytest.fixture(scope="module")
def model() -> Model:
    return open_model("simulated-cell-painting")


def labels_of(image: Path) -> dict[str, int]:
    with ExitStack() as files:
        return {name: int(np.asarray(each.data).max()) for name, each in ZarrImages(str(image), files).labels(0).items()}


def test_counted_with_the_painting_or_after_it(plate: Plate, model: Model, tmp_path: Path) -> None:
    """Both ways give the same counts, labels and table; a further run has nothing to do."""
    first = run_to_end(paint_plate(plate, model, tmp_path / "a.zarr", CPU, count=COUNT))
    run_to_end(paint_plate(plate, model, tmp_path / "b.zarr", CPU))
    second = run_to_end(paint_plate(plate, model, tmp_path / "b.zarr", CPU, count=COUNT))
    assert (second.painted, second.skipped) == (0, 2)
    assert first.objects == second.objects
    assert first.objects["nuclei"] > 3
    tables = [pd.read_parquet(each.table) for each in (first, second)]
    painted = tables[0][tables[0]["source"] == "painted"]
    assert (painted["object"] == "nucleus").sum() == first.objects["nuclei"]
    assert sorted(tables[1]["well"].unique()) == ["A01", "A02"]
    scores = read_scores(tmp_path / "a.zarr")
    for well, nuclei, cells in zip(scores["well"], scores["nuclei"], scores["cells"], strict=True):
        for output in ("a.zarr", "b.zarr"):
            assert labels_of(tmp_path / output / "A" / str(int(well[1:])) / "0") == {"nuclei": nuclei, "cells": cells}
    assert scores["nuclei_real"].sum() > 0
    modified = (tmp_path / "a.zarr.job" / "scores.parquet").stat().st_mtime_ns
    again = run_to_end(paint_plate(plate, model, tmp_path / "a.zarr", CPU, count=COUNT))
    assert (again.objects, again.table) == (first.objects, first.table)
    assert (tmp_path / "a.zarr.job" / "scores.parquet").stat().st_mtime_ns == modified


def test_other_settings_count_anew(plate: Plate, model: Model, tmp_path: Path) -> None:
    one = plate.select("A1")
    run_to_end(paint_plate(one, model, tmp_path / "a", CPU, count=COUNT))
    before = plate_state(one, model, tmp_path / "a", CPU)[one.fields[0]]
    labels = read(tmp_path / "a" / "labels" / "A01_0.ome.tif").compute()
    assert labels.channels == ("nuclei", "cells")
    summary = run_to_end(paint_plate(one, model, tmp_path / "a", CPU, count=replace(COUNT, cells="AGP")))
    after = plate_state(one, model, tmp_path / "a", CPU)[one.fields[0]]
    assert (summary.painted, before["nuclei"]) == (0, after["nuclei"])
    assert before["counted"] != after["counted"]
    assert not np.array_equal(np.asarray(labels.data[0, 1]), np.asarray(read(tmp_path / "a" / "labels" / "A01_0.ome.tif").data[0, 1]))


@pytest.mark.parametrize("span", ["model", "percentiles", "controls"])
def test_one_mapping_for_the_whole_plate(plate: Plate, model: Model, tmp_path: Path, span: str) -> None:
    options = {} if span != "controls" else {"count": COUNT}
    run_to_end(paint_plate(plate, model, tmp_path / "g.zarr", CPU, gray_range=span, **options))  # type: ignore[arg-type]
    stored = json.loads((tmp_path / "g.zarr.job" / "job.json").read_text())["gray"]
    assert stored["range"] == span
    images = [read(tmp_path / "g.zarr" / "A" / column / "0") for column in ("1", "2")]
    assert [each.dtype for each in images] == [np.uint16] * 2
    assert [dict(each.provenance or {})["gray_levels"] for each in images] == [stored] * 2
    run_to_end(paint_plate(plate.select("A1"), model, tmp_path / "f.zarr", CPU))
    plain = np.asarray(read(tmp_path / "f.zarr" / "A" / "1" / "0").data)
    step = max(each["scale"] for each in stored["stains"].values())
    assert np.abs(np.asarray(original_values(images[0]).data) - plain).max() <= 0.51 * step + 1e-6
    again = run_to_end(paint_plate(plate, model, tmp_path / "g.zarr", CPU))  # goes on as it was begun
    assert (again.painted, again.skipped) == (0, 2)
    with pytest.raises(InputError, match=f"gray levels .* were none and are now {span}"):
        run_to_end(paint_plate(plate.select("A1"), model, tmp_path / "f.zarr", CPU, gray_range=span))  # type: ignore[arg-type]


def test_controls_are_named_by_the_plate_map(plate: Plate) -> None:
    assert controls_of(plate) == {well for well, row in plate.metadata.items() if row["control"] == "yes"}
    with pytest.raises(InputError, match="no well is known as a control"):
        controls_of(replace(plate, metadata={}))
