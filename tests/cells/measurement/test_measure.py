"""Features of cells: against CellProfiler's table, crops against images, our faster parts against cp_measure, files and the command."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cp_measure.core import measurecolocalization as colocalization
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import morphology
from skimage.segmentation import relabel_sequential

from napari_virtual_paint.cells.cellprofiler_names import is_morphological_feature
from napari_virtual_paint.cells.measurement import cp_measure
from napari_virtual_paint.cells.measurement.crops import crop
from napari_virtual_paint.cells.measurement.distributions import SPECTRUM, granular_spectra
from napari_virtual_paint.cells.measurement.images import find_images, full_scale, measure_files
from napari_virtual_paint.cells.measurement.kernels import reconstruct
from napari_virtual_paint.cells.measurement.measure import measure, measure_crops
from napari_virtual_paint.cells.measurement.mosaic import CellMosaic, cut, lay_out
from napari_virtual_paint.cells.tables.writing import notes, write_table
from napari_virtual_paint.cli import main
from napari_virtual_paint.counting.segmentation import Labels, segment
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulatedField, SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
TWO = ("DNA", "ER")
CROSS = ndimage.generate_binary_structure(2, 1)
PLACE = re.compile(r"Location_|_Center_|BoundingBox(Min|Max)")


@pytest.fixture(scope="module")
def field() -> SimulatedField:
    return simulate_field(SimulationSettings(size=320, seed=3))


@pytest.fixture(scope="module")
def planes(field: SimulatedField) -> np.ndarray:
    return field.stains.data[0, :2, 0]


@pytest.fixture(scope="module")
def labels(planes: np.ndarray) -> Labels:
    return segment(planes, TWO, pixel_size=0.65, scale=65535)


@pytest.fixture(scope="module")
def table(planes: np.ndarray, labels: Labels) -> pd.DataFrame:
    return measure(planes, TWO, labels, scale=65535)


def run(steps):
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as stop:
            return stop.value, seen


def close(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Assert that two tables agree to rounding, in units of each feature's spread."""
    spread = np.nanstd(second, axis=0) + 1e-9 * np.nanmax(np.abs(second), axis=0, initial=1e-9)
    assert np.array_equal(np.isnan(first), np.isnan(second))
    assert np.nanmax(np.abs(first.to_numpy() - second.to_numpy()) / spread) < 1e-6


def test_a_row_a_cell_with_cellprofilers_names(table: pd.DataFrame, labels: Labels) -> None:
    assert table["ObjectNumber"].tolist() == list(range(1, labels.cells.max() + 1))
    for name in (
        "Nuclei_AreaShape_Area",
        "Cells_AreaShape_Zernike_4_2",
        "Cytoplasm_AreaShape_MinFeretDiameter",
        "Cells_Intensity_MeanIntensity_DNA",
        "Nuclei_Texture_Contrast_DNA_3_00_256",
        "Cells_Correlation_Correlation_DNA_ER",
        "Cells_Correlation_Manders_ER_DNA",
        "Cytoplasm_RadialDistribution_FracAtD_DNA_1of4",
        "Nuclei_RadialDistribution_ZernikeMagnitude_ER_0_0",
        "Nuclei_Granularity_1_DNA",
        "Nuclei_Location_Center_X",
        "Cells_Location_MaxIntensity_Y_ER",
    ):
        assert name in table, name
    assert sum(is_morphological_feature(name) for name in table.columns[1:]) > 200


def test_values_are_what_they_say(table: pd.DataFrame, planes: np.ndarray, labels: Labels) -> None:
    for number in (1, len(table)):
        row, mask = table.iloc[number - 1], labels.nuclei == number
        assert row["Nuclei_AreaShape_Area"] == mask.sum()
        assert row["Nuclei_Intensity_IntegratedIntensity_DNA"] == pytest.approx(planes[0][mask].sum() / 65535)
        y, x = np.nonzero(mask)
        assert row["Nuclei_Location_Center_Y"] == pytest.approx(y.mean())
        assert row["Nuclei_AreaShape_BoundingBoxMaximum_X"] == x.max() + 1
        cell = labels.cells == number
        brightest = planes[1][cell].max()
        place = row[["Cells_Location_MaxIntensity_Y_ER", "Cells_Location_MaxIntensity_X_ER"]].to_numpy(int)
        assert cell[tuple(place)]
        assert planes[1][tuple(place)] == brightest
        both = np.corrcoef(planes[0][cell], planes[1][cell])[0, 1]
        assert row["Cells_Correlation_Correlation_DNA_ER"] == pytest.approx(both)


def test_names_are_those_of_a_cell_painting_table(shared_data, table: pd.DataFrame) -> None:
    for compartment in ("Nuclei", "Cells", "Cytoplasm"):
        known = set(pd.read_csv(shared_data / "wide_profiles" / f"{compartment}.csv", nrows=0))
        ours = [name.removeprefix(f"{compartment}_") for name in table if name.startswith(compartment)]
        missing = [name for name in ours if name not in known and "_Zernike" not in name.replace("AreaShape_Zernike", "")]
        assert not [name for name in missing if name not in ("Location_Center_X", "Location_Center_Y")]


def test_each_name_of_cp_measure_has_one(planes: np.ndarray, labels: Labels) -> None:
    functions = cp_measure.core()
    names = [key for name, function in functions.items() for key in function(labels.nuclei, planes[0] / 65535.0)]
    mapped = [cp_measure.cellprofiler_name(name, "DNA") for name in names]
    assert len(set(mapped)) == len(set(names))
    assert cp_measure.cellprofiler_name("Area") == "AreaShape_Area"
    assert cp_measure.cellprofiler_pair_name("Correlation_Slope", "a", "b") is None
    with pytest.raises(InputError):
        cp_measure.cellprofiler_name("3D!")


def test_radial_distribution_and_zernike_are_cp_measures(planes: np.ndarray, labels: Labels) -> None:
    mosaic = lay_out(list(cut(planes, labels, np.full(2, 65535.0))))
    functions, plane = cp_measure.core(), mosaic.planes[1]
    with np.errstate(invalid="ignore"):
        theirs = functions["radial_distribution"](mosaic.cytoplasm, plane)
    ours = cp_measure.measure_distribution(mosaic.cytoplasm, mosaic.planes, TWO)
    for name, value in theirs.items():
        assert ours[cp_measure.cellprofiler_name(name, "ER")] == pytest.approx(np.asarray(value)), name
    # Pixels on the enclosing circle are in or out by rounding there, so that the moments of some cells differ a little.
    ours = cp_measure.measure_distribution(mosaic.whole, mosaic.planes, TWO)
    theirs = functions["zernike"](mosaic.whole, None) | functions["radial_zernikes"](mosaic.whole, plane)
    for name, value in theirs.items():
        mine, size = ours[cp_measure.cellprofiler_name(name, "ER")], 1.0
        if "Phase" in name:
            mine, value = np.cos(mine - value), np.ones(len(mine))
        else:
            size = np.abs(theirs[re.sub(r"_\d+_\d+$", "_0_0", name)]).max()
        assert np.median(np.abs(mine - value)) < 0.01 * size, name


def test_granularity_is_cp_measures_of_the_cell_alone(planes: np.ndarray, labels: Labels) -> None:
    cells = list(cut(planes, labels, np.full(2, 65535.0)))
    mosaic = lay_out(cells)
    ours = granular_spectra((mosaic.nuclei, mosaic.whole, mosaic.cytoplasm), mosaic.planes[1], mosaic.boxes)
    alone = lay_out(cells[3:4])
    options = {"subsample_size": 1, "image_sample_size": 1, "element_size": max(alone.whole.shape), "granular_spectrum_length": SPECTRUM}
    for spectrum, one in zip(ours, (alone.nuclei, alone.whole, alone.cytoplasm), strict=True):
        theirs = cp_measure.core()["granularity"](one, alone.planes[1], **options)
        assert spectrum[3] == pytest.approx(np.array([theirs[f"Granularity_{k}"][0] for k in range(1, SPECTRUM + 1)]))
        assert spectrum[3].max() > 0.1


def test_reconstruction_is_scikit_images(planes: np.ndarray) -> None:
    for plane in (planes[1].astype(float), np.random.default_rng(0).integers(0, 9, (40, 50)).astype(float)):
        eroded = ndimage.grey_erosion(plane, footprint=CROSS, mode="constant")
        for seed in (eroded, np.where(plane == plane.max(), plane, 0)):
            assert np.array_equal(reconstruct(seed, plane), morphology.reconstruction(seed, plane, footprint=CROSS))


def odd_objects() -> tuple[CellMosaic, np.ndarray]:
    """Return objects of several pieces, with holes and of one pixel, laid out with three planes, one constant; and labels."""
    rng = np.random.default_rng(0)
    labels, _ = ndimage.label(ndimage.gaussian_filter(rng.standard_normal((90, 90)), 2) > 0.03)
    labels[labels % 4 == 1] = 1
    labels[0], labels[0, 40] = 0, labels.max() + 1
    planes = np.stack([rng.integers(0, 4095, labels.shape), rng.poisson(3, labels.shape), np.full(labels.shape, 700)])
    dense = relabel_sequential(labels)[0].astype(np.int32)
    return lay_out(list(cut(planes, Labels.of(dense, dense), np.full(3, 4095.0)))), dense


def test_radial_distribution_of_odd_objects_is_cp_measures() -> None:
    mosaic, _ = odd_objects()
    with np.errstate(invalid="ignore"):
        ours = cp_measure.measure_distribution(mosaic.whole, mosaic.planes[:2], TWO)
        theirs = cp_measure.core()["radial_distribution"](mosaic.whole, mosaic.planes[1])
    for name, value in theirs.items():
        assert ours[cp_measure.cellprofiler_name(name, "ER")] == pytest.approx(np.asarray(value), nan_ok=True), name


def test_correlations_are_cp_measures() -> None:
    mosaic, _ = odd_objects()
    ours = dict(cp_measure.measure_pairs(mosaic.whole, mosaic.planes[:3], ("a", "b", "flat")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs: dict = {}
        for function in (
            colocalization.get_correlation_pearson,
            colocalization.get_correlation_overlap,
            colocalization.get_correlation_manders_fold,
            colocalization.get_correlation_rwc,
        ):
            theirs |= function(mosaic.planes[0], mosaic.planes[1], mosaic.whole)
    for name, value in theirs.items():
        if known := cp_measure.cellprofiler_pair_name(name, "a", "b"):
            assert ours[known] == pytest.approx(np.asarray(value), rel=1e-9, abs=1e-12, nan_ok=True), name
    assert np.isnan(ours["Correlation_Correlation_a_flat"]).all()
    assert len(theirs) == 9


def test_a_dark_stain_is_no_error() -> None:
    _, labels = odd_objects()
    planes = np.stack([np.random.default_rng(1).integers(0, 4095, labels.shape), np.zeros(labels.shape)])
    found = measure(planes, TWO, Labels.of(labels, labels), scale=4095, groups=("Correlation",))
    assert found["Cells_Correlation_Overlap_DNA_ER"].isna().all()
    assert (found["Cells_Correlation_Manders_DNA_ER"] > 0).all()


def test_compartments_are_those_asked_for(planes: np.ndarray, labels: Labels, table: pd.DataFrame) -> None:
    for chosen in (("Cells",), ("Cytoplasm", "Nuclei")):
        found = measure(planes, TWO, labels, scale=65535, compartments=chosen, workers=2)
        assert set(found) == {name for name in table if name.startswith(("Object", *chosen))}
        assert [name for name in table if name in found] == list(found)
        close(found, table[list(found)])
    for wrong in ({"compartments": ("Cell",)}, {"groups": ("Shape",)}):
        with pytest.raises(InputError, match="there are"):
            measure(planes, TWO, labels, **wrong)


def test_crops_give_what_the_image_gives(planes: np.ndarray, labels: Labels, table: pd.DataFrame) -> None:
    """A crop with the labels of the image is measured to the same values, wherever it lies and whoever its neighbours are."""
    size = 120
    centres = table[["Nuclei_Location_Center_Y", "Nuclei_Location_Center_X"]].to_numpy()
    numbers = crop(np.stack([labels.nuclei, labels.cells]), centres, size).astype(int)
    area = table["Cells_AreaShape_Area"]
    whole = [i for i in range(len(table)) if (numbers[i, 1] == i + 1).sum() == area[i]]
    assert len(whole) >= 5
    found = measure_crops(crop(planes, centres[whole], size), TWO, scale=65535, labels=[Labels.of(*numbers[i]) for i in whole])
    features = [name for name in found if not PLACE.search(name)]
    close(found[features], table[features].iloc[whole].reset_index(drop=True))
    corner = np.round(centres[whole] - (size - 1) / 2)
    assert found["Nuclei_Location_Center_Y"].to_numpy() + corner[:, 0] == pytest.approx(centres[whole, 0])


def test_many_crops_are_measured_as_one_by_one(planes: np.ndarray, table: pd.DataFrame) -> None:
    crops = crop(planes, table[["Nuclei_Location_Center_Y", "Nuclei_Location_Center_X"]], 64)[:8]
    together = measure_crops(crops, TWO, scale=65535)
    close(together, pd.concat([measure_crops(one[None], TWO, scale=65535) for one in crops], ignore_index=True))


def test_the_images_thresholds_give_the_images_nuclei(planes: np.ndarray, labels: Labels, table: pd.DataFrame) -> None:
    crops = crop(planes, table[["Nuclei_Location_Center_Y", "Nuclei_Location_Center_X"]], 96)
    found = measure_crops(crops, TWO, scale=65535, pixel_size=0.65, thresholds=labels.thresholds[0], groups=("AreaShape",))
    assert (found["Nuclei_AreaShape_Area"] == table["Nuclei_AreaShape_Area"]).mean() > 0.9


def test_a_crop_without_a_cell_is_nan(planes: np.ndarray, table: pd.DataFrame) -> None:
    crops = crop(planes, table[["Nuclei_Location_Center_Y", "Nuclei_Location_Center_X"]], 64)[:2]
    crops[0] = 300
    found = measure_crops(crops, TWO, scale=65535)
    assert found.iloc[0].isna().all()
    assert found.iloc[1].notna().any()
    nothing = measure_crops(crops[:1], TWO, scale=65535)
    assert list(nothing) == list(found)
    assert nothing.isna().all(axis=None)


def test_negative_and_large_pixels_are_no_error(planes: np.ndarray, table: pd.DataFrame) -> None:
    crops = crop(planes, table[["Nuclei_Location_Center_Y", "Nuclei_Location_Center_X"]], 64)[:3] - 500
    found = measure_crops(crops, TWO, scale=4095, groups=("Intensity", "Texture", "Granularity"))
    assert found["Nuclei_Texture_Contrast_DNA_3_00_256"].notna().all()
    assert (found["Cells_Intensity_MinIntensity_DNA"] >= 0).all()


def test_cells_without_cytoplasm_are_nan_there(planes: np.ndarray, labels: Labels) -> None:
    alone = Labels.of(labels.nuclei, np.where(labels.cells == 1, labels.nuclei, labels.cells))
    found = measure(planes, TWO, alone, scale=65535)
    cytoplasm = [name for name in found if name.startswith("Cytoplasm")]
    assert found.loc[0, cytoplasm].isna().all()
    assert found.loc[1:, "Cytoplasm_AreaShape_Area"].notna().all()
    assert found.loc[0, "Cells_AreaShape_Area"] == found.loc[0, "Nuclei_AreaShape_Area"]


def test_processes_give_the_same(planes: np.ndarray, labels: Labels, table: pd.DataFrame, monkeypatch) -> None:
    monkeypatch.setattr("napari_virtual_paint.cells.measurement.measure.CHUNK", 4)
    groups = ("AreaShape", "Intensity")
    close(measure(planes, TWO, labels, scale=65535, groups=groups, workers=2), measure(planes, TWO, labels, scale=65535, groups=groups))


@pytest.mark.parametrize(("channels", "scale"), [(("DNA",), 1), (("DNA", "DNA"), 1), (TWO, 0), (TWO, (1, 2, 3)), (("ER", "Mito"), 1)])
def test_what_does_not_fit_is_refused(channels: tuple[str, ...], scale: float) -> None:
    with pytest.raises(InputError):
        measure_crops(np.ones((1, 2, 20, 20)), channels, scale=scale)


def test_full_scale_is_that_of_the_camera() -> None:
    def image(highest: float, kind: str) -> Stack:
        return Stack(np.full((1, 1, 1, 2, 2), highest, kind))

    assert full_scale([image(7, "u1")]) == 255
    assert full_scale([image(3000, "u2"), image(900, "u2")]) == 4095
    assert full_scale([image(3000, "u2"), image(5000, "u2")]) == 65535
    assert full_scale([image(200, "u2")]) == 4095
    assert full_scale([image(0.7, "f4")]) == 1


# Files


def test_simulated_fields_tell_their_wells(tmp_path: Path) -> None:
    assert main(["simulate", str(tmp_path / "plate"), "--fields", "2", "--size", "256", "--treatment", "mitoxantrone", "--seed", "4"]) == 0
    found, seen = run(measure_files([tmp_path / "plate"], groups=("AreaShape",)))
    assert set(found["Metadata_Well"]) == {"mitoxantrone-1-4", "mitoxantrone-1-5"}
    assert set(found["Metadata_FileName"]) == {"field_000/stains.ome.tif", "field_001/stains.ome.tif"}
    assert found["Metadata_PixelSize"].iloc[0] == pytest.approx(0.65)
    assert (found["Metadata_Dose"] == 1).all()
    assert seen[-1].done == seen[-1].total == 2
    given, _ = run(measure_files([tmp_path / "plate"], groups=("AreaShape",), labels="labels.ome.tif"))
    truth = read(tmp_path / "plate" / "field_000" / "labels.ome.tif").compute().data[0, 0, 0]
    areas = given.loc[given["ImageNumber"] == 1].set_index("ObjectNumber")["Nuclei_AreaShape_Area"]
    assert all(area == (truth == number).sum() for number, area in areas.items())


def test_jurkat_cells_tell_phase_and_place(shared_data, tmp_path: Path) -> None:
    stack = read(shared_data / "jurkat_flow" / "experiment_1_s_phase_0009.ome.tif").compute()
    small = tmp_path / "experiment_1_s_phase_0009.ome.tif"
    write(Stack(stack.data[..., :200, :200], stack.channels), small)
    found, _ = run(measure_files([small]))
    assert set(found["Metadata_Phase"]) == {"s_phase"}
    assert set(found["Metadata_Experiment"]) == {"experiment_1"}
    assert set(found["Metadata_Tile"]) == {40}
    assert set(found["Metadata_Scale"]) == {4095.0}
    assert found["Metadata_Place"].is_unique
    crops = crop(stack.data[0, :, 0], [(p // 5 * 40 + 19.5, p % 5 * 40 + 19.5) for p in found["Metadata_Place"]], 40)
    again = measure_crops(crops, stack.channel_labels, scale=4095)
    features = [name for name in again if not PLACE.search(name)]
    assert sum(is_morphological_feature(name) for name in features) >= 200
    np.testing.assert_allclose(again[features], found[features], rtol=2e-4, atol=2e-5)


def test_example_human_agrees_with_cellprofiler(shared_data) -> None:
    """Median correlation over the AreaShape and Intensity features of matched nuclei with CellProfiler's own table."""
    folder = shared_data / "example_human"
    ours, _ = run(measure_files([folder], channels=("DNA", "PH3", "CellStain"), groups=("AreaShape", "Intensity")))
    theirs = pd.read_csv(folder / "Nuclei.csv")
    places = ours[["Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"]]
    away, nearest = cKDTree(places).query(theirs[["Location_Center_X", "Location_Center_Y"]])
    matched = away < 2
    assert matched.sum() > 220
    theirs, ours = theirs[matched].reset_index(drop=True), ours.iloc[nearest[matched]].reset_index(drop=True)
    found = {}
    for name in theirs:
        if name.startswith(("AreaShape", "Intensity")) and theirs[name].std() > 0 and not PLACE.search(f"_{name}"):
            found[name] = theirs[name].corr(ours[f"Nuclei_{name}"])
    values = pd.Series(found)
    print(values.sort_values().round(3).to_string())
    assert len(values) > 65
    assert values.median() >= 0.95
    assert values["AreaShape_Area"] > 0.99
    assert np.median(ours["Nuclei_Intensity_MeanIntensity_DNA"] / theirs["Intensity_MeanIntensity_DNA"]) == pytest.approx(1, abs=0.02)


def test_images_are_named_apart(tmp_path: Path) -> None:
    names = [image.name for image in find_images([tmp_path / "a" / "x.tif", tmp_path / "b" / "x.tif"])]
    assert names == ["a/x.tif", "b/x.tif"]
    assert find_images([tmp_path / "x.tif"])[0].metadata == {"Metadata_Well": "x"}
    with pytest.raises(InputError, match="twice"):
        find_images([tmp_path / "x.tif", tmp_path / "x.tif"])


def test_the_file_and_its_channels_are_named_where_nuclei_lack(tmp_path: Path) -> None:
    path = tmp_path / "odd.ome.tif"
    write(Stack(np.ones((1, 2, 1, 32, 32), np.uint16), ("Mito", "ER")), path)
    with pytest.raises(InputError, match=r"odd\.ome\.tif.*Mito, ER"):
        run(measure_files([path]))


def test_files_that_are_channels_are_told_how_to_be_given(shared_data) -> None:
    files = sorted((shared_data / "example_human").glob("*.tif"))
    for channels in (None, ("DNA", "PH3", "CellStain")):
        with pytest.raises(InputError, match="pattern in quotes"):
            run(measure_files(files, channels=channels))
    found, _ = run(measure_files([shared_data / "example_human" / "*.tif"], nuclei="0", groups=()))
    assert len(found) > 200


def test_measuring_can_stop_at_each_yield(field: SimulatedField, tmp_path: Path) -> None:
    write(field.stains, tmp_path / "stains.ome.tif")
    steps = measure_files([tmp_path / "stains.ome.tif"])
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


def test_tables_are_written_whole_and_told_of(tmp_path: Path) -> None:
    table = pd.DataFrame({"ImageNumber": [1, 1], "a": np.float32([1, 2]), "same": np.float32([3, 3]), "lacking": np.float32([1, np.nan])})
    told = notes(table)
    assert any("same" in note for note in told)
    assert any("lacking" in note and "1 cell and" in note for note in told)
    for name in ("t.parquet", "t.csv", "t.csv.gz"):
        write_table(table, tmp_path / name)
        back = pd.read_parquet(tmp_path / name) if name.endswith("parquet") else pd.read_csv(tmp_path / name)
        assert back["a"].tolist() == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.csv.gz", "t.parquet"]


def test_command_measures(field: SimulatedField, tmp_path: Path, capsys) -> None:
    write(field.stains, tmp_path / "field.ome.tif")
    out = tmp_path / "cells.parquet"
    code = main(["cells", "measure", str(tmp_path / "field.ome.tif"), "-o", str(out), "--channels", "DNA,ER", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["cells"] == len(pd.read_parquet(out)) > 3
    assert report["features"] > 200
    assert main(["cells", "measure", str(tmp_path / "field.ome.tif"), "-o", str(out), "--nuclei", "Actin"]) == 2
    assert "DNA, ER, RNA, AGP, Mito" in capsys.readouterr().err
