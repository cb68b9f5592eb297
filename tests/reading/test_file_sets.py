"""Files that an image's OME-XML names beside it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_virtual_paint.reading.file_sets import files_of_set


def test_a_file_that_is_cut_off_has_no_others_and_nothing_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, cut = tmp_path / "whole.ome.tif", tmp_path / "cut.ome.tif"
    description = f'<OME><TiffData><UUID FileName="other.ome.tif"/></TiffData>{"<!-- -->" * 100}</OME>'
    tifffile.imwrite(whole, np.zeros((64, 64), np.uint16), description=description, metadata=None)
    assert files_of_set(whole) == [tmp_path / "other.ome.tif"]
    tag = tifffile.TiffFile(whole).pages.first.tags["ImageDescription"]
    cut.write_bytes(whole.read_bytes()[: tag.valueoffset + 10])
    with caplog.at_level(logging.DEBUG):
        assert files_of_set(cut) == []
    assert [record.message for record in caplog.records] == [], "the reader says what is wrong, in one sentence"
