"""Optional packages: imported, or one sentence on how to install them; xarray, which Dask can do without."""

from __future__ import annotations

import json.decoder
import subprocess
import sys

import pytest

from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.runtime.extras import check_installed, missing, require


def test_what_is_installed_is_imported() -> None:
    assert require("json.decoder", extra="cells", purpose="The report") is json.decoder
    check_installed("json", "csv", extra="cells", purpose="The report")


def test_what_is_absent_is_named_with_its_extra() -> None:
    sentence = r'The report needs no_such_package, which is not installed; run: pip install "napari-virtual-paint\[cells\]"\.'
    with pytest.raises(InputError, match=sentence):
        require("no_such_package.figure", extra="cells", purpose="The report")
    with pytest.raises(InputError, match=sentence):
        check_installed("json", "no_such_package", extra="cells", purpose="The report")
    assert "needs scikit-learn, which" in str(missing("sklearn", extra="cells", purpose="A forest"))


def test_a_file_that_needs_an_absent_package_is_a_read_error() -> None:
    with pytest.raises(ReadError, match=r"^a\.lif: LIF needs no_such_package, which is not installed; run: pip install"):
        check_installed("no_such_package", extra="formats", purpose="LIF", path="a.lif")


CODE = """
import sys
from napari_virtual_paint.runtime.extras import skip_optional_imports
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
