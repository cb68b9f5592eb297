"""The cell that is being shaped: its feature vector, which features were moved, and undo and redo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QUndoCommand, QUndoStack

if TYPE_CHECKING:
    from napari_virtual_paint.cells.populations.population import Population

Floats = npt.NDArray[np.float32]
STEPS = 500
"""Changes that can be undone."""


@dataclass(frozen=True, eq=False)
class EditedVector:
    """A feature vector and how it came about.

    Parameters
    ----------
    base
        float32 (p,), the cell that was picked.
    values
        float32 (p,), the cell as it is asked for now.
    moved
        Features that the user has set -> their values; the others are the base's, or follow.
    cell
        Which cell was picked: its position in the cohort, or another number that the dock gave it.
    """

    base: Floats
    values: Floats
    moved: dict[str, float]
    cell: int = -1


class CellState(QObject):  # type: ignore[misc]
    """Holds the shape and changes it; every change but those of `start` can be undone.

    Attributes
    ----------
    shape
        None before a cell was picked.
    stack
        Qt's undo stack.
    version
        Grows with every change.
    """

    changed = Signal(int)
    """The shape is another one: the position of the only feature that differs, or -1."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.population: Population | None = None
        self.shape: EditedVector | None = None
        self.follow = False
        self.version = 0
        self.stack = QUndoStack(self)
        self.stack.setUndoLimit(STEPS)
        self._gesture = 0

    def start(self, population: Population, values: Floats, cell: int = -1) -> None:
        """Begin with a cell of a population; what was done before can't be undone."""
        self.population = population
        self.stack.clear()
        whole = np.where(np.isfinite(values), values, population.centre).astype(np.float32)
        self.show(EditedVector(whole, whole.copy(), {}, cell))

    def pick(self, values: Floats, cell: int, words: str) -> None:
        """Go to another cell of the same population."""
        if self.population is not None and self.shape is not None:
            whole = np.where(np.isfinite(values), values, self.population.centre).astype(np.float32)
            self.begin()
            self._push(EditedVector(whole, whole.copy(), {}, cell), words)

    def begin(self) -> None:
        """Begin a gesture: what follows until the next one is undone at once."""
        self._gesture += 1

    def move(self, index: int, value: float) -> None:
        """Set one feature."""
        self._change({self._name(index): float(value)}, f"move {self._name(index)}", index)

    def reset(self, index: int) -> None:
        """Give one feature the picked cell's value back."""
        shape = self.shape
        if shape is not None and (self._name(index) in shape.moved or shape.values[index] != shape.base[index]):
            moved = {name: value for name, value in shape.moved.items() if name != self._name(index)}
            values = self._made(shape, moved)
            if not self.follow:
                values = shape.values.copy()
                values[index] = shape.base[index]
            self._push(replace(shape, values=values, moved=moved), f"reset {self._name(index)}", -1 if self.follow else index)

    def reset_all(self) -> None:
        """Go back to the picked cell."""
        shape = self.shape
        if shape is not None and (shape.moved or not np.array_equal(shape.values, shape.base)):
            self.begin()
            self._push(replace(shape, values=shape.base.copy(), moved={}), "reset all")

    def set_follow(self, on: bool) -> None:
        """Have the other features follow those that were moved, from now on; switched on, they do so at once."""
        self.follow = on
        shape = self.shape
        if on and shape is not None and shape.moved:
            self.begin()
            self._push(replace(shape, values=self._made(shape, shape.moved)), "follow the population")

    def put(self, values: Floats, words: str) -> None:
        """Show a vector that was made elsewhere, as a step of a walk; the picked cell stays the base."""
        if self.shape is not None:
            self._push(replace(self.shape, values=np.asarray(values, np.float32).copy(), moved={}), words)

    def show(self, shape: EditedVector, index: int = -1) -> None:
        """Show a shape, now; used by undo and redo."""
        self.shape = shape
        self.version += 1
        self.changed.emit(index)

    def _name(self, index: int) -> str:
        return self.population.features[index] if self.population is not None else ""

    def _change(self, new: dict[str, float], words: str, index: int) -> None:
        shape = self.shape
        if shape is None:
            return
        moved = {**shape.moved, **new}
        if self.follow:
            self._push(replace(shape, values=self._made(shape, moved), moved=moved), words)
            return
        values = shape.values.copy()
        values[index] = new[self._name(index)]
        self._push(replace(shape, values=values, moved=moved), words, index)

    def _made(self, shape: EditedVector, moved: dict[str, float]) -> Floats:
        """Return the picked cell with some features moved and, where they are to follow, the others carried along."""
        if self.population is None:
            return shape.values
        if self.follow:
            return self.population.conditional(shape.base, moved)
        values = shape.base.copy()
        for name, value in moved.items():
            values[self.population.position(name)] = value
        return values

    def _push(self, shape: EditedVector, words: str, index: int = -1) -> None:
        if self.shape is not None:
            self.stack.push(_Change(self, self.shape, shape, words, index, self._gesture))


class _Change(QUndoCommand):  # type: ignore[misc]
    """From one shape to another; the changes of one gesture become one."""

    def __init__(self, state: CellState, before: EditedVector, after: EditedVector, words: str, index: int, gesture: int) -> None:
        super().__init__(words)
        self._state, self._before, self._after, self._index, self._gesture = state, before, after, index, gesture

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
        self._state.show(self._after, self._index)

    def undo(self) -> None:
        self._state.show(self._before, self._index)
