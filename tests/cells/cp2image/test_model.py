"""Packages of cell models: written, read back, damaged, hostile; drawing."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cell_packages import FEATURES, draft
from napari_virtual_paint.cells.cp2image.model import build, generate, list_cell_models, open_cell_model
from napari_virtual_paint.cells.cp2image.package import save_cell_model
from napari_virtual_paint.cells.cp2image.sample import OUR_FILE
from napari_virtual_paint.cells.transform import Transform, angles_of
from napari_virtual_paint.errors import InputError, ModelError, WriteError
from napari_virtual_paint.models.package.files import sha256

LIMIT = 4_000_000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_cell_model(tmp_path_factory.mktemp("cells") / "toy.zip", draft())


def changed(package: Path, to: Path, **files: bytes | None) -> Path:
    """Copy a package with some files replaced; their digests stay those of the old ones."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            data = files.get(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return to


def test_a_package_comes_back(package: Path) -> None:
    given, model = draft(), open_cell_model(package)
    assert (model.id, model.features, model.channels, model.size, model.pixel_size) == (
        "toy-cells",
        FEATURES,
        ("Brightfield", "DNA"),
        40,
        0.5,
    )
    np.testing.assert_allclose(model.transform.median, given.transform.median, rtol=1e-6)
    np.testing.assert_array_equal(model.scale, [[0, 1000], [100, 3000]])
    assert model.card["scores"] == {"fid": 1.5}
    sample = model.population
    np.testing.assert_allclose(sample.values, given.sample.values, rtol=5e-4)
    assert sample.metadata == given.sample.metadata
    assert np.abs(sample.crops - given.sample.crops).max() < 0.05 * np.ptp(given.sample.crops)
    assert model.reader is not None
    assert model.reader(torch.zeros(1, 2, 40, 40)).shape == (1, 64)


def test_the_package_draws_what_the_network_draws(package: Path) -> None:
    given, model = draft(), open_cell_model(package)
    with torch.inference_mode():
        mine = given.network.eval()(torch.from_numpy(given.transform.apply(given.sample.values))).numpy()
    span = (given.high - given.low)[:, None, None]
    expected = np.maximum(mine * span + given.low[:, None, None], 0)
    drawn = generate(model, given.sample.values)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn, expected, atol=0.01 * float(expected.std()) + 1)


def test_a_missing_feature_is_the_median_s(package: Path) -> None:
    model = open_cell_model(package)
    median = model.transform.median.copy()
    median[1] = np.nan
    np.testing.assert_array_equal(generate(model, median), generate(model, model.transform.median))


def test_one_cell_or_many_are_drawn_alike(package: Path) -> None:
    model = open_cell_model(package)
    values = draft().sample.values
    np.testing.assert_allclose(generate(model, values)[7], generate(model, values[7])[0], rtol=1e-4, atol=0.5)


def test_a_seed_has_no_effect_without_noise(package: Path) -> None:
    model, values = open_cell_model(package), draft().sample.values
    assert not model.takes_noise
    np.testing.assert_array_equal(generate(model, values, seed=range(len(values))), generate(model, values, seed=3))
    with pytest.raises(InputError, match="cells need one seed, or one each, not 2"):
        generate(model, values, seed=[1, 2])
    with pytest.raises(InputError, match="whole number of 0 or more, not -1"):
        generate(model, values, seed=-1)


def test_the_wrong_number_of_features_is_told(package: Path) -> None:
    with pytest.raises(InputError, match="toy-cells takes 3 features per cell, not 2"):
        generate(open_cell_model(package), [1.0, 2.0])


def test_the_transform_is_robust() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(10, 2, (2001, 3))
    values[:50, 0] = 1e9
    values[:, 1] = np.where(np.arange(2001) < 1500, 0, values[:, 1])
    values[5, 2] = np.nan
    transform = Transform.fit(values, clip=4)
    assert transform.median[0] == pytest.approx(10, abs=0.3)
    assert transform.scale[0] == pytest.approx(2, abs=0.2)
    assert transform.scale[1] == pytest.approx(values[:, 1].std(), rel=1e-4)  # half of the cells share one value
    scaled = transform.apply(values)
    assert scaled[5, 2] == 0
    assert scaled.max() == 4


ANGLES = (
    "Nuclei_AreaShape_Orientation",
    "Cells_RadialDistribution_ZernikePhase_DNA_3_1",
    "Nuclei_RadialDistribution_ZernikePhase_DNA_3_1",
    "Cells_RadialDistribution_ZernikeMagnitude_DNA_3_1",
)


def test_angles_are_given_as_cosine_and_sine() -> None:
    # The nucleus's phase has no magnitude beside it.
    assert angles_of(ANGLES) == ((0, -1), (1, 3))
    transform = Transform(np.float32([0, 0, 0, 3]), np.float32([50, 1, 1, 4]), 5.0, angles_of(ANGLES))
    assert transform.width == 8
    (row,) = transform.apply(np.array([[30.0, np.pi / 2, 1.0, 10.0]]))
    np.testing.assert_allclose(row, [0, 0, 1, 7 / 4, 0.5, np.sqrt(0.75), 0, 2], atol=1e-6)
    # A nucleus at -90 degrees lies as one at 90 does.
    ends = transform.apply(np.array([[-90.0, 0, 0, 3], [90.0, 0, 0, 3]]))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)
    assert (transform.apply(np.full((1, 4), np.nan)) == 0).all()


def test_a_package_with_angles_comes_back(tmp_path: Path) -> None:
    given = draft()
    names = ("Nuclei_AreaShape_Orientation", *FEATURES[1:])
    settings = {"features": 5, "channels": 2, "size": 40, "width": 8, "max_width": 16, "style": 16}
    transform = replace(given.transform, angles=angles_of(names))
    changes = {"features": names, "transform": transform, "network": build("CellPainter", settings)}
    path = save_cell_model(tmp_path / "angles.zip", replace(given, **changes))
    model = open_cell_model(path)
    assert model.transform.angles == ((0, -1),)
    assert model.config["features"] == 5
    values = given.sample.values[:2].copy()
    values[:, 1:] = values[0, 1:]
    values[:, 0] = -90, 90
    drawn = generate(model, values)
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=1e-3, atol=1)
    core = pytest.importorskip("bioimageio.core")
    assert core.test_model(path).status == "passed"


def test_the_specification_s_own_program_reproduces_the_test_output(package: Path) -> None:
    core = pytest.importorskip("bioimageio.core")
    assert core.test_model(package).status == "passed"


def test_what_is_there_is_not_replaced_unasked(package: Path) -> None:
    before = package.read_bytes()
    with pytest.raises(WriteError):
        save_cell_model(package, draft())
    assert package.read_bytes() == before
    save_cell_model(package, draft(), overwrite=True)
    assert [item.name for item in package.parent.iterdir()] == [package.name]


def test_a_network_that_gives_no_numbers_is_not_kept(tmp_path: Path) -> None:
    broken = draft()
    with torch.no_grad():
        next(broken.network.parameters()).fill_(torch.nan)
    with pytest.raises(ModelError, match="not numbers"):
        save_cell_model(tmp_path / "broken.zip", broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["weights.pt", "population.parquet", "crops_0.jpg"])
def test_a_damaged_file_is_told(package: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(package) as archive:
        data = bytearray(archive.read(name))
    data[len(data) // 2] ^= 0xFF
    model = open_cell_model(changed(package, tmp_path / "bad.zip", **{name: bytes(data)}))
    with pytest.raises(ModelError, match=f"{name} is damaged or was changed"):
        _ = model.network, model.population


def test_a_pickle_that_would_run_code_is_not_run(package: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)  # type: ignore[return-value]

    file = io.BytesIO()
    torch.save({"x": Evil()}, file, pickle_module=pickle)
    with zipfile.ZipFile(package) as archive:
        ours = json.loads(archive.read(OUR_FILE))
    ours["files"]["weights"]["sha256"] = sha256(file.getvalue())
    bad = changed(package, tmp_path / "evil.zip", **{"weights.pt": file.getvalue(), OUR_FILE: json.dumps(ours).encode()})
    with pytest.raises(ModelError, match=r"weights\.pt doesn't hold the weights"):
        _ = open_cell_model(bad).network
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "UNet"}, "is none of"),
        ({"features": []}, "0 features"),
        ({"size": 100_000}, "crops of 100000 px"),
        ({"median": [1.0]}, "3 numbers"),
        ({"low": [float("nan"), 0]}, "2 numbers"),
        ({"config": {"width": 10**9}}, "out of range"),
        ({"files": None}, "lacks or garbles"),
    ],
)
def test_a_description_that_can_t_be(package: Path, tmp_path: Path, change: dict[str, object], words: str) -> None:
    with zipfile.ZipFile(package) as archive:
        ours = json.loads(archive.read(OUR_FILE))
    bad = changed(package, tmp_path / "bad.zip", **{OUR_FILE: json.dumps({**ours, **change}).encode()})
    with pytest.raises(ModelError, match=words):
        open_cell_model(bad)


def test_a_way_out_of_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        ours = json.loads(archive.read(OUR_FILE))
    ours["files"]["population"]["source"] = "../secret"
    bad = changed(package, tmp_path / "bad.zip", **{OUR_FILE: json.dumps(ours).encode()})
    with pytest.raises(ModelError, match="outside of the package"):
        _ = open_cell_model(bad).population


def test_a_package_of_stains_is_no_cell_model() -> None:
    from napari_virtual_paint.models import list_models

    with pytest.raises(ModelError, match="this is no cell model"):
        open_cell_model(list_models()[0].source)


def test_the_user_s_folder_is_looked_through(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(package.parent))
    assert "toy-cells" in [model.id for model in list_cell_models()]
    assert open_cell_model("toy-cells").source == package
    with pytest.raises(ModelError, match="no cell model of this id"):
        open_cell_model("other-cells")


@pytest.mark.parametrize("name", ["simulated-cells", "jurkat-cells"])
def test_the_bundled_models(name: str) -> None:
    model = open_cell_model(name)
    assert model.source.stat().st_size <= LIMIT
    sample = model.population
    assert len(sample.values) == len(sample.crops) >= 100
    drawn = generate(model, sample.values[:20])
    assert drawn.shape == sample.crops[:20].shape
    # The nucleus looks like the real cell's.
    channel, middle = model.channels.index("DNA"), slice(model.size // 4, -model.size // 4)
    pairs = zip(drawn[:, channel, middle, middle], sample.crops[:, channel, middle, middle], strict=False)
    assert np.median([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]) > 0.9
    assert model.card["scores"]["share_above_0.5"] >= 0.55
    assert model.card["scores"]["features"] >= 200
    assert model.card["not_for"]
    assert model.card["made_with"] == f"virtual-paint cells train docs/recipes/{name}.yaml"


def test_a_draft_is_not_changed_by_saving(tmp_path: Path) -> None:
    given = draft()
    before = {key: tensor.clone() for key, tensor in given.network.state_dict().items()}
    save_cell_model(tmp_path / "a.zip", replace(given, reader=None))
    assert all(torch.equal(before[key], tensor) for key, tensor in given.network.state_dict().items())
    assert open_cell_model(tmp_path / "a.zip").reader is None
