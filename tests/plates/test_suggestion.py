"""Wells to stain: far from the training images and from each other, with controls and treatments among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.plates.suggestion import k_centre, stand_alone, suggesting, treatments
from napari_virtual_paint.runtime.generators import run_to_end

NONE: frozenset[str] = frozenset()
LINE = {"A01": np.array([1.0]), "A02": np.array([10.0]), "A03": np.array([9.0]), "A04": np.array([5.0]), "A05": np.array([-4.0])}


def test_each_well_is_the_farthest_from_those_before_and_from_the_training_images() -> None:
    # Farthest from 0: 10; then |5| is 5 from both and -4 is 4 from 0; then -4; 9 and 1 are 1 away from another.
    assert k_centre(LINE, 5, {}, NONE) == ("A02", "A04", "A05", "A01", "A03")


def test_the_largest_gap_is_at_most_twice_the_best_possible() -> None:
    """The bound of Gonzalez 1985, against every choice of three."""
    from itertools import combinations

    places = np.random.default_rng(0).normal(size=(9, 2))
    points = {f"A{i:02d}": place for i, place in enumerate(places)}

    def radius(chosen: Any) -> float:
        centres = np.array([np.zeros(2), *(points[well] for well in chosen)])
        return float(np.linalg.norm(places[:, None] - centres[None], axis=2).min(1).max())

    best = min(radius(three) for three in combinations(points, 3))
    assert radius(k_centre(points, 3, {}, NONE)) <= 2 * best


def test_no_treatment_comes_twice_before_each_was_chosen_and_a_control_is_among_them() -> None:
    groups = {"A01": "DMSO", "A02": "drug", "A03": "drug", "A04": "other", "A05": "drug"}
    assert k_centre(LINE, 2, groups, frozenset({"A01"})) == ("A02", "A01")
    assert set(k_centre(LINE, 3, groups, frozenset({"A01"}))) == {"A02", "A04", "A01"}
    assert k_centre(LINE, 1, groups, frozenset({"A01"})) == ("A02",)


def test_a_well_unlike_all_others_is_told() -> None:
    points = {f"A{i:02d}": np.array([float(i), 0.0]) for i in range(1, 11)}
    assert stand_alone(points) == ()
    assert stand_alone({**points, "H12": np.array([0.0, 40.0])}) == ("H12",)


def plate_at(folder: Path, gains: Mapping[str, float]) -> Path:
    """Write a plate of simulated-like fields: cells as blobs, more contrast with a gain."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    image = 1000 + sum(300 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 60) for a, b in rng.uniform(0, 128, (12, 2)))
    for well, gain in gains.items():
        pixels = image + gain * rng.normal(size=image.shape)
        tifffile.imwrite(folder / f"{well}_1_Brightfield.tif", pixels.clip(0).astype(np.uint16))
    return folder


GAINS = {"A01": 1.0, "A02": 1.2, "A03": 200.0, "A04": 190.0}


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Plate:
    folder = plate_at(tmp_path_factory.mktemp("plates") / "plate", GAINS)
    return open_plate(folder, pattern="{well}_{field}_{channel}")


def test_noisy_and_clean_wells_are_both_suggested(plate: Plate) -> None:
    found = run_to_end(suggesting(plate, open_model("jurkat-brightfield"), 2))
    wells = {one.well for one in found.wells}
    assert len(wells & {"A01", "A02"}) == len(wells & {"A03", "A04"}) == 1
    assert all(one.verdict in ("inside", "edge", "outside") and one.field == f"{one.well}/1" for one in found.wells)
    assert found == run_to_end(suggesting(plate, open_model("jurkat-brightfield"), 2))


def test_the_command_names_wells(plate: Plate, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["suggest", plate.source, "--pattern", "{well}_{field}_{channel}", "-m", "jurkat-brightfield", "--wells"]
    assert main([*command, "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["wells"] == [one["well"] for one in report["details"]]
    assert len(report["wells"]) == 2
    assert main([*command, "9", "--json"]) == 2
    assert "it has 4 wells, fewer than the 9 that are asked for" in capsys.readouterr().err


def test_a_model_without_summary_is_refused(plate: Plate) -> None:
    model = open_model("jurkat-brightfield")
    model.description = replace(model.description, info=replace(model.info, domain=None))
    with pytest.raises(InputError, match="no summary of its training images"):
        run_to_end(suggesting(plate, model, 1))


def test_the_plate_map_tells_treatments_and_controls(plate: Plate) -> None:
    rows = {"A01": {"compound": "DMSO"}, "A02": {"compound": "taxol"}, "A03": {"compound": ""}}
    groups, controls = treatments(replace(plate, metadata=rows))
    assert (groups, controls) == ({"A01": "DMSO", "A02": "taxol"}, {"A01"})
    marked = {"A01": {"treatment": "x", "control": "no"}, "A02": {"treatment": "y", "control": "yes"}}
    assert treatments(replace(plate, metadata=marked))[1] == {"A02"}
