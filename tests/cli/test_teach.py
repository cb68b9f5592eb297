"""`virtual-paint teach`: the JSON, and what is said of a stain that got worse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.cli import main
from napari_virtual_paint.models import Card, open_model
from small_models import TOY_2D, write_toy

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")


def test_two_folders_teach_and_the_scores_are_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = write_toy(tmp_path / "old", {**TOY_2D, "planes_as_channels": False, "z_offsets": None, "card": Card()})
    rng = np.random.default_rng(0)
    for number in range(2):
        for part, channels in (("plain", TOY_2D["channels"]), ("stained", ("DNA", "ER"))):
            (tmp_path / part).mkdir(exist_ok=True)
            pixels = rng.integers(0, 4000, (len(channels), 40, 40)).astype(np.uint16)
            metadata = {"axes": "CYX", "Channel": {"Name": list(channels)}}
            tifffile.imwrite(tmp_path / part / f"f{number}.ome.tif", pixels, ome=True, metadata=metadata)
    command = ["teach", model, tmp_path / "plain", tmp_path / "stained", "-o", tmp_path / "new.zip", "--steps", "1", "--json"]
    assert main([str(word) for word in command]) == 0
    out, err = capfd.readouterr()
    report = json.loads(out)
    assert set(report) == {"model", "output", "before", "after", "seconds", "advice"}
    assert set(report["before"]) == set(report["after"]) == {"DNA", "ER"}
    card = open_model(tmp_path / "new.zip").info.card
    assert {stain: row["pcc"] for stain, row in card.scores.items()} == report["after"]
    assert card.made_with.startswith("virtual-paint teach ")
    worse = [stain for stain, value in report["before"].items() if report["after"][stain] < value]
    assert all(stain in err for stain in worse)
    assert ("the held-out PCC is lower than before" in err) == bool(worse)
