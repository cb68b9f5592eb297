"""Queries of one table: they share a database, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="tables of cells need the extra cells")
pytest.importorskip("duckdb", reason="tables of cells need the extra cells")

from pyarrow import parquet  # noqa: E402

from napari_virtual_paint.cells.tables.parquet import ParquetSource  # noqa: E402

VALUES = np.arange(5000.0)


def source(path: Path, values: np.ndarray = VALUES) -> ParquetSource:
    parquet.write_table(pa.table({"Area": values}), path)
    return ParquetSource(path, "Cells")


def test_threads_read_at_once(tmp_path: Path) -> None:
    one, other = source(tmp_path / "a.parquet"), source(tmp_path / "b.parquet", VALUES[::-1])
    rows = np.arange(0, 5000, 2)[::-1]  # so many that they are joined as a table of each query

    def total(number: int) -> float:
        chosen = rows[number:]
        found = (other if number % 2 else one).read(["Area"], chosen)["Area"].to_numpy()
        np.testing.assert_array_equal(found, (VALUES[::-1] if number % 2 else VALUES)[chosen])
        return float(found.sum())

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(total, range(12)))) == 12


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    np.testing.assert_array_equal(source(path).read(["Area"])["Area"].to_numpy(), VALUES)
    written = path.stat()
    again = source(path, VALUES + 1)
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    np.testing.assert_array_equal(again.read(["Area"])["Area"].to_numpy(), VALUES + 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_forked_process_reads(tmp_path: Path) -> None:
    table = source(tmp_path / "a.parquet")
    table.read(["Area"], VALUES[:3].astype(np.int64))  # the database of this process
    child = os.fork()
    if not child:
        found = table.read(["Area"], np.arange(2500, 5000))["Area"].to_numpy()
        os._exit(0 if np.array_equal(found, VALUES[2500:]) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nothing_is_left_at_the_end_of_a_program(tmp_path: Path) -> None:
    source(tmp_path / "a.parquet")
    code = (
        "import sys\nfrom pathlib import Path\nfrom napari_virtual_paint.cells.tables.parquet import ParquetSource\n"
        "print(ParquetSource(Path(sys.argv[1]), 'Cells').read(['Area']).num_rows)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.parquet")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5000\n", "")
