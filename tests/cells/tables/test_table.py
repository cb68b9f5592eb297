"""CellProfiler's tables: all that labs have, joined, left on disk, and told in one sentence where they can't be read."""

from __future__ import annotations

import gc
import gzip
import re
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
import pyarrow.parquet as pq  # noqa: E402

from napari_virtual_paint.cells.tables import joined as table_units  # noqa: E402
from napari_virtual_paint.cells.tables.parquet import ParquetSource  # noqa: E402
from napari_virtual_paint.cells.tables.table import CellTable, open_table  # noqa: E402
from napari_virtual_paint.errors import InputError, ReadError  # noqa: E402

AREA = "AreaShape_Area"


def tables(images: int = 2, cells: int = 5, seed: int = 0) -> dict[str, Any]:
    """Return a run's tables. A cell's areas are told by its nucleus: 100 in the image + number, 10 more and 20 more in Cells and Cytoplasm.

    Cells and Cytoplasm are numbered backwards, so that equal object numbers are never the same cell.
    """
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(1, images + 1), cells)
    number = np.tile(np.arange(1, cells + 1), images)
    back = cells + 1 - number

    def compartment(add: float, parents: dict[str, Any]) -> Any:
        return pd.DataFrame(
            {
                "ImageNumber": image,
                "ObjectNumber": number,
                AREA: 100.0 * image + (number if not parents else back) + add,
                "Intensity_MeanIntensity_DNA": rng.random(len(image)),
                "Number_Object_Number": number,
                **parents,
            }
        )

    return {
        "Nuclei": compartment(0, {}),
        "Cells": compartment(10, {"Parent_Nuclei": back}),
        # A cytoplasm has the number of its cell.
        "Cytoplasm": compartment(20, {"Parent_Nuclei": back, "Parent_Cells": number}),
        "Image": pd.DataFrame(
            {
                "ImageNumber": np.arange(1, images + 1),
                "Metadata_Well": [f"A{i:02d}" for i in range(1, images + 1)],
                "Metadata_Site": range(images),
                "Metadata_Batch": ["007"] * images,
                "FileName_DNA": [f"{i}.tif" for i in range(1, images + 1)],
                "ExecutionTime_01Images": 0.5,
            }
        ),
    }


def as_csv(folder: Path, run: dict[str, Any], prefix: str = "", suffix: str = ".csv", **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in run.items():
        frame.to_csv(folder / f"{prefix}{name}{suffix}", index=False, **options)
    return folder


def as_sqlite(path: Path, run: dict[str, Any], prefix: str = "Per_") -> Path:
    with sqlite3.connect(path) as connection:
        for name, frame in run.items():
            named = {column: column if column in ("ImageNumber", "ObjectNumber") else f"{name}_{column}" for column in frame}
            named["ObjectNumber"] = f"{name}_Number_Object_Number"
            frame = frame.drop(columns="Number_Object_Number", errors="ignore").rename(columns=named)
            frame.to_sql(f"{prefix}{name}", connection, index=False)
    connection.close()
    return path


def assert_joined(table: CellTable, images: int = 2, cells: int = 5) -> None:
    """Every row holds one cell's three compartments and its own image's metadata."""
    assert len(table) == images * cells
    frame = table.frame([f"{name}_{AREA}" for name in ("Nuclei", "Cells", "Cytoplasm")] + ["ImageNumber", "Metadata_Well"])
    np.testing.assert_array_equal(frame[f"Cells_{AREA}"], frame[f"Nuclei_{AREA}"] + 10)
    np.testing.assert_array_equal(frame[f"Cytoplasm_{AREA}"], frame[f"Nuclei_{AREA}"] + 20)
    assert frame[f"Nuclei_{AREA}"].nunique() == images * cells
    np.testing.assert_array_equal(frame[f"Nuclei_{AREA}"] // 100, frame["ImageNumber"])
    assert [f"A{number:02d}" for number in frame["ImageNumber"]] == list(frame["Metadata_Well"])


@pytest.mark.parametrize(("where", "cells"), [("example_human", 289), ("example_human/ExampleHuman.sqlite", 289), ("wide_profiles", 109)])
def test_real_tables_join(shared_data: Path, where: str, cells: int) -> None:
    table = open_table(shared_data / where)
    assert len(table) == cells
    values = table.values()
    assert values.dtype == np.float32
    assert values.shape == (cells, len(table.features))
    assert not set(table.features) & set(table.metadata)
    assert {name.split("_")[0] for name in table.features} == {"Nuclei", "Cells", "Cytoplasm"}
    assert any("same value in every cell" in note for note in table.notes)
    assert "DNA" in table.channels


def test_csv_and_database_of_one_run_tell_the_same(shared_data: Path) -> None:
    csv, sqlite = open_table(shared_data / "example_human"), open_table(shared_data / "example_human" / "ExampleHuman.sqlite")
    both = [name for name in csv.features if name in sqlite.features]
    assert len(both) >= 295
    keys = ["ImageNumber", "ObjectNumber"]
    assert csv.frame(keys).equals(sqlite.frame(keys))
    area = [name for name in both if name.endswith("_AreaShape_Area")]
    np.testing.assert_allclose(csv.values(area), sqlite.values(area), rtol=1e-5)
    assert any(note.startswith("PH3 (22 objects) is kept out: several") for note in csv.notes)
    assert "Image_FileName_DNA" in csv.metadata
    source = pd.read_csv(shared_data / "example_human" / "Nuclei.csv")
    np.testing.assert_allclose(
        csv.values(["Nuclei_AreaShape_Perimeter"], [7, 3])[:, 0], source["AreaShape_Perimeter"].to_numpy()[[7, 3]], rtol=1e-6
    )


@pytest.mark.parametrize(("prefix", "suffix", "options"), [("", ".csv", {}), ("MyExpt_", ".csv.gz", {}), ("", ".csv", {"sep": ";"})])
def test_csv_folders(tmp_path: Path, prefix: str, suffix: str, options: dict[str, Any]) -> None:
    folder = as_csv(tmp_path / "run[1]", tables(), prefix, suffix, **options)
    (folder / "Experiment.csv").write_text("Key,Value\nCellProfiler_Version,4.2.6\n")
    table = open_table(folder)
    assert_joined(table)
    assert {"Nuclei_Parent_Cells", "Cells_Parent_Nuclei", "Image_FileName_DNA"} & set(table.metadata) == {
        "Cells_Parent_Nuclei",
        "Image_FileName_DNA",
    }
    assert "Image_ExecutionTime_01Images" not in table.metadata
    assert_joined(open_table(sorted(folder.glob(f"{prefix}[NCI]*"))))


def test_databases(tmp_path: Path) -> None:
    for index, prefix in enumerate(("Per_", "MyExpt_Per_", "")):
        assert_joined(open_table(as_sqlite(tmp_path / f"{index}.sqlite", tables(), prefix)))


def test_database_with_one_table_of_objects_and_a_view(tmp_path: Path) -> None:
    run = tables()
    path = as_sqlite(tmp_path / "a.db", {"Image": run["Image"]}, "X_Per_")
    frame = pd.DataFrame(
        {"ImageNumber": [1, 1, 2], "ObjectNumber": [1, 2, 1], f"Nuclei_{AREA}": [3.0, None, 5.0], f"Cells_{AREA}": [6.0, 7.0, 8.0]}
    )
    with sqlite3.connect(path) as connection:
        frame.to_sql("hidden", connection, index=False)
        connection.execute('CREATE VIEW "X_Per_Object" AS SELECT * FROM hidden')
    connection.close()
    table = open_table(path)
    assert table.features == (f"Nuclei_{AREA}", f"Cells_{AREA}")
    np.testing.assert_array_equal(table.values(None, [2, 1]), np.array([[5, 8], [np.nan, 7]], np.float32))
    assert list(table.frame(["Metadata_Well"])["Metadata_Well"]) == ["A01", "A01", "A02"]


def test_parquet_of_compartments_and_of_joined_cells(tmp_path: Path) -> None:
    joined = open_table(as_csv(tmp_path / "csv", tables())).frame
    columns = [f"Nuclei_{AREA}", f"Cells_{AREA}", f"Cytoplasm_{AREA}", "ImageNumber", "Metadata_Well"]
    frame = joined(columns).assign(Metadata_Cells_Location_Center_X=1.5, Metadata_Note=None, Nuclei_AreaShape_Text="a")
    frame.to_parquet(tmp_path / "cyto[table].parquet")
    table = open_table(tmp_path / "cyto[table].parquet")
    assert_joined(table)
    assert set(table.features) == set(columns[:3])
    assert "Metadata_Cells_Location_Center_X" in table.metadata

    folder = tmp_path / "parts"
    folder.mkdir()
    for name, part in tables().items():
        # As CytoTable writes them before they are joined.
        part = part.drop(columns="Number_Object_Number", errors="ignore")
        renamed = {column: f"{name}_{column}" for column in part if column.startswith(("AreaShape", "Intensity"))}
        renamed |= {column: f"Metadata_{name}_{column}" for column in part if column.startswith("Parent")}
        renamed |= {"ImageNumber": "Metadata_ImageNumber", "ObjectNumber": "Metadata_ObjectNumber"}
        part.rename(columns=renamed).to_parquet(folder / f"{name.lower() if name != 'Image' else name}.parquet")
    assert_joined(open_table(folder))


def test_folders_of_sites_are_put_together(tmp_path: Path) -> None:
    for site in (1, 2, 3):
        as_csv(tmp_path / f"site{site}", tables(images=1, cells=4, seed=site))
    table = open_table(tmp_path)
    assert len(table) == 12
    assert list(table.where(Folder="site2")) == [4, 5, 6, 7]
    everything = table.values()
    rows = [11, 0, 5, 5, 2]
    np.testing.assert_array_equal(table.values(None, rows), everything[rows])
    assert list(table.frame(["Metadata_Folder"], rows)["Metadata_Folder"]) == ["site3", "site1", "site2", "site2", "site1"]


def test_combined_spreadsheet_with_two_lines_of_names(tmp_path: Path) -> None:
    path = tmp_path / "combined.csv"
    path.write_text("Image,Image,Nuclei,Cells\nImageNumber,Metadata_Well,AreaShape_Area,AreaShape_Area\n1,A01,5,7\n1,A01,6,nan\n")
    table = open_table(path)
    assert table.features == (f"Nuclei_{AREA}", f"Cells_{AREA}")
    np.testing.assert_array_equal(table.values(), np.array([[5, 7], [6, np.nan]], np.float32))
    assert list(table.where(Metadata_Well="A01")) == [0, 1]


def test_objects_without_partner_are_left_out_and_told(tmp_path: Path) -> None:
    run = tables(images=1, cells=20)
    run["Cells"] = run["Cells"].iloc[2:]
    table = open_table(as_csv(tmp_path / "a", run))
    assert len(table) == 18
    assert any("2 of 20 Cytoplasm have no partner in Cells" in note for note in table.notes)
    run["Speckles"] = pd.DataFrame({"ImageNumber": 1, "ObjectNumber": range(1, 31), AREA: 1.0, "Parent_Nuclei": [1, 2, 3] * 10})
    run["Nucleolus"] = pd.DataFrame({"ImageNumber": 1, "ObjectNumber": [1, 2, 3, 4], AREA: [1.0, 2, 3, 4], "Parent_Nuclei": [4, 0, 5, 6]})
    table = open_table(as_csv(tmp_path / "b", run))
    assert any(note.startswith("Speckles (30 objects) is kept out: several of them belong to one of Nuclei") for note in table.notes)
    nucleolus = table.values([f"Nucleolus_{AREA}"])[:, 0]
    number = table.frame(["Nuclei_ObjectNumber"])["Nuclei_ObjectNumber"].to_numpy()
    assert {int(n): float(v) for n, v in zip(number, nucleolus, strict=True) if np.isfinite(v)} == {4: 1.0, 5: 3.0, 6: 4.0}


def test_without_parents_equal_numbers_join_and_others_do_not(tmp_path: Path) -> None:
    run = tables(images=1)
    run.pop("Cytoplasm")
    run["Cells"] = run["Cells"].drop(columns="Parent_Nuclei")
    table = open_table(as_csv(tmp_path / "a", run))
    assert len(table) == 5
    assert any("has no parent column" in note for note in table.notes)
    run["Cells"] = run["Cells"].iloc[:3]
    table = open_table(as_csv(tmp_path / "b", run))
    assert any("is kept out: no column assigns" in note for note in table.notes)


def test_notes_tell_constant_and_missing(tmp_path: Path) -> None:
    run = {"Nuclei": tables()["Nuclei"], "Image": tables()["Image"].iloc[:1]}
    run["Nuclei"] = run["Nuclei"].assign(
        AreaShape_EulerNumber=1, AreaShape_Solidity=[np.nan, np.inf] + [0.5, 0.6] * 4, AreaShape_Extent=np.nan
    )
    table = open_table(as_csv(tmp_path, run))
    said = " ".join(table.notes)
    assert "Features with the same value in every cell: 1 (Nuclei_AreaShape_EulerNumber)" in said
    assert "Features without any value: 1 (Nuclei_AreaShape_Extent)" in said
    assert "Features without a value in some cells, 20 % at most: 1 (Nuclei_AreaShape_Solidity)" in said
    assert "Cells in images that the Image table doesn't list, so without its metadata: 5" in said
    assert np.isnan(table.values(["Nuclei_AreaShape_Solidity"], [0, 1])).all()
    assert table.check([2, 4, 6]).constant == ("Nuclei_AreaShape_EulerNumber", "Nuclei_AreaShape_Solidity")
    assert "in a sample of 3 of 10 cells" in table.check([2, 4, 6]).notes[0]


def test_where_and_rows(tmp_path: Path) -> None:
    table = open_table(as_csv(tmp_path, tables(images=3, cells=2)))
    assert list(table.where(Well="A02")) == [2, 3]
    assert list(table.where(Metadata_Well=["A01", "A03"], Metadata_Site=[0, 1])) == [0, 1]
    assert list(table.where(Site="2")) == list(table.where(Site=2.0)) == [4, 5]
    assert list(table.where(Batch="007")) == [0, 1, 2, 3, 4, 5]
    assert list(table.where(Batch=7)) == []
    assert list(table.where(Well=None)) == []
    assert table.frame(["Metadata_Site"])["Metadata_Site"].dtype.kind == "i"
    name = f"Nuclei_{AREA}"
    everything = table.values([name])
    np.testing.assert_array_equal(table.values([name], [4, 4, 0]), everything[[4, 4, 0]])
    np.testing.assert_array_equal(table.values([name], table.values([name])[:, 0] > 200), everything[2:])
    assert table.values([name], []).shape == (0, 1)
    assert table.values([], [1, 2]).shape == (2, 0)
    for wrong, said in (([6], "no row 6"), ([-1], "no row -1"), (np.ones(3, bool), "mask has 3")):
        with pytest.raises(InputError, match=said):
            table.values([name], wrong)
    with pytest.raises(InputError, match="did you mean 'Nuclei_AreaShape_Area'"):
        table.values(["Nuclei_AreaShape_Aera"])
    with pytest.raises(InputError, match="holds text"):
        table.values(["Metadata_Well"])
    with pytest.raises(InputError, match="no column"):
        table.where(Plate="x")


def test_names_are_data(tmp_path: Path) -> None:
    evil = 'Nuclei_AreaShape_"); DROP TABLE Per_Nuclei; --'
    run = {"Nuclei": tables()["Nuclei"].rename(columns={AREA: evil.removeprefix("Nuclei_")}), "Image": tables()["Image"]}
    for path in (as_csv(tmp_path / 'it\'s "it" *?', run), as_sqlite(tmp_path / "it's ?mode=rwc#.sqlite", run)):
        table = open_table(path)
        assert evil in table.features
        assert table.values([evil]).shape == (10, 1)
        assert list(table.where(**{evil: 101})) == [0]
    assert len(open_table(tmp_path / "it's ?mode=rwc#.sqlite")) == 10


def test_a_large_table_is_not_read_on_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.parquet"
    rng = np.random.default_rng(0)
    source = rng.normal(size=(60_000, 12)).astype(np.float32)
    names = [f"Nuclei_Texture_Contrast_C{i}_3_00_256" for i in range(12)]
    columns = {name: source[:, i] for i, name in enumerate(names)}
    pq.write_table(pa.table({**columns, "Metadata_Well": np.char.mod("W%03d", np.arange(60_000) // 200)}), path, row_group_size=5000)
    asked: list[tuple[tuple[str, ...], int]] = []
    fetch = ParquetSource._fetch

    def watched(self: Any, columns: Any, rows: Any) -> Any:
        got = fetch(self, columns, rows)
        asked.append((tuple(columns), len(got)))
        return got

    monkeypatch.setattr(ParquetSource, "_fetch", watched)
    monkeypatch.setattr("napari_virtual_paint.cells.tables.table._AT_ONCE", 100_000)
    table = open_table(path)
    assert len(table) == 60_000
    assert asked == []
    assert any("not searched for" in note for note in table.notes)
    rows = np.sort(rng.choice(60_000, 2500, replace=False))[::-1]
    np.testing.assert_array_equal(table.values(names[3:5], rows), source[rows, 3:5])
    assert asked == [((names[3], names[4]), 2500)]
    assert list(table.where(Well="W017")) == list(range(3400, 3600))
    checked = table.check()
    assert (checked.rows, checked.total, checked.constant) == (4096, 60_000, ())
    np.testing.assert_array_equal(table.values(), source)


def test_temporary_folder_goes_with_the_table_and_threads_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    table = open_table(as_csv(tmp_path / "run", tables()))
    assert list(temporary.iterdir())
    got: list[Any] = []
    threads = [threading.Thread(target=lambda values=table.values: got.append(values())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert all(np.array_equal(values, got[0]) for values in got)
    del table, threads, thread
    gc.collect()
    assert not list(temporary.iterdir())
    run = tables()
    run["Cells"][AREA] = "large"
    with pytest.raises(ReadError):
        open_table(as_csv(tmp_path / "bad", run))
    gc.collect()
    assert not list(temporary.iterdir())


def test_damage_that_shows_on_reading(tmp_path: Path) -> None:
    frame = pd.DataFrame({f"Nuclei_Texture_Contrast_C{i}_3_00_256": np.random.default_rng(i).random(200_000) for i in range(30)})
    path = tmp_path / "damaged.parquet"
    frame.to_parquet(path)
    table = open_table(path)
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    with pytest.raises(ReadError, match=r"damaged\.parquet: it can't be read as a Parquet table"):
        table.values(table.features[:3])
    path.unlink()
    with pytest.raises(ReadError, match="damaged"):
        table.values(table.features[:3], [5])
    database = as_sqlite(tmp_path / "damaged.sqlite", tables(images=50, cells=50))
    table = open_table(database)
    data = bytearray(database.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    database.write_bytes(data)
    with pytest.raises(ReadError, match="SQLite database"):
        table.values()


def bad_files(folder: Path) -> dict[str, tuple[Any, str]]:
    """Return paths that are no tables, and what is said of them."""
    run = tables()

    def written(name: str, data: str | bytes) -> Path:
        path = folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def with_table(name: str, text: str) -> Path:
        (as_csv(folder / name, run) / "Cells.csv").write_text(text)
        return folder / name

    keys = "ImageNumber,ObjectNumber,AreaShape_Area,Parent_Nuclei\n"
    packed = gzip.compress(b"ImageNumber,ObjectNumber,AreaShape_Area\n" + b"1,1,5\n" * 9000)
    plain = folder / "plain.sqlite"
    sqlite3.connect(plain).execute("CREATE TABLE books (title TEXT)").connection.close()
    (folder / "empty").mkdir()
    other = tables()
    other["Cells"] = other["Cells"].assign(ImageNumber=other["Cells"]["ImageNumber"] + 8)
    return {
        "no table": (written("prices.csv", "date,price\n1,2\n"), r"prices\.csv: it is no table of cells.*AreaShape_Area"),
        "empty": (written("Nuclei.csv", ""), "it is empty"),
        "binary": (written("Nucleus.csv", b"ImageNumber\0\1\2\3\n"), "binary data"),
        "ragged": (with_table("ragged", f"{keys}1,1,5,1\n1,2,6\n"), r"Cells\.csv: line 3 has 3 columns where the header has 4"),
        "words": (
            with_table("words", f"{keys}1,1,5,1\n1,2,large,2\n"),
            r"Cells\.csv: the column 'AreaShape_Area' holds 'large' where a number",
        ),
        "truncated gzip": (written("Cut.csv.gz", packed[: len(packed) // 2]), r"Cut\.csv\.gz: it can't be read"),
        "no database": (written("text.sqlite", "this is text, and no database at all" * 9), "SQLite database"),
        "no object tables": (plain, "holds no table of objects"),
        "no images in a database": (as_sqlite(folder / "half.sqlite", {"Nuclei": run["Nuclei"]}), r"none of images \(Per_Image\)"),
        "no Parquet": (written("a.parquet", "PAR1"), "as a Parquet table"),
        "empty folder": (folder / "empty", "there is no table of cells in it"),
        "no Image table": (
            as_csv(folder / "half", {"Nuclei": run["Nuclei"], "Cells": run["Cells"]}),
            "no Image table beside Cells.csv, Nuclei.csv",
        ),
        "images alone": ([as_csv(folder / "images", {"Image": run["Image"]}) / "Image.csv"], "describes images, not cells"),
        "different runs": (as_csv(folder / "different", other), "none of its objects finds its parent in the table"),
        "unknown kind": (written("a.xlsx", b"PK\3\4"), "kind is not known"),
        "absent": (folder / "absent", "no such file or folder"),
    }


def test_bad_files_are_told_in_one_sentence(tmp_path: Path) -> None:
    for case, (path, said) in bad_files(tmp_path).items():
        with pytest.raises(ReadError) as error:
            open_table(path)
        text = str(error.value)
        assert re.search(said, text), (case, text)
        assert "\n" not in text, case
        assert text.endswith("."), case


def test_files_named_do_without_images(tmp_path: Path) -> None:
    folder = as_csv(tmp_path, {name: frame for name, frame in tables().items() if name != "Image"})
    table = open_table(sorted(folder.glob("*.csv")))
    assert len(table) == 10
    assert any("No Image table" in note for note in table.notes)
    assert list(open_table(folder / "Nuclei.csv").features) == [f"Nuclei_{AREA}", "Nuclei_Intensity_MeanIntensity_DNA"]


def test_one_compartment_that_tells_its_own_metadata(tmp_path: Path) -> None:
    tables()["Nuclei"].assign(Metadata_FileName="1.tif").to_parquet(tmp_path / "measured.parquet")
    for path in (tmp_path, tmp_path / "measured.parquet"):
        table = open_table(path)
        assert len(table.where(FileName="1.tif")) == 10
        assert not any("No Image table" in note for note in table.notes)


def test_a_database_as_wide_as_sqlite_takes(tmp_path: Path) -> None:
    names = [f"Nuclei_Texture_Contrast_C{i}_3_00_256" for i in range(1998)]
    with sqlite3.connect(tmp_path / "wide.sqlite") as connection:
        connection.execute(f"CREATE TABLE Per_Nuclei (ImageNumber INT, Nuclei_Number_Object_Number INT, {' REAL, '.join(names)} REAL)")
        connection.execute("CREATE TABLE Per_Image (ImageNumber INT, Image_Metadata_Well TEXT)")
        connection.execute("INSERT INTO Per_Image VALUES (1, 'A01')")
        for row in range(1, 4):
            connection.execute(
                f"INSERT INTO Per_Nuclei VALUES ({','.join('?' * 2000)})", [1, row, *(row * 10_000 + i for i in range(1998))]
            )
    connection.close()
    table = open_table(tmp_path / "wide.sqlite")
    np.testing.assert_array_equal(table.values(None, [2, 0]), np.array([[30_000], [10_000]]) + np.arange(1998))
    assert len(table.frame([*table.features, *table.metadata]).columns) == len(table.features) + len(table.metadata)


def test_names_of_files_in_small_letters(tmp_path: Path) -> None:
    assert_joined(open_table(as_csv(tmp_path, {name.lower(): frame for name, frame in tables().items()})))


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (
            "\ufeffImageNumber,ObjectNumber,AreaShape_Area,AreaShape_Area\n1,1,2,3\n",
            "more than once, of which the first is taken: AreaShape_Area.",
        ),
        ('"ImageNumber","ObjectNumber","AreaShape_Area"\r\n1,1,2\r\n\r\n', ""),
        ("ImageNumber\tObjectNumber\tAreaShape_Area\n1\t1\t2\n", ""),
    ],
    ids=["a name twice", "quoted", "tabulators"],
)
def test_odd_headers(tmp_path: Path, text: str, noted: str) -> None:
    (tmp_path / "MyExpt_Nuclei.csv").write_bytes(text.encode())
    table = open_table(tmp_path / "MyExpt_Nuclei.csv")
    assert table.features == (f"Nuclei_{AREA}",)
    assert table.values().tolist() == [[2.0]]
    assert noted in " ".join(table.notes)


def test_tables_without_rows(tmp_path: Path) -> None:
    table = open_table(as_csv(tmp_path, {name: frame.iloc[:0] for name, frame in tables().items()}))
    assert len(table) == 0
    assert table.values().shape == (0, len(table.features))
    assert len(table.frame(["Metadata_Well", f"Nuclei_{AREA}"])) == 0
    assert any("no row" in note for note in table.notes)


def test_a_folder_of_csv_goes_before_what_else_lies_there(tmp_path: Path) -> None:
    folder = as_csv(tmp_path / "run", tables())
    as_sqlite(folder / "a.sqlite", tables(images=4))
    assert_joined(open_table(folder))
    shutil.rmtree(folder / "none", ignore_errors=True)
    assert table_units.FOLDER not in open_table(folder).metadata
