"""Domain checks of the chosen models and of all others that fit the image, one after the other on a worker, and remembered."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared.background import Debounced, LatestJob

if TYPE_CHECKING:
    from napari_virtual_paint.models import Match
    from napari_virtual_paint.models.applicability.check import DomainVerdict
    from napari_virtual_paint.painting.model_set import ModelSet
    from napari_virtual_paint.painting.settings import PaintSettings
    from napari_virtual_paint.stack import Stack

PAUSE = 200  # milliseconds after the last change before the image is checked
MOST_REMEMBERED = 1000  # answers that are kept

QuestionKey: TypeAlias = tuple[tuple["weakref.ref[Any]", ...], tuple[Any, ...]]
"""The layers of an image (dead references equal none), and what else the verdict depends on."""


@dataclass(frozen=True, eq=False)
class Question:
    """An image and the models to check it with."""

    key: QuestionKey  # what the verdict is remembered by
    models: ModelSet
    match: Match  # what the first of them gets of the image
    stack: Stack
    settings: PaintSettings


@dataclass(frozen=True)
class Answer:
    """What was found of an image."""

    verdict: DomainVerdict | None = None  # None where the models have no summary of their training images
    light: str | None = None  # the light of what the first model gets, by name or by pixels; None where it is not known


def question_key(layers: Sequence[Any], *rest: Any) -> QuestionKey:
    """Return what the verdict on an image from layers is remembered by; `rest` holds what else it depends on."""
    return tuple(weakref.ref(layer) for layer in layers), rest


class DomainChecks(QObject):  # type: ignore[misc]
    """Checks images against the training images of models; what was checked once is not checked again until the pixels change."""

    checked = Signal(object)
    """The key of a question whose verdict has been found."""
    finished = Signal()
    """All questions asked last have their verdict now; not emitted where all were remembered."""
    ended = Signal()
    """The check is over, whether or not each question has a verdict."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._answers: dict[QuestionKey, Answer] = {}
        self._questions: Callable[[], Sequence[Question]] = tuple
        self._job = LatestJob(self, one_at_a_time=True)
        self._job.ended.connect(self.ended)
        self._timer = Debounced(PAUSE, self._start, self)

    @property
    def running(self) -> bool:
        """Whether some question asked last has no verdict yet."""
        return self._timer.isActive() or self._job.running

    def knows(self, key: QuestionKey) -> bool:
        """Return whether a question has been answered."""
        return key in self._answers

    def answer(self, key: QuestionKey) -> Answer:
        """Return what was found for a question; an empty answer where nothing was yet."""
        return self._answers.get(key, Answer())

    def forget(self, layer: Any) -> None:
        """Forget what was found for the old pixels of a layer."""
        for key in [key for key in self._answers if any(known() in (layer, None) for known in key[0])]:
            del self._answers[key]

    def ask(self, questions: Callable[[], Sequence[Question]]) -> None:
        """Check soon; what is still to be checked of earlier questions is left.

        Parameters
        ----------
        questions
            Returns them, the most urgent first, when the time has come.
        """
        self._questions = questions
        self._job.drop()
        self._timer.start()

    def _start(self) -> None:
        asked: dict[QuestionKey, Question] = {}
        for question in self._questions():
            asked.setdefault(question.key, question)
        new = [question for key, question in asked.items() if key not in self._answers]
        if not new:
            return

        def check() -> Generator[tuple[QuestionKey, Answer], None, None]:
            from napari_virtual_paint.models.applicability.modality import light_of_image
            from napari_virtual_paint.painting.domain_check import domain_of

            for question in new:
                light = light_of_image(question.models.members[0].model.info, question.stack, question.match)
                yield question.key, Answer(domain_of(question.models, question.stack, question.settings), light)

        self._job.start(check, title="Comparing with the training images", piece=self._found, done=lambda _: self.finished.emit())

    def _found(self, found: tuple[QuestionKey, Answer]) -> None:
        key, answer = found
        while len(self._answers) >= MOST_REMEMBERED:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer
        self.checked.emit(key)
