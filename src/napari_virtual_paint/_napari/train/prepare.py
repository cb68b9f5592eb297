"""From a choice to a run that can start, on a worker: the layers written as images, the configuration beside them, the pairs looked at."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint._napari.train.state import CONFIG, FIELD, IMAGES, INPUT, TARGET
from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint.stack import Stack


@dataclass(frozen=True, eq=False)
class TrainOrder:
    """What is to be prepared.

    Parameters
    ----------
    folder
        The new run's folder.
    text
        Its configuration.
    pair
        Input and stains taken from layers; None where the configuration names files or a plate.
    check
        Whether the pairs are looked at.
    """

    folder: Path
    text: str
    pair: tuple[Stack, Stack] | None = None
    check: bool = True


@dataclass(frozen=True, eq=False)
class PreparedRun:
    """A run that can start.

    Parameters
    ----------
    order
        What was asked for.
    config
        The configuration's file.
    report
        What the pairs look like (`training.checks.PairReport`); None where they were not looked at.
    """

    order: TrainOrder
    config: Path
    report: Any = field(default=None)


def prepare(order: TrainOrder) -> Generator[Progress | None, None, PreparedRun]:
    """Write what a run needs, and look at its pairs.

    Raises
    ------
    VirtualPaintError
        If something can't be written, or the configuration or the pairs can't be used; the sentence says what.
    """
    from napari_virtual_paint.training import load_config

    yield Progress(0, 4, "Writing the images")
    try:
        order.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(order.folder, f"the run's folder can't be made ({error.strerror or error})") from error
    if order.pair is not None:
        yield from write_pair(*order.pair, order.folder / IMAGES)
    config = write_text(order.folder / CONFIG, order.text)
    loaded = load_config(config)
    yield Progress(3, 4, "Looking at the pairs")
    report = (yield from _checked(loaded)) if order.check and loaded.data.checks != "off" else None
    return PreparedRun(order, config, report)


def write_pair(source: Stack, target: Stack, folder: Path) -> Generator[Progress, None, None]:
    """Write input and stains of layers as OME-TIFF, with their axes, names and pixel size; a smaller run is not begun from half of them."""
    from napari_virtual_paint.writing import write

    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, stack) in enumerate(((INPUT, source), (TARGET, target))):
        write(stack, folder / f"{FIELD}_{name}", overwrite=True)
        yield Progress(number + 1, 4, "Writing the images")


def write_text(path: Path, text: str) -> Path:
    """Write a configuration, whole or not at all.

    Raises
    ------
    WriteError
        If it can't be written.
    """
    from napari_virtual_paint.runtime.atomic_write import replacing

    try:
        with replacing(path, overwrite=True) as beside:
            beside.write_text(text, "utf-8")
    except OSError as error:
        raise WriteError(path, f"it can't be written ({error.strerror or error})") from error
    return path


def _checked(config: Any) -> Generator[Any, None, Any]:
    """Pass the steps of the checks on."""
    from napari_virtual_paint.training.pair_checks.check import check_pairs

    return (yield from check_pairs(config))


MOST = 6
"""Pairs that are named; the others are counted."""


@dataclass(frozen=True)
class PairVerdict:
    """What the look at the pairs gave.

    Parameters
    ----------
    fine
        Whether nothing speaks against training on all of them.
    some_are_fine
        Whether pairs are left if those that look wrong are left out.
    words
        What is said, as HTML.
    """

    fine: bool
    some_are_fine: bool
    words: str


def verdict(report: Any) -> PairVerdict:
    """Return what a `training.checks.PairReport` says; None for pairs that were not looked at."""
    if report is None:
        return PairVerdict(True, True, "")
    head, *rest = report.sentences(MOST)
    words = "<br>".join([f"<b>{escape(head)}</b>", *(escape(sentence) for sentence in rest)])
    return PairVerdict(not report.faulty, len(report.faulty) < len(report.pairs), words)
