"""The feature vector that is edited: its values, the features that the user set, undo and redo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QUndoCommand, QUndoStack

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.population import Population

Floats = npt.NDArray[np.float32]
STEPS = 500  # changes that can be undone
CLICKED = 1_000_000_000  # cells that were clicked in an image and measured are numbered from here on: they are in no cohort


@dataclass(frozen=True, eq=False)
class EditedVector:
    """A feature vector and how it was made."""

    base: Floats  # float32 (p,), the picked cell
    values: Floats  # float32 (p,), the requested cell
    moved: Mapping[int, float]  # column of each feature that the user has set -> its value; the others are the base's, or follow
    cell: int = -1  # the picked cell: its position in the cohort, or from `CLICKED` on

    @property
    def row(self) -> int:
        """The picked cell's position in the cohort; -1 where it is in none."""
        return self.cell if self.cell < CLICKED else -1

    @property
    def changed(self) -> bool:
        """Whether the vector differs from the picked cell."""
        return bool(self.moved) or not np.array_equal(self.values, self.base)


class VectorEditor(QObject):  # type: ignore[misc]
    """Edits one feature vector; every change but those of `start` can be undone.

    Attributes
    ----------
    vector
        The `EditedVector`; None before a cell is picked.
    stack
        Qt's undo stack.
    version
        Grows with every change.
    """

    changed = Signal(int)
    """The vector has changed: the column of the only feature that differs, or -1."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.population: Population | None = None
        self.vector: EditedVector | None = None
        self.follow = False
        self.version = 0
        self.stack = QUndoStack(self)
        self.stack.setUndoLimit(STEPS)
        self._gesture = 0

    def start(self, population: Population, values: Floats, cell: int = -1) -> None:
        """Begin with a cell of a population; earlier changes can no longer be undone."""
        self.population = population
        self.stack.clear()
        self.show(_unchanged(population, values, cell))

    def pick(self, values: Floats, cell: int, text: str) -> None:
        """Go to another cell of the same population."""
        if self.population is not None:
            self.begin()
            self._push(_unchanged(self.population, values, cell), text)

    def begin(self) -> None:
        """Begin a gesture: the changes until the next one are undone together."""
        self._gesture += 1

    def move(self, index: int, value: float) -> None:
        """Set one feature."""
        vector = self.vector
        if vector is not None and self.population is not None:
            moved = {**vector.moved, index: float(value)}
            self._push(self._with(vector, moved, index, value), f"move {self.population.features[index]}", -1 if self.follow else index)

    def reset(self, index: int) -> None:
        """Set one feature to the value of the picked cell."""
        vector = self.vector
        if vector is None or self.population is None or (index not in vector.moved and vector.values[index] == vector.base[index]):
            return
        moved = {at: value for at, value in vector.moved.items() if at != index}
        after = self._with(vector, moved, index, float(vector.base[index]))
        self._push(after, f"reset {self.population.features[index]}", -1 if self.follow else index)

    def reset_all(self) -> None:
        """Go back to the picked cell."""
        if self.vector is not None and self.vector.changed:
            self.begin()
            self._push(replace(self.vector, values=self.vector.base.copy(), moved={}), "reset all")

    def set_follow(self, on: bool) -> None:
        """Make the other features follow those that are moved; when switched on, they do so at once."""
        self.follow = on
        vector = self.vector
        if on and vector is not None and vector.moved and self.population is not None:
            self.begin()
            self._push(replace(vector, values=self.population.conditional(vector.base, vector.moved)), "follow the population")

    def put(self, values: Floats, text: str) -> None:
        """Show a vector made elsewhere, such as a step of a walk; the picked cell stays the base."""
        if self.vector is not None:
            self._push(replace(self.vector, values=np.asarray(values, np.float32).copy(), moved={}), text)

    def renew(self) -> None:
        """Count the vector as new: its picture changes, by another seed."""
        if self.vector is not None:
            self.show(self.vector)

    def show(self, vector: EditedVector, index: int = -1) -> None:
        """Show a vector; called by undo and redo."""
        self.vector = vector
        self.version += 1
        self.changed.emit(index)

    def _with(self, vector: EditedVector, moved: Mapping[int, float], index: int, value: float) -> EditedVector:
        """Return a vector with one feature changed and, if they follow, the others carried along."""
        if self.follow and self.population is not None:
            return replace(vector, values=self.population.conditional(vector.base, moved), moved=moved)
        values = vector.values.copy()
        values[index] = value
        return replace(vector, values=values, moved=moved)

    def _push(self, vector: EditedVector, text: str, index: int = -1) -> None:
        if self.vector is not None:
            self.stack.push(_Change(self, self.vector, vector, text, index, self._gesture))


def _unchanged(population: Population, values: Floats, cell: int) -> EditedVector:
    """Return a picked cell, its gaps filled with the population's medians."""
    whole = np.where(np.isfinite(values), values, population.centre).astype(np.float32)
    return EditedVector(whole, whole.copy(), {}, cell)


class _Change(QUndoCommand):  # type: ignore[misc]
    """The step from one vector to another; the changes of one gesture are merged."""

    def __init__(self, editor: VectorEditor, before: EditedVector, after: EditedVector, text: str, index: int, gesture: int) -> None:
        super().__init__(text)
        self._editor, self._before, self._after, self._index, self._gesture = editor, before, after, index, gesture

    def id(self) -> int:
        return 1

    def mergeWith(self, other: QUndoCommand) -> bool:  # noqa: N802 - Qt's name
        if not isinstance(other, _Change) or other._gesture != self._gesture:
            return False
        self._after = other._after
        self._index = self._index if self._index == other._index else -1
        same = np.array_equal(self._before.values, self._after.values) and np.array_equal(self._before.base, self._after.base)
        self.setObsolete(same and self._before.moved == self._after.moved)
        return True

    def redo(self) -> None:
        self._editor.show(self._after, self._index)

    def undo(self) -> None:
        self._editor.show(self._before, self._index)
