"""What is stored of fields comes back as it was, in the order of the fields, and only whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_virtual_paint.evaluation.level import Findings, whole_table
from napari_virtual_paint.evaluation.run.parts import FIELDS_AT_ONCE
from napari_virtual_paint.evaluation.run.store import FieldResult, FieldStore
from napari_virtual_paint.evaluation.run.stored_findings import StoredTables, load_findings, save_findings


def table(key: str, rows: int = 2, **more: object) -> pd.DataFrame:
    frame = pd.DataFrame({"field": [key] * rows, "source": ["truth", "painted", "own"][:rows], "value": np.arange(rows) + ord(key[0]) / 7})
    return frame.assign(narrow=frame["value"].astype(np.float32), count=pd.array([None, 3, 4][:rows], "Int64"), **more)


def result(key: str, rows: int = 2, stamp: str = "") -> FieldResult:
    return FieldResult(key, "level", {"table": table(key, rows), "other": table(key, 1)}, stamp, (f"note of {key}",))


def joined(keys: str, rows: int = 2) -> pd.DataFrame:
    return pd.concat([table(key, rows) for key in keys], ignore_index=True)


def test_rows_come_back_in_the_order_of_the_fields(tmp_path: Path) -> None:
    store = FieldStore(tmp_path, run=1)
    store.save_fields([result("c"), result("a")])
    store.save_fields([result("d"), result("b")])
    tables = store.tables("abcd", ("level", "absent"))
    assert (list(tables), "table" in tables, "none" in tables) == (["table", "other"], True, False)
    pd.testing.assert_frame_equal(tables["table"], joined("abcd"))
    pd.testing.assert_frame_equal(store.tables("db", ("level",))["table"], joined("db"))
    part = tables.columns("table", ["value", "field"], {"source": "painted"})
    expected = joined("abcd")
    pd.testing.assert_frame_equal(part, expected[expected["source"] == "painted"][["value", "field"]].reset_index(drop=True))
    with pytest.raises(KeyError):
        tables["none"]


def test_the_latest_run_counts(tmp_path: Path) -> None:
    store = FieldStore(tmp_path, run=1)
    store.save_fields([result("a"), result("b")])
    later, former = store.tidy()
    assert (later.run, former) == (2, False)
    later.save_fields([result("a", rows=3, stamp="new")])
    found = later.tables("ab", ("level",))["table"]
    pd.testing.assert_frame_equal(found, pd.concat([table("a", 3), table("b")], ignore_index=True))
    assert {key: record.stamp for key, record in later.records()["level"].items()} == {"a": "new", "b": ""}


@pytest.mark.parametrize("damage", ["{", "[]", '{"fields": [{"key": "b"}], "bytes": {}}', None])
def test_a_part_that_is_not_whole_does_not_count(tmp_path: Path, damage: str | None) -> None:
    store = FieldStore(tmp_path, run=1)
    store.save_fields([result("a")])
    before = set(tmp_path.iterdir())
    store.save_fields([result("b")])
    new = sorted(set(tmp_path.iterdir()) - before)
    if damage is None:
        content = new[-1].read_bytes() if new[-1].suffix == ".arrow" else b""
        new[-1].write_bytes(content[:-8])
    else:
        next(file for file in new if file.suffix == ".json").write_text(damage)
    assert set(store.records()["level"]) == {"a"}


def test_empty_tables_and_fields_without_one(tmp_path: Path) -> None:
    store = FieldStore(tmp_path, run=1)
    nothing = pd.DataFrame(columns=["field", "value"])
    store.save_fields([FieldResult("a", "level", {"table": nothing}), FieldResult("b", "level", {})])
    assert store.tables("ab", ("level",))["table"].empty
    store.save_fields([FieldResult("c", "level", {"table": pd.DataFrame({"field": ["c"], "value": [2.5]})})])
    found = store.tables("abc", ("level",))["table"]
    assert (found["field"].tolist(), found["value"].tolist(), found["value"].dtype) == (["c"], [2.5], np.float64)


def test_a_table_is_copied_in_order(tmp_path: Path) -> None:
    keys = [chr(ord("a") + number % 26) + str(number) for number in range(FIELDS_AT_ONCE + 40)]
    store = FieldStore(tmp_path, run=1)
    for part in (keys[200:], keys[:200]):
        store.save_fields([FieldResult(key, "level", {"table": table(key)}) for key in part])
    store.save_fields([FieldResult("z", "level", {"table": table("z", 0)})])
    tables = store.tables([*keys, "z"], ("level",))
    tables.stream("table").save(tmp_path / "copy.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "copy.parquet"), tables["table"])
    found = Findings("level", {}, tables={"whole": whole_table(tables, "table"), "small": table("a")})
    save_findings(store, found, "mark")
    loaded = load_findings(store, "level", "mark")
    assert isinstance(loaded, Findings)
    assert isinstance(loaded.tables, StoredTables)
    pd.testing.assert_frame_equal(loaded.tables["whole"], tables["table"])
    pd.testing.assert_frame_equal(pd.concat(loaded.tables.pieces("whole"), ignore_index=True), tables["table"])
    pd.testing.assert_frame_equal(loaded.tables["small"], table("a"))
    assert load_findings(store, "level", "other") is None
    (tmp_path / "findings.level.table.whole.parquet").unlink()
    assert load_findings(store, "level", "mark") is None
