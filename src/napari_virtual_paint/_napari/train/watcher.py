"""Watching a run from the dock: a worker that reads its folder, and the pictures made of its preview."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.appearance import contrast_limits
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint.channel_colors import GRAY, channel_color
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.training.run_folder.watch import Preview, RunState, read_preview

MANY = 9
"""Stains from which on two may have the same colour."""


def colours(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return a colour for each stain; two of one colour become a lighter and a darker one."""
    found: list[tuple[int, int, int]] = []
    for index, name in enumerate(names):
        colour = channel_color(name, index).line
        while colour in found:
            colour = tuple(round(0.65 * part + 0.35 * 128) for part in colour)  # type: ignore[assignment]
            if len(found) > MANY:
                break
        found.append(colour)
    return found


def tint(pixels: npt.NDArray[np.float32], limits: tuple[float, float], name: str) -> npt.NDArray[np.uint8]:
    """Return a plane (Y, X) as a picture (Y, X, 4), 8-bit blue, green, red, opaque: from black to its colour, light grey for no stain."""
    low, high = limits
    share = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
    colour = channel_color(name)
    full = np.array((255, 255, 255) if colour is GRAY else colour.line, np.float32)
    full = full * (255 / full.max())
    out = np.full((*pixels.shape, 4), 255, np.uint8)
    out[..., :3] = (share[..., None] * full[::-1]).astype(np.uint8)
    return out


EVERY = 0.5
"""Seconds between two looks."""
NOD = 0.1
"""Seconds after which a watcher that is no longer wanted notices."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pictures:
    """A preview as it is drawn.

    Parameters
    ----------
    preview
        What it is made of.
    input
        (Y, X, 4) 8-bit blue, green, red, opaque.
    truth, painted
        The same for each stain; both have the contrast of the true one.
    limits
        Contrast limits of each stain.
    """

    preview: Preview
    input: Bytes
    truth: tuple[Bytes, ...]
    painted: tuple[Bytes, ...]
    limits: tuple[tuple[float, float], ...]


class Watcher(QObject):  # type: ignore[misc]
    """Tells how a run stands, and shows its preview, whenever something has changed.

    Signals
    -------
    changed
        The `RunState`.
    pictured
        The `Pictures` of a new preview.
    """

    changed = Signal(object)
    pictured = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._job: jobs.Job | None = None
        self._wanted: object | None = None

    def watch(self, look: Callable[[], RunState], title: str) -> None:
        """Watch another run, until it has ended."""
        self.stop()
        wanted = self._wanted = object()
        self._job = jobs.start(
            lambda: following(look), title=f"Watching {title}", piece=lambda piece: self._piece(wanted, piece), quiet=True
        )

    def stop(self) -> None:
        """Watch nothing."""
        self._wanted = None
        if self._job is not None:
            self._job.cancel()
            self._job = None

    @timed
    def _piece(self, wanted: object, piece: object) -> None:
        if wanted is not self._wanted:
            return
        if isinstance(piece, RunState):
            self.changed.emit(piece)
        elif isinstance(piece, Pictures):
            self.pictured.emit(piece)


def following(look: Callable[[], RunState]) -> Generator[RunState | Pictures | None, None, None]:
    """Yield how a run stands whenever it has changed, and the pictures of each new preview, until the run has ended."""
    last: RunState | None = None
    shown: int | None = None
    next_look = 0.0
    while True:
        if time.monotonic() < next_look:
            time.sleep(NOD)
            yield None
            continue
        next_look = time.monotonic() + EVERY
        state = look()
        if state != last:
            last = state
            yield state
        if state.preview is not None and state.preview != shown:
            with contextlib.suppress(ReadError):
                yield pictures(read_preview(state.folder))
                shown = state.preview
        if not state.alive:
            return


def pictures(preview: Preview) -> Pictures:
    """Return a preview as it is drawn."""
    middle = preview.input[len(preview.input) // 2]
    limits = tuple(contrast_limits(truth) or (0.0, 1.0) for truth in preview.truth)
    truth = tuple(tint(pixels, limit, name) for pixels, limit, name in zip(preview.truth, limits, preview.stains, strict=True))
    painted = tuple(tint(pixels, limit, name) for pixels, limit, name in zip(preview.painted, limits, preview.stains, strict=True))
    grey = tint(middle, contrast_limits(middle, transmitted=True) or (0.0, 1.0), "brightfield")
    return Pictures(preview, grey, truth, painted, limits)
