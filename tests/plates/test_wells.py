"""Names of wells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.plates import wells


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("A1", "A01"),
        ("a01", "A01"),
        ("A - 1", "A01"),
        ("r01c01", "A01"),
        ("R16C24", "P24"),
        ("AF48", "AF48"),
        ("B-12", "B12"),
        ("c_003", "C03"),
    ],
)
def test_one_well_many_ways_of_writing_it(written: str, name: str) -> None:
    assert wells.canonical(written) == name


@pytest.mark.parametrize("written", ["", "A", "1", "A0", "A1B", "r00c01", "AAA1", "A1000", "well", "A1.5"])
def test_no_well(written: str) -> None:
    with pytest.raises(InputError, match="is no well"):
        wells.canonical(written)


@given(st.integers(0, 701), st.integers(0, 998))
def test_names_and_places_are_one_to_one(row: int, column: int) -> None:
    assert wells.position(wells.well_name(row, column)) == (row, column)


@pytest.mark.parametrize(
    ("names", "shape"),
    [(["A1"], (2, 3)), (["H12"], (8, 12)), (["A13"], (16, 24)), (["AF48"], (32, 48)), (["A49"], (1, 49)), (["D6"], (4, 6))],
)
def test_the_smallest_plate_that_has_the_wells(names: list[str], shape: tuple[int, int]) -> None:
    assert wells.plate_shape(names) == shape


def test_rectangles_and_single_wells() -> None:
    there = [wells.well_name(row, column) for row in range(4) for column in range(6) if (row, column) != (1, 1)]
    assert wells.parse_wells("A1:B2,D6", there) == ("A01", "A02", "B01", "D06")
    assert wells.parse_wells("b2:a1, a1", there) == ("A01", "A02", "B01")
    with pytest.raises(InputError, match="no image in B2"):
        wells.parse_wells("A1,B2", there)
    with pytest.raises(InputError, match="A1:B12"):
        wells.parse_wells("A1:B2:C3", there)
    with pytest.raises(InputError, match="names no wells"):
        wells.parse_wells(",", there)
