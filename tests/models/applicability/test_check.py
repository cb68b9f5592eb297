"""The domain check: what is like the training images is inside, and each fault is named."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import ndimage

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import Model, ModelInfo, check_model, open_model
from napari_virtual_paint.models.applicability.check import check_domain, summarize
from napari_virtual_paint.models.applicability.reasons import detail_words, reasons
from napari_virtual_paint.models.export import export_model
from napari_virtual_paint.models.package.copying import add_domain
from napari_virtual_paint.models.package.domain import Domain
from napari_virtual_paint.reading import read
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import UNKNOWN, PixelSize, Stack
from small_models import TOY_2D, TOY_3D, write_toy

ONE = {**TOY_2D, "config": {**TOY_2D["config"], "in_channels": 1}, "channels": ("Brightfield",), "planes_as_channels": False}
ONE = {**ONE, "z_offsets": None, "pixel_size": PixelSize(None, 0.5, 0.5)}


def cells(seed: int, side: int = 256, count: int = 60, size: float = 4.0) -> np.ndarray:
    """Return a field (Y, X) of dark spots of some `size` px, each with a bright rim, and a little noise."""
    rng = np.random.default_rng(seed)
    points = np.zeros((side, side))
    points[rng.integers(0, side, count), rng.integers(0, side, count)] = rng.uniform(0.7, 1.3, count)
    spot = size**2 * (ndimage.gaussian_filter(points, 1.6 * size) * 2.0 - ndimage.gaussian_filter(points, size) * 1.6)
    fine = ndimage.gaussian_filter(rng.normal(size=points.shape), 1.0) * ndimage.gaussian_filter(points, size) * size**2
    return 1000 + 800 * spot + 900 * fine + rng.normal(0, 4, points.shape)


def stack(image: np.ndarray, pixel_size: PixelSize = UNKNOWN) -> Stack:
    return Stack(np.asarray(image, np.float32)[None, None, None], ("Brightfield",), pixel_size, source="a field")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.set_num_threads(1)
    path = write_toy(tmp_path_factory.mktemp("domain") / "toy.zip", ONE, test_input=np.ones((1, 32, 32)) * cells(0, 32))
    domain = run_to_end(summarize(open_model(path), [stack(cells(seed)) for seed in range(4)]))
    return open_model(add_domain(path, domain))


def test_a_field_of_the_same_kind_is_inside(model: Model) -> None:
    for seed in (0, 11, 12):
        verdict = check_domain(model, stack(cells(seed)))
        assert verdict is not None
        assert (verdict.verdict, verdict.reasons) == ("inside", ()), verdict
        assert verdict.distance <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: ndimage.gaussian_filter(image, 1.5), "out of focus"),
        (lambda image: ndimage.zoom(image, 2, order=1), "times as large, in pixels, as in the training images: another magnification"),
        (lambda image: 2000 - image, "Contrast is inverted"),
        (lambda image: image + np.random.default_rng(0).normal(0, 50, image.shape), "noise?"),
        (lambda image: np.minimum(image, np.quantile(image, 0.9)), "10% of the pixels have the largest value"),
    ],
    ids=["blur", "zoom", "inverted", "noise", "saturated"],
)
def test_a_fault_is_named_first(model: Model, change, words: str) -> None:
    verdict = check_domain(model, stack(change(cells(11))))
    assert verdict is not None
    assert verdict.verdict != "inside"
    assert words in verdict.reasons[0], verdict


@pytest.mark.parametrize(
    ("offset", "sentence"), [(5.0, "Much brighter than the training images."), (-5.0, "Much darker than the training images.")]
)
def test_brightness_is_said_without_the_units_of_a_model(model: Model, offset: float, sentence: str) -> None:
    assert model.domain is not None
    part = model.domain.parts["brightness"]
    numbers = {name: group.mean[None] for name, group in model.domain.parts.items()} | {"brightness": part.mean[None] + offset}
    said = reasons(model.domain, numbers, {"brightness": 3.0}, 0.0, 100, UNKNOWN)
    assert said == (sentence,)


def test_more_blur_is_further_out(model: Model) -> None:
    found = [check_domain(model, stack(ndimage.gaussian_filter(cells(11), sd))) for sd in (0.0, 0.7, 1.0, 1.5)]
    distances = [verdict.distance for verdict in found if verdict is not None]
    assert distances == sorted(distances)
    assert distances[-1] > 2


@pytest.mark.parametrize(("size", "words"), [(None, "finer than 4 px"), (0.65, "finer than 2.6 um")])
def test_fine_detail_is_said_as_a_length(model: Model, size: float | None, words: str) -> None:
    """Half octaves end at half a cycle a pixel, so the last one and the one before are detail of less than four pixels."""
    rows = np.tile(model.domain.parts["detail"].mean, (3, 1))
    rows[:, -2:] -= 1.0
    assert f"power in detail {words}" in detail_words(model.domain, rows, PixelSize(None, size, size))


def test_few_cells_are_named(model: Model) -> None:
    verdict = check_domain(model, stack(cells(11, count=6)))
    assert verdict is not None
    assert any("sparser" in reason for reason in verdict.reasons), verdict


def test_a_known_pixel_size_is_compared_and_resampling_settles_it(model: Model) -> None:
    image = stack(ndimage.zoom(cells(11, 512), 0.5, order=1), PixelSize(None, 1.0, 1.0))
    verdict = check_domain(model, image)
    assert verdict is not None
    assert "Pixel size 1 um where the model learned 0.5" in verdict.reasons[0]
    again = check_domain(model, image, resample=True)
    assert again is not None
    assert "pixel size" not in again.parts


def test_a_summary_is_the_same_twice_and_survives_its_file(model: Model) -> None:
    domain = run_to_end(summarize(model, [stack(cells(seed)) for seed in range(4)]))
    assert model.domain is not None
    assert domain.to_bytes() == model.files.read("domain.npz", 10**6)
    assert Domain.from_bytes(domain.to_bytes(), "x").to_bytes() == model.domain.to_bytes()
    assert len(domain.to_bytes()) < 60_000
    assert (domain.images, domain.calibrated) == (4, "images")


def test_one_image_is_taken_in_parts_and_an_empty_one_is_refused(model: Model) -> None:
    domain = run_to_end(summarize(model, [stack(cells(0))]))
    assert (domain.images, domain.calibrated) == (1, "parts")
    with pytest.raises(InputError, match="too small or too empty"):
        run_to_end(summarize(model, [stack(np.ones((128, 128)))]))


def test_padding_is_left_out_and_an_empty_image_has_no_verdict(model: Model) -> None:
    padded = np.full((512, 256), 300.0)
    padded[:256] = cells(11)
    assert check_domain(model, stack(np.full((128, 128), 7.0))) is None
    domain = run_to_end(summarize(model, [stack(padded)]))
    assert domain.patches == 16


def test_a_small_image_and_a_large_lazy_one_are_bounded(model: Model) -> None:
    import dask.array as da

    small = check_domain(model, stack(cells(11)[:40, :40]))
    assert small is not None
    assert small.distance < 2
    read: list[tuple[int, ...]] = []

    def block(image: np.ndarray) -> np.ndarray:
        read.append(image.shape)
        return image

    tile = cells(11, 512, 240).astype(np.float32)
    huge = da.from_array(tile, chunks=(512, 512))
    huge = da.tile(huge, (20, 20)).map_blocks(block, dtype=np.float32, meta=np.zeros((0, 0), np.float32))
    verdict = check_domain(model, Stack(huge[None, None, None], ("Brightfield",)))
    assert verdict is not None
    assert verdict.verdict == "inside", verdict
    assert len(read) <= 25


def test_a_volume_and_a_network_of_pieces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    volume = ndimage.gaussian_filter(rng.normal(size=(10, 128, 128)), 2) * 1000 + rng.normal(0, 3, (10, 128, 128)) + 500
    sharp = Stack(volume.astype(np.float32)[None, None], ("Brightfield",))
    toy = open_model(write_toy(tmp_path / "volume", TOY_3D))
    path = add_domain(tmp_path / "volume", run_to_end(summarize(toy, [sharp])))
    blurred = Stack(ndimage.gaussian_filter(volume, (0, 3, 3)).astype(np.float32)[None, None], ("Brightfield",))
    near, far = (check_domain(open_model(path), one) for one in (sharp, blurred))
    assert near is not None
    assert far is not None
    assert near.verdict == "inside"
    assert far.verdict == "outside"
    assert "network" in near.parts


def test_a_package_without_a_summary_has_no_verdict(tmp_path: Path) -> None:
    assert check_domain(open_model(write_toy(tmp_path / "toy", ONE, test_input=np.ones((1, 32, 32)))), stack(cells(0))) is None


def test_the_package_stays_sound_and_its_other_files_as_they_are(model: Model, tmp_path: Path) -> None:
    plain = write_toy(tmp_path / "plain.zip", ONE, test_input=np.ones((1, 32, 32)) * cells(0, 32))
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(model.info.source) as new:
        assert set(new.namelist()) - set(old.namelist()) == {"domain.npz"}
        assert all(old.read(name) == new.read(name) for name in old.namelist() if name not in ("rdf.yaml", "weights.pt"))
        rdf = yaml.safe_load(new.read("rdf.yaml"))
    assert rdf["attachments"] == [rdf["config"]["napari_virtual_paint"]["domain"]]
    report = check_model(model.info.source)
    assert report.ok, report
    assert "training inputs" in [row.name for row in report.checks]
    export_model(model, tmp_path / "copy.zip")
    copied = open_model(tmp_path / "copy.zip").domain
    assert copied is not None
    assert model.domain is not None
    assert copied.to_bytes() == model.domain.to_bytes()


def _with_summary(model: Model, path: Path, data: bytes, *, hashed: bool = True) -> Path:
    """Copy a package with another file as its summary."""
    import hashlib

    with zipfile.ZipFile(model.info.source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "rdf.yaml" and hashed:
                assert model.info.domain is not None
                content = content.replace(model.info.domain["sha256"].encode(), hashlib.sha256(data).hexdigest().encode())
            new.writestr(name, data if name == "domain.npz" else content)
    return path


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("it was run",))


@pytest.mark.parametrize("kind", ["pickle", "garbage", "huge", "nan", "lies"])
def test_a_summary_of_unknown_origin_stays_data(model: Model, tmp_path: Path, kind: str) -> None:
    good = model.files.read("domain.npz", 10**6)
    with np.load(io.BytesIO(good)) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(arrays["about"].tobytes())
    about["deep"]["side"] = 10**6
    data = {
        "pickle": _npz(**{**arrays, "about": np.array([Trap()], object)}),
        "garbage": b"PK nothing",
        "huge": _npz(**arrays, more=np.zeros(10**7, np.float32)),
        "nan": _npz(**{**arrays, "centre": arrays["centre"] * np.nan}),
        "lies": _npz(**{**arrays, "about": np.frombuffer(json.dumps(about).encode(), np.uint8)}),
    }[kind]
    bad = open_model(_with_summary(model, tmp_path / "bad.zip", data))
    with pytest.raises(ModelError, match=r"domain\.npz"):
        check_domain(bad, stack(cells(0)))
    assert not check_model(tmp_path / "bad.zip").ok


def test_a_changed_summary_is_told(model: Model, tmp_path: Path) -> None:
    bad = _with_summary(model, tmp_path / "bad.zip", model.files.read("domain.npz", 10**6) + b"x", hashed=False)
    report = check_model(bad)
    assert [row.name for row in report.checks if not row.ok] == ["training inputs"]


def test_the_commands(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tifffile

    names = [str(tmp_path / name) for name in ("a.tif", "b.tif", "blurred.tif")]
    for name, image in zip(names, (cells(1), cells(2), ndimage.gaussian_filter(cells(1), 2)), strict=True):
        tifffile.imwrite(name, image.astype(np.uint16))
    plain = write_toy(tmp_path / "plain.zip", ONE, test_input=np.ones((1, 32, 32)) * cells(0, 32))
    assert main(["domain", names[0], "-m", str(plain)]) == 2
    assert "has no summary" in capsys.readouterr().err
    assert main(["models", "domain", "jurkat-brightfield", "--images", names[0]]) == 2
    assert "a bundled model is not changed" in capsys.readouterr().err
    out = str(tmp_path / "known.zip")
    assert main(["models", "domain", str(plain), "--images", *names[:2], "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    assert main(["domain", *names, "-m", out, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in report["images"]] == ["inside", "inside", "outside"]
    assert "out of focus" in report["images"][2]["reasons"][0]
    assert main(["domain", names[2], "-m", out]) == 0
    assert "outside" in capsys.readouterr().out
    painted = str(tmp_path / "stains.ome.tif")
    assert main(["predict", names[2], "-m", out, "-o", painted, "--device", "cpu", "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)["domain"]
    assert (told["verdict"], told["distance"]) == ("outside", report["images"][2]["distance"])
    assert "outside what the model learned from" in said.err
    provenance = read(painted).provenance
    assert provenance is not None
    assert provenance["domain"]["verdict"] == "outside"


def test_a_package_is_written_once_with_its_summary(model: Model, tmp_path: Path) -> None:
    domain = model.domain
    seen = []

    def summarize(info: ModelInfo, network: torch.nn.Module) -> Domain | None:
        seen.append((info.id, network.training))
        return domain

    image = np.ones((1, 32, 32)) * cells(0, 32)
    whole = write_toy(tmp_path / "whole", ONE, test_input=image, summarize=summarize)
    later = add_domain(write_toy(tmp_path / "later", ONE, test_input=image), domain)
    assert seen == [(ONE["id"], False)]
    assert check_model(whole).ok
    contents = [yaml.safe_load((path / "rdf.yaml").read_text()) for path in (whole, later)]
    for content in contents:
        del content["timestamp"]
    assert contents[0] == contents[1]
    assert list(contents[0]) == list(contents[1])
    assert (whole / "domain.npz").read_bytes() == (later / "domain.npz").read_bytes()


def test_training_summarises_what_was_trained_on_alone(model: Model, tmp_path: Path) -> None:
    from napari_virtual_paint.training.data.pairs import DataSet, Pair
    from napari_virtual_paint.training.package import domain_of

    path = write_toy(tmp_path / "trained.zip", ONE, test_input=np.ones((1, 32, 32)) * cells(0, 32))
    pairs = []
    for seed in range(3):
        image = (cells(seed)[None] - 1000) / 60
        image[:, :, 128:] = ndimage.gaussian_filter(image[:, :, 128:], (0, 3, 3))  # held out, and out of focus
        left = np.zeros((256, 256), bool)
        left[:, :128] = True
        parts = {"train": left, "validation": ~left, "test": np.zeros_like(left)}
        pairs.append(Pair(f"field {seed}", image.astype(np.float32), image.astype(np.float32), parts))
    opened = open_model(path)
    domain = domain_of(opened.info, opened.network, DataSet(tuple(pairs), ("Brightfield",), ("DNA",), PixelSize(None, 0.5, 0.5)))
    assert domain is not None
    assert (domain.images, domain.patches, domain.calibrated) == (3, 24, "images")
    add_domain(path, domain)
    verdict = check_domain(open_model(path), stack(ndimage.gaussian_filter(cells(11), 2)))
    assert verdict is not None
    assert "out of focus" in verdict.reasons[0]


def test_its_own_training_image_is_inside_whatever_was_held_out_of_it(model: Model, tmp_path: Path) -> None:
    """The held-out half is so far out of focus that such an image alone is not inside."""
    from napari_virtual_paint.training.data.pairs import DataSet, Pair
    from napari_virtual_paint.training.package import domain_of

    path = write_toy(tmp_path / "trained.zip", ONE, test_input=np.ones((1, 32, 32)) * cells(0, 32))
    raw, left = cells(1), np.zeros((256, 256), bool)
    raw[:, 128:] = ndimage.gaussian_filter(raw[:, 128:], 4)
    left[:, :128] = True
    image = ((raw - raw.mean()) / raw.std())[None].astype(np.float32)
    pair = Pair("field", image, image, {"train": left, "validation": ~left, "test": np.zeros_like(left)})
    opened = open_model(path)
    domain = domain_of(opened.info, opened.network, DataSet((pair,), ("Brightfield",), ("DNA",), PixelSize(None, 0.5, 0.5)))
    assert domain is not None
    add_domain(path, domain)
    own = check_domain(open_model(path), stack(raw))
    assert own is not None
    assert (own.verdict, own.reasons) == ("inside", ())
    blurred = check_domain(open_model(path), stack(ndimage.gaussian_filter(cells(1), 4)))
    assert blurred is not None
    assert blurred.verdict != "inside"


def test_a_plate_tells_it_of_every_field(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from napari_virtual_paint.painting import PaintSettings
    from napari_virtual_paint.plates.job.rows import read_scores
    from napari_virtual_paint.plates.paint import paint_plate
    from small_plates import make_plate, to_end

    plate = make_plate(tmp_path / "plate", wells=2, channels=("Brightfield",))
    for well, image in (("A01", cells(1)), ("A02", ndimage.gaussian_filter(cells(1), 2))):
        np.save(tmp_path / "plate" / f"{well}_0.npy", image.astype(np.uint16)[None, None, None])
    to_end(paint_plate(plate, model, tmp_path / "out", PaintSettings(device="cpu"), workers=1))
    table = read_scores(tmp_path / "out").sort_values("well", ignore_index=True)
    assert list(table["domain"]) == ["edge", "outside"]
    assert table["domain_distance"][1] > 2 > table["domain_distance"][0] > 1
    assert "Pixel size 0.325 um where the model learned 0.5" in table["domain_reason"][0]


def test_real_cells_in_interphase_are_inside_and_mitotic_ones_further_out(shared_data: Path) -> None:
    def montage(name: str) -> Stack:
        found = read(shared_data / "jurkat_flow" / f"{name}.ome.tif").select(["Brightfield"])
        return Stack(np.asarray(found.data[..., :640, :640]), found.channels)

    model = open_model("jurkat-brightfield")
    known = ("experiment_1_g1_0008", "experiment_1_g2_0008", "experiment_2_g1_0001")
    domain = run_to_end(summarize(model, [montage(name) for name in known]))
    model._domain = domain
    near, far = (check_domain(model, montage(name)) for name in ("experiment_2_g1_0003", "experiment_1_prophase_0001"))
    assert near is not None
    assert far is not None
    assert near.verdict == "inside"
    assert far.distance > 1.5 * near.distance
