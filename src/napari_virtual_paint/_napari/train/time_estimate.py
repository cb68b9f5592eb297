"""How long a training would take, measured in another process: it may need much memory and must never block napari."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared import cli_process
from napari_virtual_paint._napari.shared.background import Debounced, LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.train.state import CONFIG, ImageFacts
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.runtime.text import rough_duration
from napari_virtual_paint.training.pace import TrainingPace

Key: TypeAlias = "tuple[str, ImageFacts | None]"

PAUSE = 1000  # milliseconds after the last change before the steps are timed
IRRELEVANT = {"id", "name", "description", "trained_on", "not_for", "license", "authors", "output", "steps", "epoch"}
"""Fields of a configuration on which the time of a step does not depend."""


@dataclass(frozen=True)
class TrainingTime:
    """How long a training takes."""

    device: str  # where it is trained, in words
    pace: TrainingPace
    roughly: bool = False  # whether a smaller step was timed and extrapolated
    shared: bool = False  # whether other programs use the cores, too

    def words(self, steps: int, epoch: int) -> str:
        """Return what so many steps mean, as ``600 steps (12 passes over the images) take about 9 min on this CPU, 2 cores``."""
        passes = f" ({passes_text(self.pace.passes * steps)})" if self.pace.passes else ""
        about = f"{'roughly' if self.roughly else 'about'} {rough_duration(self.pace.seconds(steps, epoch))}"
        others = ", which other programs use too" if self.shared else ""
        return f"{steps:,} steps{passes} take {about} on {self.device}{others}"


def passes_text(passes: float) -> str:
    """Return a number of passes over the training images in words."""
    if passes < 0.1:
        return "less than a tenth of the images"
    return f"{passes:.1f} passes over the images" if passes < 10 else f"{passes:,.0f} passes over the images"


class TimeEstimator(QObject):  # type: ignore[misc]
    """Times the first steps of the latest configuration in the background; configurations that were timed before are remembered.

    Parameters
    ----------
    parent
        The object that it dies with.
    allowed
        Whether steps may be timed now.

    Signals
    -------
    changed
        Timing began, or its result is there.
    failed
        Why the steps can't be timed.
    """

    changed = Signal()
    failed = Signal(str)

    def __init__(self, parent: QObject, allowed: Callable[[], bool]) -> None:
        super().__init__(parent)
        self._allowed = allowed
        self._text = ""
        self._facts: ImageFacts | None = None
        self._times: dict[Key, TrainingTime] = {}
        self._timed_key: Key | None = None
        self._job = LatestJob(self)
        self._starting = Debounced(PAUSE, self._start, self)

    @property
    def running(self) -> bool:
        """Whether steps are being timed."""
        return self._job.running

    @property
    def found(self) -> TrainingTime | None:
        """The time of the latest configuration; None where it is not known (yet)."""
        return self._times.get(_key(self._text, self._facts))

    def time_of(self, text: str, facts: ImageFacts | None) -> TrainingTime | None:
        """Return the time of a configuration, if it was measured before."""
        return self._times.get(_key(text, facts))

    def request(self, text: str, facts: ImageFacts | None) -> None:
        """Ask for the time of a configuration; it is measured once no other follows for a while.

        Parameters
        ----------
        facts
            Channels and sizes of the images, where they are layers that lie in no file yet.
        """
        self._text, self._facts = text, facts
        self._starting.start()

    def retry(self) -> None:
        """Time the latest configuration after all, where that was not allowed before."""
        self._starting.start()

    def stop(self) -> None:
        """Stop timing."""
        self._job.drop()

    @timed
    def _start(self) -> None:
        key = _key(self._text, self._facts)
        # A job that times the same steps already goes on: changing the number of steps must not begin it anew.
        if not self._allowed() or key in self._times or (self.running and key == self._timed_key):
            return
        self._timed_key = key
        self._job.start(
            partial(_time_or_error, self._text, self._facts),
            title="Timing a few steps",
            done=partial(self._finish, key),
            failed=lambda _error: self.failed.emit("The steps can't be timed."),
        )
        self.changed.emit()

    @timed
    def _finish(self, key: Key, found: TrainingTime | str) -> None:
        if isinstance(found, str):
            self.failed.emit(found)
        else:
            self._times[key] = found
            self.changed.emit()


def _key(text: str, facts: ImageFacts | None) -> Key:
    """Return all that the time of a step depends on."""
    return _relevant(text), facts


@lru_cache(maxsize=64)
def _relevant(text: str) -> str:
    """Return the part of a configuration on which the time of a step depends; all of it where it is no YAML (while it is edited)."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return repr({name: value for name, value in values.items() if name not in IRRELEVANT}) if isinstance(values, dict) else text


def _time_or_error(text: str, facts: ImageFacts | None) -> Generator[Any, None, TrainingTime | str]:
    """Time steps, or return what is wrong with a configuration: while the user is still choosing it is shown in the dock alone."""
    try:
        return (yield from time_steps(text, facts))
    except VirtualPaintError as error:
        return str(error)


def time_steps(text: str, facts: ImageFacts | None) -> Generator[Any, None, TrainingTime]:
    """Time the first steps of a configuration in a process (on a worker); the parameters are those of `TimeEstimator.request`.

    Raises `VirtualPaintError` if they can't be timed; the sentence says why.
    """
    with tempfile.TemporaryDirectory(prefix="virtual-paint-") as folder:
        path = Path(folder, CONFIG)
        path.write_text(text, "utf-8")
        shape = ["--shape", _shape_option(facts, text)] if facts is not None else []
        try:
            found = yield from cli_process.run(["train", str(path), "--estimate", *shape], "Timing the steps")
        except VirtualPaintError as error:
            raise VirtualPaintError(str(error).replace(f"{path}: ", "")) from error
    return TrainingTime(str(found["device"]), TrainingPace(**found["pace"]), bool(found["scaled"]), bool(found["shared"]))


def _shape_option(facts: ImageFacts, text: str) -> str:
    """Return channels, stains and pixels in all, as ``--shape`` takes them; planes that are channels count as such."""
    channels, pixels = len(facts.channels), facts.times * facts.sides[0] * facts.sides[1]
    if "planes_as_channels: true" in text:
        channels *= facts.planes[0]
    else:
        pixels *= facts.planes[0]
    return f"{channels},{len(facts.stains)},{pixels}"
