"""Numbers and arrays of NumPy in checkpoints are read as data; nothing of NumPy is called by a pickle."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.importers.import_model import recipe_of
from napari_virtual_paint.models.importers.reading import read_checkpoint
from napari_virtual_paint.models.package.numpy_values import NumpyArray
from small_models import lively

VALUES = [
    np.float64(0.25), np.float32(-1.5), np.int64(7), np.uint8(200), np.bool_(True), np.float16(0.5), np.complex64(1 + 2j), np.str_("epoch"),
    np.dtype(">f8").type(3.5), np.float64("nan"),
]  # fmt: skip


def written(path: Path, value: Any, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("value", VALUES, ids=[type(value).__name__ for value in VALUES])
def test_a_number_becomes_a_plain_one(value: Any, legacy: bool, tmp_path: Path) -> None:
    found = read_checkpoint(written(tmp_path / "a.pt", {"best": value, "w": torch.zeros(2)}, legacy))["best"]
    assert type(found).__module__ == "builtins"
    assert found == value or (found != found and value != value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.ones((3, 4), "f4")),
        np.array(["a", "bc"]),
        np.zeros((0, 3)),
        np.array(2.0),
    ],
    ids=["big-endian", "Fortran", "text", "empty", "no axis"],
)
def test_an_array_keeps_shape_and_values(array: np.ndarray, tmp_path: Path) -> None:
    found = read_checkpoint(written(tmp_path / "a.pt", {"losses": array}))["losses"]
    assert isinstance(found, NumpyArray)
    np.testing.assert_array_equal(found.values, array)


def test_the_names_of_numpy_1_are_known(tmp_path: Path) -> None:
    data = io.BytesIO()
    torch.save({"loss": np.float64(0.5)}, data, _use_new_zipfile_serialization=False)
    old = data.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != data.getvalue()
    (tmp_path / "a.pt").write_bytes(old)
    assert read_checkpoint(tmp_path / "a.pt") == {"loss": 0.5}


def test_a_checkpoint_with_numbers_of_numpy_opens(tmp_path: Path) -> None:
    state = lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2}).state_dict()
    content = {"epoch": np.int64(3), "best_loss": np.float32(0.1), "curve": np.zeros(4), "nn_state": state}
    assert recipe_of(written(tmp_path / "a.p", content)).architecture == "FNet"


def test_weights_that_are_arrays_of_numpy_open(tmp_path: Path) -> None:
    state = lively("FNet", {"dims": 2, "depth": 1, "mult_chan": 2}).state_dict()
    path = written(tmp_path / "a.p", {key: tensor.numpy() for key, tensor in state.items()})
    found = recipe_of(path).network.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize("value", [np.array([{"a": 1}], object), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f4"), ("b", "i4")])])
def test_objects_times_and_records_are_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="asks for more than tensors"):
        read_checkpoint(written(tmp_path / "a.pt", {"value": value}))


class Faulty:
    """An array whose bytes are fewer than its shape."""

    def __reduce__(self) -> Any:
        kind = np.zeros(0).__reduce__()
        return kind[0], kind[1], (1, (10**12,), np.dtype("f8"), False, b"short")


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="another size"):
        read_checkpoint(written(tmp_path / "a.pt", {"value": Faulty()}))


def test_other_functions_of_numpy_stay_refused(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return np.load, ("/etc/passwd",)

    with pytest.raises(ModelError, match=r"numpy\.(lib\.\w+\.)?load"):
        read_checkpoint(written(tmp_path / "a.pt", {"value": Runs()}))


def test_a_newer_pickle_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"a": [1, 2]}, protocol=4))
    with pytest.raises(ModelError, match="saved with pickle protocol 4"):
        read_checkpoint(tmp_path / "a.pt")
