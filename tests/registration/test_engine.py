"""Registration: images of blobs laid elsewhere by known transforms, files from the command line, and failures that say so."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics import score
from napari_virtual_paint.reading import read
from napari_virtual_paint.registration import Registration, RegistrationSettings, register, register_images, resample
from napari_virtual_paint.registration.pyramid import PyramidLevel
from napari_virtual_paint.registration.refine import polish
from napari_virtual_paint.registration.template_search import rotation_matrix
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.writing import write

NARROW = RegistrationSettings(rotation=8.0, scale=1.06)
SIDE = 150


def scene(seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Blobs of many sizes and brightnesses on a background, smooth enough to be resampled."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side), np.float32)
    at = rng.integers(0, side, (side * side // 180, 2))
    image[at[:, 0], at[:, 1]] = rng.uniform(0.4, 2.0, len(at))
    return (900 * ndimage.gaussian_filter(image, 2.2, mode="wrap") / 0.03 + 200).astype(np.float32)


def laid(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    back = np.linalg.inv(matrix)
    return ndimage.affine_transform(image, back[:2, :2], back[:2, 2], output_shape=shape, order=3, mode="nearest")


def noisy(image: np.ndarray, sd: float, seed: int) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, sd, image.shape).astype(np.float32)


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    matrix = rotation_matrix(angle, scale)
    matrix[:2, 2] = shift
    return matrix


def off(found: Registration, matrix: np.ndarray) -> float:
    h, w = found.shape
    points = np.array([(y, x, 1.0) for y in (0, h / 2, h - 1) for x in (0, w / 2, w - 1)])
    return float(np.linalg.norm(points @ (found.guess - matrix)[:2].T, axis=1).mean())


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A small image in another unit, the large one it lies in, and the matrix between them."""
    whole = scene()
    to_fixed = similarity(5.0, 1.04, (-4.0, 9.0))
    fixed = noisy(laid(whole, to_fixed, (SIDE, SIDE)), 150, 1)
    corner = similarity(0, 1, (30, 40))
    moving = noisy(whole[30:114, 40:120], 150, 2) / 1000 - 1
    return moving, fixed, to_fixed @ corner


@pytest.fixture(scope="module")
def found(pair: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Registration:
    return run_to_end(register(pair[0], pair[1], settings=NARROW))


def test_a_small_image_is_found_in_a_large_one(pair, found: Registration) -> None:
    assert found.converged, found.reason
    assert found.matrix is not None
    assert off(found, pair[2]) < 0.5
    assert found.rotation == pytest.approx(5.0, abs=0.4)
    assert found.scale == pytest.approx(1.04, abs=0.008)
    assert found.correlation is not None
    assert found.correlation > 0.8
    assert found.before is not None
    assert found.before < 0.3


def test_the_larger_image_may_be_the_moving_one(pair) -> None:
    moving, fixed, matrix = pair
    back = run_to_end(register(fixed, moving, settings=NARROW))
    assert back.converged
    assert off(back, np.linalg.inv(matrix)) < 0.5


def test_the_matrix_is_in_pixels_and_in_micrometres(pair) -> None:
    moving, fixed, matrix = pair
    coarse = fixed[::2, ::2]  # pixels of twice the size: blobs are wide enough
    found = run_to_end(register(moving, coarse, moving_size=(0.5, 0.5), fixed_size=(1.0, 1.0), settings=NARROW))
    assert found.converged, found.reason
    assert found.scale == pytest.approx(1.04, abs=0.012)  # beyond what the pixel sizes tell
    assert off(found, np.diag([0.5, 0.5, 1.0]) @ matrix) < 0.5
    told = found.to_json()
    um = np.diag([0.5, 0.5, 1.0]) @ matrix @ np.diag([2.0, 2.0, 1.0])
    np.testing.assert_allclose(np.array(told["matrix_um"])[:2, 2], um[:2, 2], atol=0.8)
    assert told["shift_um"][0] == pytest.approx(2 * 0.5 * told["shift_px"][0])


@pytest.fixture(scope="module")
def failed(pair) -> Registration:
    return run_to_end(register(scene(7)[:84, :80], pair[1], settings=RegistrationSettings(rotation=4.0, scale=1.0)))


def test_other_cells_are_not_found(failed: Registration) -> None:
    assert not failed.converged
    assert failed.matrix is None
    told = failed.to_json()
    assert told["matrix"] is told["matrix_um"] is told["shift_px"] is told["rotation_deg"] is None
    assert failed.reason.startswith("No clear match")


@pytest.mark.parametrize(("kind", "matrix"), [("translation", similarity(0, 1, (-13.4, 8.7))), ("rigid", similarity(-4, 1, (6.3, -3.2)))])
def test_a_kind_leaves_the_rest_alone(kind: str, matrix: np.ndarray) -> None:
    whole = scene(3)
    found = run_to_end(register(whole, noisy(laid(whole, matrix, whole.shape), 100, 4), settings=RegistrationSettings(kind, 6.0)))
    assert found.converged, found.reason
    assert off(found, matrix) < 0.5
    assert found.scale == pytest.approx(1.0, abs=1e-9)
    if kind == "translation":
        assert found.rotation == pytest.approx(0.0, abs=1e-9)


def test_polishing_climbs_to_the_truth_from_two_pixels_away() -> None:
    whole, matrix = scene(5), similarity(2.0, 1.02, (3.0, -2.0))
    level = PyramidLevel(whole, laid(whole, matrix, whole.shape), 1.0)
    start = matrix.copy()
    start[:2, 2] += (1.5, -1.3)
    grid, score_, _ = polish(level, start, "similarity")
    assert score_ > 0.995
    np.testing.assert_allclose(grid, matrix, atol=0.15)


def test_each_step_is_a_place_to_cancel(pair) -> None:
    work = register(pair[0], pair[1], settings=NARROW)
    shares = [next(work).done for _ in range(6)]
    work.close()
    assert shares == sorted(shares)
    assert shares[-1] < 1


@pytest.mark.parametrize("image", [np.ones((64, 64)), np.zeros((8, 64)), np.zeros((2, 64, 64)), np.full((64, 64), np.nan)])
def test_what_can_t_be_registered_is_one_sentence(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="image to register"):
        next(register(image, scene()))


@pytest.mark.parametrize("wrong", [{"kind": "affine"}, {"rotation": -1}, {"scale": 0.5}, {"overlap": 0}])
def test_wrong_settings_are_told(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        RegistrationSettings(**wrong)  # type: ignore[arg-type]


def test_resampling_lays_every_plane_on_the_other_grid(pair, found: Registration) -> None:
    moving, fixed, _ = pair
    grey = np.clip((moving + 1) * 1000, 0, 65535).astype(np.uint16)
    image = Stack(np.stack([grey, grey // 2])[None, :, None], ("A", "B"), PixelSize(None, 0.5, 0.5), source="image.tif")
    target = Stack(fixed[None, None, None], ("DNA",), PixelSize(None, 0.7, 0.7))
    out = resample(image, target, found).compute()
    assert (out.shape, out.channels, out.dtype) == ((1, 2, 1, SIDE, SIDE), ("A", "B"), np.uint16)
    assert out.pixel_size == PixelSize(None, 0.7, 0.7)
    there = out.data[0, 0, 0] > 0
    assert 0.2 < there.mean() < 0.5
    assert (score(out.data[0, 0, 0][there][None], fixed[there][None]).pcc or 0) > 0.8
    assert out.provenance is not None
    assert out.provenance["registration"]["converged"]


def test_nothing_is_resampled_by_a_failure(pair, failed: Registration) -> None:
    target = Stack(pair[1][None, None, None])
    with pytest.raises(InputError, match="failed"):
        resample(target, target, failed)


def test_channels_are_paired_by_name_and_a_wrong_one_is_told(pair) -> None:
    moving, fixed, _ = pair
    image = Stack(np.stack([scene(9)[:84, :80], moving])[None, :, None], ("ER", "DNA"))
    target = Stack(np.stack([fixed, scene(8)])[None, :, None], ("DNA", "AGP"))
    work = register_images(image, target, channel="dna", settings=NARROW)
    while True:
        try:
            next(work)
        except StopIteration as stop:
            found = stop.value
            break
    assert (found.moving, found.fixed, found.registration.converged) == ("DNA", "DNA", True)
    assert any("pixel size" in note for note in found.notes)
    other = Stack(target.data, ("Hoechst 33342", "AGP"))
    with contextlib.closing(register_images(image, other, channel="Hoechst 33342", settings=NARROW)) as work:
        next(work)
    unnamed = Stack(target.data, ("Mito", "AGP"))
    with pytest.raises(InputError, match=r"none of its channels \(Mito, AGP\) is one of ER, DNA by its name"):
        next(register_images(image, unnamed, settings=NARROW))
    for wrong in ({"channel": "Mito"}, {"channel": "AGP"}, {"stain": 5}):
        with pytest.raises(InputError, match="channel"):
            next(register_images(image, target, **wrong))


@pytest.fixture
def files(tmp_path: Path, pair) -> tuple[Path, Path]:
    size = PixelSize(None, 0.65, 0.65)
    return (
        write(Stack(pair[0][None, None, None], ("DNA",), size), tmp_path / "moving.ome.tif"),
        write(Stack(pair[1][None, None, None].astype(np.float32), ("DNA",), size), tmp_path / "stain.ome.tif"),
    )


def test_the_command_writes_the_image_and_its_matrix(files, tmp_path: Path, pair, capsys) -> None:
    out = tmp_path / "out" / "laid.ome.tif"
    code = main(["register", *map(str, files), "-o", str(out), "--rotation", "8", "--scale", "1.06", "--model", "similarity", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert told["converged"]
    np.testing.assert_allclose(told["matrix"], pair[2], atol=0.6)
    assert json.loads((tmp_path / "out" / "laid.json").read_text())["matrix"] == told["matrix"]
    written = read(out)
    assert written.shape[-2:] == (SIDE, SIDE)
    assert written.pixel_size.y == pytest.approx(0.65)


def test_the_command_says_that_it_failed_and_writes_nothing(files, tmp_path: Path, capsys) -> None:
    other = write(Stack(scene(7)[None, None, None, :84, :80], ("DNA",)), tmp_path / "other.ome.tif")
    out = tmp_path / "laid.ome.tif"
    code = main(["register", str(other), str(files[1]), "-o", str(out), "--rotation", "0", "--scale", "1", "--json"])
    captured = capsys.readouterr()
    assert code == 1
    assert json.loads(captured.out)["matrix"] is None
    assert "not registered" in captured.err
    assert not out.exists()
    assert main(["register", *map(str, files), "--painted"]) == 2
