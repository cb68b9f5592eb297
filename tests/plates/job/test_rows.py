"""The tables of a job: scores and failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint.plates.job.rows import write_tables
from napari_virtual_paint.plates.paint import job_folder, read_failures

pytest.importorskip("pyarrow")


def test_reasons_that_look_like_formulas(tmp_path: Path) -> None:
    """A spreadsheet computes nothing of ``failed.csv``, and what it says is read back as it was."""
    folder = job_folder(tmp_path / "out")
    folder.mkdir(parents=True)
    write_tables(folder, [{"well": "A01", "field": "0", "acquisition": "", "state": "failed", "reason": "=1+1: no such file"}], (), {})
    assert "'=1+1: no such file" in (folder / "failed.csv").read_text()
    assert read_failures(tmp_path / "out")["reason"].item() == "=1+1: no such file"
