"""A plate as a map, without a screen: colours of wells, what is said of them, mosaics, pictures kept in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pytest

from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.plate import Field, Plate
from napari_virtual_paint.plates.view.colouring import STATE_COLOURS, about, columns_of, row_key, shade
from napari_virtual_paint.plates.view.images import ByteCache, PlateImages, neighbours, next_well
from napari_virtual_paint.plates.view.mosaic import binned, fill, plan_mosaic
from napari_virtual_paint.plates.view.palette import CATEGORIES, SCALE, ColourScale, category_colour, figure, scale_of
from napari_virtual_paint.plates.wells import well_name
from napari_virtual_paint.stack import Stack


@dataclass(frozen=True)
class Numbers:
    """Fields whose pixels tell their place: 100 * row + column, and the channel."""

    size: tuple[int, int] = (8, 8)
    damaged: tuple[str, ...] = field(default=())

    def read(self, place):
        if place.key in self.damaged:
            raise ReadError(place.key, "it is damaged")
        value = 100 * (ord(place.well[0]) - ord("A")) + int(place.well[1:])
        return Stack(
            np.full((1, 2, 1, *self.size), value, np.uint16) + np.array([0, 1000], np.uint16)[None, :, None, None, None], ("a", "b")
        )


def plate_of(shape=(4, 6), fields=2, missing=(), metadata=None):
    names = [well_name(row, column) for row in range(shape[0]) for column in range(shape[1])]
    places = [Field(name, str(i)) for name in names if name not in missing for i in range(fields)]
    return Plate("test", "/nowhere", "test", tuple(places), Numbers(), shape, metadata=metadata or {})


def column(plate, key, rows=None):
    return next(each for each in columns_of(plate, rows or {}) if each.key == key)


def test_columns_are_groups_or_scales_by_what_is_in_them():
    metadata = {
        name: {"treatment": "DMSO", "dose": 0.1 * i, "control": True, "replicate": i % 3, "conc_uM": 1, "density": 1.5 * i, "passage": i}
        for i, name in enumerate(("A01", "A02", "A03"))
    }
    found = {each.key: each.kind for each in columns_of(plate_of(metadata=metadata), {})}
    assert found == {
        "state": "states",
        "treatment": "categories",
        "dose": "scale",
        "control": "categories",
        "replicate": "categories",
        "conc_uM": "scale",
        "density": "scale",
        "passage": "categories",
    }


def test_scores_are_columns_where_they_are_numbers():
    rows = {"A01/0": {"well": "A01", "pcc_DNA": 0.9, "device": "cpu", "ssim_ER": None}, "A02/0": {"pcc_DNA": float("nan"), "tile": 256}}
    found = [(each.key, each.label) for each in columns_of(plate_of(), rows) if each.scored]
    assert found == [("pcc_DNA", "PCC DNA"), ("tile", "tile")]


def test_a_well_shows_the_states_of_its_fields():
    plate = plate_of(fields=4)
    states = {"A01/0": "done", "A01/1": "done", "A01/2": "failed", "B01/0": "painting"}
    shading = shade(plate, column(plate, "state"), states, {})
    assert [(part.share, part.colour, part.mark) for part in shading.parts["A01"]] == [
        (0.5, STATE_COLOURS["done"], ""),
        (0.25, STATE_COLOURS["failed"], "x"),
        (0.25, STATE_COLOURS["unpainted"], ""),
    ]
    assert [part.share for part in shading.parts["D06"]] == [1.0]
    assert [text for text, _ in shading.legend] == ["2 done", "1 failed", "1 painting", "92 unpainted"]


def test_a_score_is_the_mean_over_the_fields_of_a_well():
    plate = plate_of()
    rows = {"A01/0": {"pcc_DNA": 0.8}, "A01/1": {"pcc_DNA": 0.6}, "A02/0": {"pcc_DNA": 0.9}, "A03/0": {"pcc_DNA": None}}
    shading = shade(plate, column(plate, "pcc_DNA", rows), {}, rows)
    assert shading.values["A01"] == pytest.approx(0.7)
    assert (shading.scale.low, shading.scale.high) == pytest.approx((0.7, 0.9))
    assert shading.parts["A01"][0].colour == SCALE[0]
    assert shading.parts["A02"][0].colour == SCALE[-1]
    assert shading.parts["A03"][0].mark == "?"
    assert shading.legend[0][0] == "not known"


def test_groups_have_colours_of_their_own_in_natural_order():
    metadata = {well_name(0, i): {"treatment": f"compound {i + 1}"} for i in range(6)} | {"B01": {"treatment": ""}}
    shading = shade(plate_of(metadata=metadata), column(plate_of(metadata=metadata), "treatment"), {}, {})
    assert [text for text, _ in shading.legend] == [*(f"compound {i}" for i in range(1, 7)), "not known"]
    assert len({part.colour for _, part in shading.legend}) == 7
    assert shading.parts["B01"][0].mark == "?"
    assert len({category_colour(i) for i in range(3 * len(CATEGORIES))}) == 3 * len(CATEGORIES), "lighter and darker ones follow"


def test_wide_doses_go_by_their_logarithm():
    scale = scale_of([0.0, 0.01, 1.0, 100.0])
    assert scale.log
    assert [scale.share(value) for value in (0.0, 0.01, 1.0, 100.0)] == pytest.approx([0, 0, 0.5, 1])
    assert scale.ticks() == pytest.approx((0.01, 1.0, 100.0))
    assert not scale_of([1.0, 2.0]).log
    assert ColourScale(3.0, 3.0).share(3.0) == 0.5
    assert all(re.fullmatch("#[0-9a-f]{6}", scale.colour(value)) for value in (0.0, 0.03, 7.0, 100.0))


def test_what_is_told_of_a_well():
    plate = plate_of(missing=("B02",), metadata={"A01": {"treatment": "DMSO", "dose": 10.0}})
    told = dict(about(plate, "A01", {"A01/0": "done"}, {"A01/0": {"pcc_DNA": 0.91234, "seconds": 2}}))
    assert told == {"treatment": "DMSO", "dose": "10", "fields": "1 done, 1 unpainted", "PCC DNA": "0.912", "seconds": "2"}
    assert about(plate, "B02", {}, {}) == [("", "no image")]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.9123, "0.912"), (12.345, "12.3"), (1234, "1234"), (1.2e7, "1.2e+07"), (2e-5, "2.0e-05")]
)
def test_figures(value, text):
    assert figure(value) == text


def test_a_row_knows_its_field():
    assert row_key({"well": "a1", "field": "0", "acquisition": ""}) == "A01/0"
    assert row_key({"well": "B12", "field": 3, "acquisition": None}) == "B12/3"
    assert row_key({"well": "B12", "field": "3", "acquisition": "2"}) == Field("B12", "3", "2").key


def test_the_cache_keeps_to_its_limit_and_forgets_what_was_used_least():
    cache = ByteCache(100)
    for name in "abc":
        cache.put(name, np.zeros(30, np.uint8))
    assert cache.get("a") is not None
    cache.put("d", np.zeros(40, np.uint8))
    assert "b" not in cache
    assert "a" in cache
    assert cache.size == 100
    cache.put("e", np.zeros(101, np.uint8))
    assert "e" not in cache
    cache.put("a", np.zeros(10, np.uint8))
    assert cache.size == 80
    cache.clear()
    assert cache.size == len(cache) == 0


def test_arrows_pass_over_missing_wells():
    plate = plate_of(missing=("A02", "A03"))
    assert next_well(plate, "A01", (0, 1)) == "A04"
    assert next_well(plate, "A06", (0, 1)) == "A06"
    assert next_well(plate, "D01", (1, 0)) == "D01"
    assert [each.key for each in neighbours(plate, Field("B02", "0"))] == ["B02/1", "B03/0", "C02/0", "B01/0"]


def test_a_mosaic_lies_as_the_wells_do_and_fits():
    fields = [Field(name, "0") for name in ("B02", "B04", "D02")]
    plan = plan_mosaic(fields, (100, 200))
    assert plan.places == ((0, 0), (0, 1), (1, 0))
    assert (plan.step, plan.tile, plan.gap) == (1, (100, 200), 4)
    assert plan.shape == (204, 404)
    assert plan.at(0, 210) == fields[1]
    assert plan.at(101, 10) is None
    small = plan_mosaic(fields, (100, 200), most=10_000)
    assert small.step > 1
    assert np.prod(small.shape) <= 10_000
    assert plan_mosaic(fields, (5000, 5000)).step >= 2, "no side is longer than a graphics card takes"
    well = plan_mosaic([Field("A01", str(i)) for i in range(5)], (10, 10))
    assert well.places == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)), "the fields of one well stand in a square"


def test_a_mosaic_holds_each_field_at_its_place():
    plate = plate_of()
    fields = [plate.by_key[key] for key in ("A01/0", "A02/0", "B01/0")]
    plan = plan_mosaic(fields, (8, 8), most=60)
    canvas = np.zeros(plan.shape, np.uint16)
    for index, place in enumerate(fields):
        fill(canvas, plan, index, plate.read(place), 1)
    assert plan.step > 1
    for index, value in enumerate((1001, 1002, 1101)):
        top, left = plan.corner(index)
        assert (canvas[top : top + plan.tile[0], left : left + plan.tile[1]] == value).all()
    assert (canvas == 0).any()


def test_binning_takes_means_and_keeps_the_type():
    plane = np.arange(30, dtype=np.uint16).reshape(5, 6)
    small = binned(plane, 2)
    assert small.dtype == np.uint16
    assert small.shape == (3, 3)
    assert small[0, 0] == round((0 + 1 + 6 + 7) / 4)
    assert small[2, 2] == round((28 + 29) / 2), "blocks at the edge hold fewer pixels"
    assert binned(plane.astype(np.float32), 3).dtype == np.float32
    assert binned(plane, 1) is plane


def test_painted_stains_are_found_before_they_are_listed(tmp_path):
    pytest.importorskip("zarr")
    plate = plate_of(shape=(2, 3), fields=1)
    images = PlateImages(plate, str(tmp_path / "out.zarr"))
    place = plate.fields[0]
    assert images.painted(place) is None
    writer.create(tmp_path / "out.zarr", "out", plate.shape, plate.fields)
    assert images.painted(place) is None
    writer.write_field(tmp_path / "out.zarr", place, Stack(np.full((1, 1, 1, 8, 8), 7, np.float32), ("DNA",)))
    assert float(np.asarray(images.painted(place).data).mean()) == 7
    assert images.painted(plate.fields[1]) is None


def test_columns_are_offered_in_groups() -> None:
    metadata = {"A01": {"seed": 17, "treatment": "a", "dose": 1.5}}
    rows = {
        "A01/0": {
            "seconds": 1.5,
            "write_seconds": 0.1,
            "mae_DNA": 0.3,
            "sd_DNA": 0.2,
            "pcc_ER": 0.8,
            "pcc_DNA": 0.9,
            "domain_distance": 1.5,
            "tile": 256,
        }
    }
    found = [(each.group, each.key) for each in columns_of(plate_of(metadata=metadata), rows)]
    assert found == [
        ("Painting", "state"),
        ("Painting", "domain_distance"),
        ("Scores", "pcc_DNA"),
        ("Scores", "pcc_ER"),
        ("Scores", "mae_DNA"),
        ("Scores", "sd_DNA"),
        ("Metadata", "treatment"),
        ("Metadata", "dose"),
        ("More", "seconds"),
        ("More", "tile"),
        ("More", "write_seconds"),
        ("More", "seed"),
    ]
