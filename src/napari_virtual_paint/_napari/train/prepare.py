"""Prepare a training on a worker: write the layers as images and the configuration beside them, and check the pairs."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint._napari.shared.new_model import split_names
from napari_virtual_paint._napari.train.state import CONFIG, FIELD, IMAGES, INPUT, RUN, TARGET, TrainState, as_text, pairs_section
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint.stack import Stack
    from napari_virtual_paint.training.pair_checks.check import PairReport


@dataclass(frozen=True, eq=False)
class TrainRequest:
    """A training to prepare."""

    folder: Path  # its folder
    text: str  # its configuration
    pair: tuple[Stack, Stack] | None = None  # input and stains taken from layers; None where the configuration names files or a plate
    check: bool = True  # whether the pairs are checked
    teach: TrainState | None = None  # the choice of a model to teach, from which the configuration then follows; None for another training
    package: Path | None = None  # where the model that is taught is written


@dataclass(frozen=True, eq=False)
class PreparedRun:
    """A training that can begin."""

    request: TrainRequest  # what was to be prepared
    config: Path  # the configuration's file
    report: PairReport | None = None  # result of the checks of the pairs; None where they were not checked


def prepare(request: TrainRequest) -> Generator[Any, None, PreparedRun]:
    """Write the files of a training, and check its pairs.

    Raises `VirtualPaintError` if something can't be written, or the configuration or the pairs can't be used; the sentence says what.
    """
    from napari_virtual_paint.training import load_config
    from napari_virtual_paint.training.pair_checks.check import check_pairs
    from napari_virtual_paint.writing.api import as_write_errors

    yield Progress(0, 4, "Writing the images")
    with as_write_errors(request.folder):
        request.folder.mkdir(parents=True, exist_ok=True)
    if request.pair is not None:
        yield from write_pair(*request.pair, request.folder / IMAGES)
    if request.teach is not None:
        yield Progress(2, 4, "Fitting the model to the pairs")
        request = replace(request, text=(yield from teaching_text(request, request.teach)), teach=None)
    config = write_text(request.folder / CONFIG, request.text)
    loaded = load_config(config)
    yield Progress(3, 4, "Checking the pairs")
    if not request.check or loaded.data.checks == "off":
        return PreparedRun(request, config)
    report = yield from relay(check_pairs(loaded), lambda at: replace(at, message=f"Checking the pairs: {at.message}"))
    return PreparedRun(request, config, report)


def teaching_text(request: TrainRequest, choice: TrainState) -> Generator[Any, None, str]:
    """Return the configuration that teaches a model; a few steps are timed.

    Raises `InputError` if the model can't be trained, or the pairs don't fit it.
    """
    from napari_virtual_paint.training.config.data import Data
    from napari_virtual_paint.training.pace import epoch_of
    from napari_virtual_paint.training.teach import EPOCH, MINUTES, TeachRequest, checked_config, plan_fine_tuning, steps_within

    assert request.package is not None
    data = Data.model_validate(pairs_section(choice)).starting_from(request.folder)
    steps = choice.amount if choice.length == "steps" else None
    minutes = choice.minutes or MINUTES
    asked = TeachRequest(choice.start, (), request.package, choice.name.strip(), data=data, minutes=minutes, steps=steps)
    plan = plan_fine_tuning(asked)
    steps = steps or (yield from steps_within(checked_config(plan.values, asked), plan, minutes))
    card = {"license": choice.license or None, "authors": split_names(choice.author), "not_for": choice.not_for}
    device = {} if choice.device == "auto" else {"device": choice.device}
    return as_text({**plan.values, **card, **device, "run": RUN, "steps": steps, "epoch": epoch_of(steps, EPOCH)})


def write_pair(source: Stack, target: Stack, folder: Path) -> Generator[Progress, None, None]:
    """Write input and stains of layers as OME-TIFF, with their axes, names and pixel size."""
    from napari_virtual_paint.writing import write

    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, stack) in enumerate(((INPUT, source), (TARGET, target))):
        write(stack, folder / f"{FIELD}_{name}", overwrite=True)
        yield Progress(number + 1, 4, "Writing the images")


def write_text(path: Path, text: str) -> Path:
    """Write a configuration atomically.

    Raises `WriteError` if it can't be written.
    """
    from napari_virtual_paint.runtime import atomic_write
    from napari_virtual_paint.writing.api import as_write_errors

    with as_write_errors(path):
        atomic_write.write_text(path, text)
    return path


MOST = 6  # faulty pairs that are named; the others are counted


@dataclass(frozen=True)
class PairVerdict:
    """Whether pairs can be trained on."""

    fine: bool  # whether no pair looks wrong
    some_are_fine: bool  # whether pairs are left where those that look wrong are left out
    words: str  # the report, as HTML


def verdict(report: PairReport | None) -> PairVerdict:
    """Summarize the checks of pairs; pairs that were not checked count as fine."""
    if report is None:
        return PairVerdict(True, True, "")
    head, *rest = report.sentences(MOST)
    words = "<br>".join([f"<b>{escape(head)}</b>", *map(escape, rest)])
    return PairVerdict(not report.faulty, len(report.faulty) < len(report.pairs), words)
