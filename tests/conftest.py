"""Fixtures of the whole suite."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = (Path(__file__).resolve().parents[2] / "shared").resolve()
"""Real images and foreign files for tests; they lie beside the repository, never in it."""
HELPERS = Path(__file__).parent / "helpers"


LONGEST = (
    "_napari/stain",
    "cli/test_stopping.py",
    "cli/test_disks.py",
    "_napari/train",
    "_napari",
    "_napari/plate",
    "training/test_run.py",
    "painting/test_blocks.py",
    "models/importers/test_import_packages.py",
    "cells/cp2image/test_evaluate.py",
    "cells/cp2image/test_train.py",
    "cells/tables/test_odd_tables.py",
    "_napari/compare",
    "_napari/shared",
    "cells/measurement/test_measure.py",
    "cli/test_large_fields.py",
    "plates/job/test_workers.py",
    "plates/job/test_field.py",
    "cells/tables/test_table.py",
    "models/test_model.py",
    "cli/test_plate.py",
    "models/importers/test_import_model.py",
    "test_imports.py",
    "evaluation/test_engine.py",
    "plates/simulation/test_simulate.py",
    "plates/ome_zarr/test_writer.py",
    "models/package/test_hostile.py",
    "reading/test_ome_zarr.py",
    "plates/test_index_search.py",
    "evaluation/test_empty_fields.py",
    "cli/test_cli.py",
    "cli/test_outputs.py",
    "runtime/test_atomic_write.py",
    "training/pair_checks/test_check.py",
    "_napari/cells",
    "training/modules/test_gan.py",
    "cli/test_axes.py",
    "cli/test_fuzz.py",
)
"""Groups of tests that take longest; they are started first, so that none of them is left for the end of a parallel run."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the order given below, and restore Ctrl-C.

    A shell starts its background processes with SIGINT ignored, and every child of such a process ignores it, too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Processes that a test starts import helpers by name, too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HELPERS), os.environ.get("PYTHONPATH"))))
    config.option.loadscopereorder = False  # pytest-xdist would start with the groups of most tests, however quick they are


def group_of(nodeid: str) -> str:
    """Return the group of a test: its file, for its fixtures, or its dock, for napari's start."""
    place = Path(nodeid.partition("::")[0].removeprefix("tests/"))
    return (place.parent if place.parts[0] == "_napari" else place).as_posix()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest groups first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        groups = {item: group_of(item.nodeid) for item in items}
        rank, count = {group: number for number, group in enumerate(LONGEST)}, Counter(groups.values())
        items.sort(key=lambda item: (rank.get(groups[item], len(rank)), -count[groups[item]], groups[item]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run each group in one process. The marks of pytest-xdist 3.8 have no effect with pytest 9."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


@pytest.fixture(autouse=True, scope="session")
def _frozen() -> Iterator[None]:
    """Keep what was imported and collected out of each garbage collection, which takes a second in so large a process."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()  # else the program ends with modules that nobody takes down, and duckdb's complains


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data; the test is skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data, ../shared/data beside the repository, is absent")
    return folder


@pytest.fixture(scope="session")
def shared_checkpoints() -> Path:
    """Return the folder of foreign checkpoints; the test is skipped where it is absent."""
    folder = SHARED / "checkpoints"
    if not folder.is_dir():
        pytest.skip("the folder of foreign checkpoints, ../shared/checkpoints beside the repository, is absent")
    return folder


@pytest.fixture(scope="session")
def shared_references() -> Path:
    """Return the folder of other programs' results; the test is skipped where it is absent."""
    folder = SHARED / "references"
    if not folder.is_dir():
        pytest.skip("the folder of other programs' results, ../shared/references beside the repository, is absent")
    return folder
