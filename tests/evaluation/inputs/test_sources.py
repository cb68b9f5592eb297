"""What is compared, which field belongs to which, what is known of the wells, and the truth's scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import vendor_plates
from evaluation_folders import judge, save, truth_of
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation.inputs.pairing import channel_indices, pair_fields, pair_stains
from napari_virtual_paint.evaluation.inputs.sources import EvaluationSource, FileImages, open_predictions, open_source, select
from napari_virtual_paint.evaluation.scale import IntensityScale, SourceMoments, scale_for
from napari_virtual_paint.evaluation.wells import ControlSelection, known_wells
from napari_virtual_paint.plates.ome_zarr import writer
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write


def source(*keys: str, wells: dict[str, str] | None = None, metadata: dict[str, Any] | None = None) -> EvaluationSource:
    return EvaluationSource("/x", "plate" if wells else "folder", "x", wells or dict.fromkeys(keys, ""), FileImages({}), metadata or {})


def plate(path: Path, wells: int = 4, metadata: dict[str, Any] | None = None) -> Path:
    places = [Field(f"A{i + 1:02d}", "0") for i in range(wells)]
    writer.create(path, "toy", (2, 6), places, metadata=metadata)
    for number, place in enumerate(places):
        data = truth_of(number)[None, :, None]
        light = np.full_like(data[:, :1], number)
        writer.write_field(path, place, Stack(np.concatenate([light, data], axis=1), ("Brightfield", "DNA", "ER")))
    writer.list_fields(path, places)
    return path


# sources


def test_one_file_and_folders(tmp_path: Path) -> None:
    save(tmp_path / "a" / "cells 1.ome.tif", truth_of(0))
    save(tmp_path / "a" / "cells 10.ome.tif", truth_of(1))
    save(tmp_path / "a" / "cells 2.ome.tif", truth_of(2))
    assert open_source(tmp_path / "a" / "cells 1.ome.tif").keys == ("cells 1",)
    found = open_source(tmp_path / "a")
    assert (found.kind, found.keys) == ("folder", ("cells 1", "cells 2", "cells 10"))
    assert np.array_equal(found.images.read("cells 10").data[0, :, 0], truth_of(1))
    assert select(found, None, ("cells 2", "0")).keys == ("cells 1", "cells 2")
    with pytest.raises(InputError, match="no wells to choose"):
        select(found, "A1", None)


def test_folder_whose_names_tell_channels_is_one_field(tmp_path: Path) -> None:
    for name, plane in zip(("dna", "er"), truth_of(0), strict=True):
        save(tmp_path / "f" / f"cell_{name}.ome.tif", plane[None], (name,))
    found = open_source(tmp_path / "f")
    assert found.keys == ("f",)
    assert found.images.read("f").channels == ("dna", "er")


def test_hidden_files_and_folders_are_no_fields(tmp_path: Path) -> None:
    for name in ("a/stains.tif", ".trash/stains.tif", "__MACOSX/stains.tif", "flat/b.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint16))
        for other in (f"._{Path(name).name}", ".DS_Store", "Thumbs.db"):
            (tmp_path / name).with_name(other).write_bytes(b"no image")
    assert open_source(tmp_path / "flat").keys == ("b",)
    assert open_source(tmp_path).keys == ("a", "flat")


def test_folder_as_simulate_makes_it(tmp_path: Path) -> None:
    for i in range(2):
        for kind in ("brightfield", "stains"):
            save(tmp_path / f"field_00{i}" / f"{kind}.ome.tif", truth_of(i))
    (tmp_path / "fields.csv").write_text("field,treatment,dose,seed,stains\nfield_000,control,0,1,x\nfield_001,mitoxantrone,2,2,y\n")
    found = open_source(tmp_path)
    assert dict(found.wells) == {"field_000": "field_000", "field_001": "field_001"}
    assert found.metadata["field_001"] == {"treatment": "mitoxantrone", "dose": 2}
    assert str(found.images.read("field_000").source).endswith("stains.ome.tif")


def test_plate_and_what_was_painted_into_it(tmp_path: Path) -> None:
    path = plate(tmp_path / "p.zarr", 2, {"A01": {"treatment": "control"}})
    found = open_source(path)
    assert dict(found.wells) == {"A01/0": "A01", "A02/0": "A02"}
    assert select(found, "A2", None).keys == ("A02/0",)
    for well in ("A01", "A02"):
        stains = Stack(truth_of(5)[None, :, None], ("DNA", "ER"), provenance={"model": "toy-model"})
        writer.add_painted(path, Field(well, "0"), stains, "toy-model")
    writer.list_painted(path, [Field("A01", "0"), Field("A02", "0")], "toy-model")
    painted = open_predictions(path, "", path)
    assert list(painted) == ["toy-model"]
    assert painted["toy-model"].images.read("A02/0").channels == ("DNA", "ER")
    report = judge(path, path, tmp_path / "r")
    assert list(report.predictions) == ["toy-model"]
    assert report.context.stains == ("DNA", "ER")
    assert report.to_json()["toy"]["n"] == 4


def test_map_beside_a_folder_of_wells(tmp_path: Path) -> None:
    for i, well in enumerate(("A01", "A02", "B01")):
        save(tmp_path / "mine" / f"{well}_0.ome.tif", truth_of(i))
    (tmp_path / "mine.csv").write_text("well,compound,control\nA1,DMSO,yes\nA2,x,no\nB1,x,no\n")
    found = open_source(tmp_path / "mine")
    assert found.metadata["A01"]["compound"] == "DMSO"
    assert any("mine.csv" in note for note in found.notes)


def test_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "empty", "no image"), (tmp_path / "absent.tif", "no such file"), (Path(__file__), "neither an image")):
        with pytest.raises(ReadError, match=words):
            open_source(path)


# pairing


def test_fields_pair() -> None:
    pairs = pair_fields(source("a", "b", "c"), {"p": source("B", "a", "z")})
    assert pairs.partners == {"a": {"p": "a"}, "b": {"p": "B"}}
    assert "p: 1 field (z) without a partner in the truth, so left out." in pairs.notes
    assert "1 true field (c) without a partner in p, so left out." in pairs.notes
    assert pair_fields(source("a"), {"p": source("z")}).partners == {"a": {"p": "z"}}
    wells = source(wells={"A01/s1": "A01", "A01/s2": "A01", "B01/s1": "B01"})
    others = source(wells={"A01/0": "A01", "A01/1": "A01", "B01/0": "B01", "B01/1": "B01"})
    assert pair_fields(wells, {"p": others}).partners == {"A01/s1": {"p": "A01/0"}, "A01/s2": {"p": "A01/1"}}
    named = pair_fields(source("exp_1", "exp_12"), {"p": source("exp_1_painted", "exp_12_painted")})
    assert named.partners == {"exp_1": {"p": "exp_1_painted"}, "exp_12": {"p": "exp_12_painted"}}


def test_fields_that_all_predictions_have() -> None:
    pairs = pair_fields(source("a", "b"), {"p": source("a", "b"), "q": source("b")})
    assert pairs.partners == {"b": {"p": "b", "q": "b"}}
    with pytest.raises(InputError, match="No field is in all"):
        pair_fields(source("a", "b"), {"p": source("a"), "q": source("b")})
    with pytest.raises(InputError, match=r"none of its 2 fields \(x, y\) is one of the truth's \(a, b\)"):
        pair_fields(source("a", "b"), {"p": source("x", "y")})


def test_stains_pair() -> None:
    data = np.zeros((1, 3, 1, 4, 4), np.uint16)
    truth = Stack(data, ("Brightfield", "ER", "DNA"))
    stains = pair_stains(truth, {"p": Stack(data[:, :2], ("dna", "er")), "q": Stack(data[:, :1], ("DNA",))})
    assert stains.names == ("DNA",)
    assert stains.channels == {"truth": ("DNA",), "p": ("dna",), "q": ("DNA",)}
    assert any("ER" in note for note in stains.notes)
    assert pair_stains(truth, {"p": truth}).names == ("ER", "DNA")
    by_order = pair_stains(Stack(data), {"p": Stack(data)})
    assert by_order.channels["truth"] == (0, 1, 2)


def test_stains_of_several_models_pair_with_one_true_stain() -> None:
    names = ("DNA (predicted, a)", "ER", "DNA (predicted, b)")
    truth = Stack(np.zeros((1, 3, 1, 4, 4), np.uint16), ("Brightfield", "ER", "DNA"))
    stains = pair_stains(truth, {"p": Stack(np.zeros((1, 3, 1, 4, 4), np.uint16), names)})
    assert stains.channels == {"truth": ("DNA", "ER", "DNA"), "p": names}
    assert stains.names == names
    assert channel_indices(truth, stains.channels["truth"], stains.names) == [2, 1, 2]


def test_one_of_several_plates(tmp_path: Path) -> None:
    for name in ("first", "second"):
        vendor_plates.phenix(tmp_path / name)
    with pytest.raises(InputError, match="holds 2 plates"):
        open_source(tmp_path)
    assert open_source(tmp_path, "second").path == str(tmp_path / "second")
    assert open_source(tmp_path / "first", "second").path == str(tmp_path / "first"), "a name matters only where there are several"
    (found,) = open_predictions(tmp_path, "", tmp_path / "first", "first").values()
    assert found.path == str(tmp_path / "first")


def test_axes_of_a_plate(tmp_path: Path) -> None:
    (tmp_path / "plate").mkdir()
    pixels = np.arange(6 * 7 * 2, dtype=np.uint16).reshape(6, 7, 2)
    for well in ("A01", "A02"):
        tifffile.imwrite(tmp_path / "plate" / f"{well}_s1_w1.tif", pixels, photometric="minisblack")
    opened = open_source(tmp_path / "plate", axes="YXZ")
    assert opened.kind == "plate"
    np.testing.assert_array_equal(np.asarray(opened.images.read("A01/1").data), np.moveaxis(pixels, -1, 0)[None, None])
    stated = open_source(plate(tmp_path / "p.zarr", 1), axes="TYX")
    with pytest.raises(ReadError, match="contradicts TYX"):
        stated.images.read("A01/0")


def test_painted_fields_in_a_folder_stay_files(tmp_path: Path) -> None:
    for name in ("A01_0", "A02_0", "A02_1"):
        write(Stack(np.zeros((1, 2, 1, 8, 8), np.uint16), ("DNA", "ER")), tmp_path / f"{name}.ome.tif")
    opened = open_source(tmp_path)
    assert opened.keys == ("A01/0", "A02/0", "A02/1")
    assert opened.images.stamp("A01/0")


# wells


MAP = {
    "A01": {"treatment": "control", "dose": 0.0, "control": "yes"},
    "A02": {"treatment": "mitoxantrone", "dose": 0.5, "control": "no"},
    "A03": {"treatment": "mitoxantrone", "dose": 1.0, "control": "no"},
    "A04": {"treatment": "mitoxantrone", "dose": 2.0, "control": "no"},
}


def known(metadata: dict[str, Any], choice: ControlSelection | None = None, plate_map: Path | None = None) -> Any:
    truth = source(wells={f"{well}/0": well for well in MAP}, metadata=metadata)
    return known_wells(truth, (), truth.keys, plate_map, choice or ControlSelection())


def test_roles_of_a_simulated_plate() -> None:
    wells = known(MAP)
    assert (wells.negative, wells.positive) == (("A01",), ("A04",))
    assert wells.roles == {"treatment": "treatment", "dose": "dose", "control": "control", "moa": "treatment", "batch": None, "plate": None}
    assert any("mechanism" in note for note in wells.notes)


def test_roles_as_asked() -> None:
    wells = known(MAP, ControlSelection(moa="Dose", negative="treatment=control|none", positive="treatment=MITOXANTRONE,dose=2"))
    assert (wells.negative, wells.positive, wells.roles["moa"]) == (("A01",), ("A04",), "dose")
    for choice, words in (
        (ControlSelection(moa="mechanism"), "no column 'mechanism'; it has treatment, dose, control"),
        (ControlSelection(negative="treatment=dmso"), "no well matches"),
        (ControlSelection(negative="control"), "give COLUMN=VALUE"),
        (ControlSelection(negative="treatment=mitoxantrone", positive="dose=2"), "in common"),
    ):
        with pytest.raises(InputError, match=words):
            known(MAP, choice)


def test_usual_names_of_columns() -> None:
    wells = known({well: {"Metadata_Compound": name, "control_type": kind} for well, name, kind in _ROWS})
    assert (wells.negative, wells.positive) == (("A01",), ("A02",))
    assert wells.roles["treatment"] == "Metadata_Compound"
    nothing = known({})
    assert (nothing.negative, list(nothing.table.columns)) == ((), [])


_ROWS = (("A01", "DMSO", "negcon"), ("A02", "x", "poscon"), ("A03", "y", "trt"))


def map_file(folder: Path, text: str) -> Path:
    path = folder / "map.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_the_user_gives_wins_over_the_plate(tmp_path: Path) -> None:
    """A map with columns of its own names: its treatments, doses and controls count, and none of the plate's."""
    own = {well: {**row, "moa": "plate's", "batch": "b1"} for well, row in MAP.items()}
    text = "well,compound,conc\nA01,Mitoxantrone,10 uM\nA02,Mitoxantrone,500 nM\nA03,DMSO,DMSO\nA04,taxol,1 uM\n"
    wells = known(own, plate_map=map_file(tmp_path, text))
    assert wells.roles == {"treatment": "compound", "dose": "conc", "control": None, "moa": "compound", "batch": "batch", "plate": None}
    assert (wells.negative, wells.positive) == (("A03",), ("A01",))
    assert any(
        note.startswith("map.csv says what is in the wells (compound, conc), so the plate's own treatment, dose, control, moa")
        for note in wells.notes
    )
    assert any("conc is read as numbers in uM" in note for note in wells.notes)
    assert wells.table.loc["A02", "conc"] == 0.5


def test_a_column_of_the_same_name_is_the_users_alone(tmp_path: Path) -> None:
    wells = known(MAP, plate_map=map_file(tmp_path, "well,treatment\nA01,mitoxantrone\nA02,DMSO\n"))
    assert (wells.negative, wells.positive) == (("A02",), ("A01",))
    assert wells.roles["control"] is None
    assert wells.table["treatment"].isna().tolist() == [False, False, True, True]
    assert any("replaces the plate's own treatment in 2 wells (A01, A02)" in note for note in wells.notes)
    # A map that says nothing of treatments leaves those of the plate.
    more = known(MAP, plate_map=map_file(tmp_path, "well,batch\nA01,b1\nA02,b2\nA03,b1\nA04,b2\n"))
    assert (more.negative, more.positive, more.roles["batch"]) == (("A01",), ("A04",), "batch")


@pytest.mark.parametrize("name", ["mitoxantrone", "Mitoxantrone", "MITOXANTRONE HCl"])
@pytest.mark.parametrize(
    ("doses", "strongest"), [(("1", "10", "3"), "A03"), (("1 uM", "0,01 mM", "300 nM"), "A03"), (("2 uM", "1 uM", "1e-3 M"), "A04")]
)
def test_the_positive_control_is_the_highest_dose(tmp_path: Path, name: str, doses: tuple[str, ...], strongest: str) -> None:
    rows = [f"{well};{name};{dose}" for well, dose in zip(("A02", "A03", "A04"), doses, strict=True)]
    wells = known({}, plate_map=map_file(tmp_path, "\n".join(["Well;Treatment;Dose", "A1;DMSO;DMSO", *rows]) + "\n"))
    assert wells.positive == (strongest,)
    integers = {well: {"treatment": name, "dose": dose} for well, dose in zip(MAP, (0, 1, 10, 3), strict=True)}
    assert known(integers).positive == ("A03",)


def test_doses_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    wells = known({}, plate_map=map_file(tmp_path, "well,treatment,dose\nA1,DMSO,\nA2,mitoxantrone,high\nA3,mitoxantrone,low\n"))
    assert wells.positive == ("A02", "A03")
    assert any("'high' in A02" in note for note in wells.notes)


def test_map_given(tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    file.write_text("Well,Drug,MoA\nA1,dmso,\nA2,taxol,tubulin\nC9,x,y\n")
    wells = known({}, plate_map=file)
    assert wells.table.loc["A02", "Drug"] == "taxol"
    assert wells.negative == ("A01",)
    assert "2 wells are not in map.csv (A03, A04)." in wells.notes
    file.write_text("Well,Drug\nH1,dmso\n")
    with pytest.raises(ReadError, match="none of its 1 wells"):
        known({}, plate_map=file)
    file.write_text("image,drug\none.ome.tif,dmso\ntwo.ome.tif,taxol\n")
    each = known_wells(source("one", "two"), (), ("one", "two"), file, ControlSelection())
    assert (each.negative, dict(each.of_field)) == (("one",), {"one": "one", "two": "two"})


# scale


def test_prediction_is_mapped_by_hand() -> None:
    truth = np.array([[[100.0, 200.0, 300.0, 400.0]]], np.float32)
    painted = np.array([[[0.0, 1.0, 2.0, 3.0]]], np.float32)
    scale = IntensityScale().fitted({"truth": truth, "p": painted})
    assert scale.apply("p", painted).tolist() == [[[100, 200, 300, 400]]]
    assert scale.apply("p", np.array([[[-9.0, 1e6, np.nan, 1.5]]], np.float32)).tolist() == [[[0, 65535, 100, 250]]]
    assert scale.apply("p", painted).dtype == np.uint16
    flat = IntensityScale().fitted({"truth": truth, "p": np.full_like(truth, 7.0)})
    assert flat.apply("p", np.full_like(truth, 7.0)).tolist() == [[[250, 250, 250, 250]]]


def test_moments_pool() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(5, 2, (2, 30, 20)), rng.normal(-3, 9, (2, 10, 20))
    both = np.concatenate([one, two], axis=1)
    pooled, whole = SourceMoments.of(one) + SourceMoments.of(two), SourceMoments.of(both)
    for name in ("count", "mean", "sd", "low", "high"):
        assert np.allclose(getattr(pooled, name), getattr(whole, name))


def test_truth_in_fractions_gets_grey_levels() -> None:
    truth = np.linspace(-0.5, 1.5, 201, dtype=np.float32).reshape(1, 1, -1)
    scale = scale_for(None, SourceMoments.of(truth))
    grey = scale.fitted({"truth": truth}).apply("truth", truth)
    assert (int(grey.min()), int(grey.max())) == (0, 32768)
    assert len(np.unique(grey)) == 201
    assert scale_for(None, SourceMoments.of(truth * 1000 + 600)).gain is None


def test_identical_prediction_stays_identical_in_any_unit() -> None:
    truth = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    scale = scale_for(None, SourceMoments.of(truth)).fitted({"truth": truth, "p": truth})
    assert np.array_equal(scale.apply("p", truth), scale.apply("truth", truth))


def test_controls_set_the_scale(tmp_path: Path) -> None:
    path = plate(tmp_path / "p.zarr", 3, {"A01": {"control": "yes"}, "A02": {"control": "no"}, "A03": {"control": "no"}})
    for number in range(3):
        factor = 1.0 if number < 2 else 3.0  # the third well is painted too bright, which the controls' scale leaves as it is
        save(tmp_path / "out" / f"A0{number + 1}_0.ome.tif", truth_of(number).astype(np.float32) * factor / 100)
    report = judge(tmp_path / "out", path, None)
    means = report.findings["toy"].tables["toy_means"].pivot_table(index="field", columns="source", values="mean")
    ratio = means["out"] / means["truth"]
    assert ratio["A02/0"] == pytest.approx(1, abs=0.01)
    assert ratio["A03/0"] == pytest.approx(3, abs=0.05)
    assert any("the mean and SD over the 1 field of 1 negative control well," in note for note in report.notes)


def test_each_batch_has_the_scale_of_its_own_controls(tmp_path: Path) -> None:
    map_of = {f"A{i + 1:02d}": {"control": "yes" if i % 2 else "no", "batch": "ab"[i // 2]} for i in range(4)} | {
        "A05": {"control": "no", "batch": "c"}
    }
    path = plate(tmp_path / "p.zarr", 5, map_of)
    for number in range(5):
        dimmer = 1 if number < 2 else 3  # what was painted of the second batch does not know of its brighter lamp
        save(tmp_path / "out" / f"A0{number + 1}_0.ome.tif", truth_of(number).astype(np.float32) / dimmer)
    report = judge(tmp_path / "out", path, None)
    means = report.findings["toy"].tables["toy_means"].pivot_table(index="field", columns="source", values="mean")
    ratio = means["out"] / means["truth"]
    assert [ratio[f"A0{i}/0"] for i in (1, 2, 3, 4)] == pytest.approx([1, 1, 1, 1], abs=0.02)
    assert ratio["A05/0"] != pytest.approx(1, abs=0.02), "a batch without controls has the scale of all of them"
    assert any("each of the 2 plates and batches by its own" in note for note in report.notes)


def test_a_map_of_one_field_that_is_not_there(tmp_path: Path) -> None:
    one = save(tmp_path / "a.ome.tif", truth_of(0))
    with pytest.raises(ReadError, match=r"nope\.csv: there is no such file"):
        judge(one, one, None, plate_map=tmp_path / "nope.csv")
