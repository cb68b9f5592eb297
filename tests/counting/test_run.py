"""Counting of images: totals, time points, planes, labels, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint.counting.fields import CountField, agreements, count_fields, side_by_side
from napari_virtual_paint.counting.outputs import by_well
from napari_virtual_paint.counting.run import by_kind, count_stack
from napari_virtual_paint.counting.settings import CountSettings
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import PixelSize, Stack

PLACES = [(20, 20), (20, 70), (70, 30), (75, 80)]


def blobs(number: int, dtype: type = np.uint16) -> np.ndarray:
    """Return a plane with so many nuclei."""
    plane = np.zeros((100, 100))
    for y, x in PLACES[:number]:
        plane[y, x] = 1
    bright = ndimage.gaussian_filter(ndimage.binary_dilation(plane, iterations=8) * 2000.0, 1.5)
    return (np.random.default_rng(1).poisson(bright + 300)).astype(dtype)


def stack(*numbers: int, planes: int = 1, **options: object) -> Stack:
    """Return an image with so many nuclei at each time point, as DNA and a larger ER."""
    frames = [np.stack([blobs(n), ndimage.grey_dilation(blobs(n), 9)]) for n in numbers]
    data = np.stack(frames)[:, :, None].repeat(planes, axis=2)
    return Stack(data, ("DNA", "ER"), PixelSize(2.0, 0.5, 0.5), **options)  # type: ignore[arg-type]


def test_objects_table_and_labels_agree() -> None:
    count = run_to_end(count_stack(stack(4, source="a.tif"), CountSettings()))
    assert count.totals == {"nuclei": 4, "cells": 4}
    assert count.objects["object"].tolist() == ["nucleus"] * 4 + ["cell"] * 4
    assert count.labels.channels == ("nuclei", "cells")
    assert count.labels.dtype == np.uint16
    assert count.labels.pixel_size == PixelSize(2.0, 0.5, 0.5)
    areas = np.bincount(np.asarray(count.labels.data[0, 0, 0]).ravel())[1:]
    assert count.objects["area_px"][:4].tolist() == areas.tolist()
    assert count.summary[0]["nucleus_area_um2"] == pytest.approx(areas.mean() / 4)
    assert dict(count.labels.provenance or {})["kind"] == "labels"
    assert [each.shape for each in by_kind(count.labels).values()] == [(1, 1, 1, 100, 100)] * 2


def test_each_time_point_is_counted() -> None:
    count = run_to_end(count_stack(stack(4, 2, 3), CountSettings()))
    assert [row["nuclei"] for row in count.summary] == [4, 2, 3]
    assert count.objects["time"].tolist() == [0] * 8 + [1] * 4 + [2] * 6
    assert count.labels.shape == (3, 2, 1, 100, 100)


def test_plane_of_a_stack_is_chosen() -> None:
    image = stack(3, planes=4)
    for z in ("max", "2"):
        assert run_to_end(count_stack(image, CountSettings(z=z))).totals["nuclei"] == 3
    with pytest.raises(InputError, match="no plane 4; its planes are 0 to 3"):
        run_to_end(count_stack(image, CountSettings(z="4")))


def test_dna_alone_has_grown_cells() -> None:
    count = run_to_end(count_stack(stack(2).select(["DNA"]), CountSettings()))
    assert count.totals == {"nuclei": 2, "cells": 2}
    assert any("grown by a third" in note for note in count.notes)


def test_noise_has_no_objects() -> None:
    count = run_to_end(count_stack(stack(0), CountSettings()))
    assert count.totals == {"nuclei": 0, "cells": 0}
    assert any("stands out" in note for note in count.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: image.select(["ER"]), "name the nuclei's among ER"),
        (lambda image: Stack(np.zeros(image.shape), image.channels), "DNA is empty"),
        (lambda image: Stack((image.data > 1000).astype(np.uint8), image.channels), "holds labels or a mask"),
        (lambda image: Stack(image.data.repeat(3, axis=2), image.channels), "it has 3 planes"),
        (lambda image: Stack(image.data[:, [0, 1, 1]], rgb=True), "color picture"),
        (lambda image: Stack(image.data[..., :2], image.channels), "too small"),
        (lambda image: run_to_end(count_stack(image, CountSettings())).labels, "counted already"),
    ],
)
def test_what_cannot_be_counted_is_said(change: Callable[[Stack], Stack], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run_to_end(count_stack(change(stack(3)), CountSettings()))


def broken() -> Stack:
    raise ReadError("b.tif", "it is damaged")


def test_fields_are_counted_side_by_side() -> None:
    """A field that fails is reported; painted and real counts of the others are compared."""
    names = ("painted", "real")
    fields = [CountField(f"A01/{i}", "A01", lambda n=n: stack(n), names[i // 2]) for i, n in enumerate((3, 4, 2, 4))]
    fields = [CountField(f"A01/{i % 2}", each.well, each.read, each.source) for i, each in enumerate(fields)]
    counts = run_to_end(count_fields([*fields, CountField("A02/0", "A02", broken, "real")], CountSettings()))
    assert counts.totals == {"nuclei": 7, "cells": 7}
    assert counts.failed == {"A02/0": "b.tif: it is damaged"}
    assert [row["nuclei"] for row in counts.fields] == [3, 4, 2, 4, None]
    assert agreements(counts)["nuclei"].bias == 0.5
    assert [row["nuclei_difference"] for row in side_by_side(counts)] == [1, 0]
    wells = by_well(counts.fields)
    assert [(row["well"], row["source"], row["nuclei"], row["nuclei_mean"]) for row in wells] == [
        ("A01", "painted", 7, 3.5),
        ("A01", "real", 6, 3),
    ]
    with pytest.raises(ReadError):
        run_to_end(count_fields([CountField("A02/0", "A02", broken)], CountSettings()))
