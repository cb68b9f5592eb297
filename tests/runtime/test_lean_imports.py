"""Dask without xarray in our own processes; whoever else wants xarray gets it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from napari_virtual_paint.runtime.lean_imports import skip_optional_imports
skip_optional_imports()
skip_optional_imports()
import dask.array
assert "xarray" not in sys.modules
assert dask.array.ones(3).sum().compute() == 3
import xarray
assert (xarray.DataArray([1, 2]).data == [1, 2]).all()
assert (dask.array.asarray(xarray.DataArray(dask.array.ones(2))).compute() == 1).all()
"""


def test_dask_is_imported_without_xarray_and_others_get_it() -> None:
    pytest.importorskip("xarray")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
