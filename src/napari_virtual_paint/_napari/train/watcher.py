"""Watch a run's folder on a worker: its states, and pictures of its preview."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_virtual_paint._napari.shared.viewer.appearance import contrast_limits
from napari_virtual_paint.channel_colors import GRAY, channel_color
from napari_virtual_paint.errors import ReadError
from napari_virtual_paint.training.run_folder.watch import Preview, RunState, read_preview

MANY = 9  # number of stains from which on two may have the same colour
EVERY = 0.5  # seconds between two reads of a run's folder
POLL = 0.1  # seconds after which a worker notices that it is cancelled


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
    """Return a plane (Y, X) as 8-bit blue, green, red, alpha (Y, X, 4): from black to the stain's colour, white for no stain."""
    low, high = limits
    share = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
    colour = channel_color(name)
    full = np.array((255, 255, 255) if colour is GRAY else colour.line, np.float32)
    full = full * (255 / full.max())
    out = np.full((*pixels.shape, 4), 255, np.uint8)
    out[..., :3] = (share[..., None] * full[::-1]).astype(np.uint8)
    return out


Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a preview."""

    preview: Preview  # the preview
    input: Bytes  # middle channel or plane, (Y, X, 4): 8-bit blue, green, red, alpha
    truth: tuple[Bytes, ...]
    painted: tuple[Bytes, ...]  # `truth` and `painted`: the same for each stain, both with the contrast limits of the true one
    limits: tuple[tuple[float, float], ...]  # contrast limits of each stain


def watch_changes(read: Callable[[], RunState]) -> Generator[RunState | Pictures | None, None, None]:
    """Yield each new state of a run and the pictures of each new preview, until the run has ended; None in between."""
    last: RunState | None = None
    shown: int | None = None
    next_read = 0.0
    while True:
        if time.monotonic() < next_read:
            time.sleep(POLL)
            yield None
            continue
        next_read = time.monotonic() + EVERY
        state = read()
        if state != last:
            last = state
            yield state
        if state.preview is not None and state.preview != shown:
            with contextlib.suppress(ReadError):  # it is being replaced; the next read has it
                yield pictures(read_preview(state.folder))
                shown = state.preview
        if not state.alive:
            return


def pictures(preview: Preview) -> Pictures:
    """Draw a preview."""
    middle = preview.input[len(preview.input) // 2]
    limits = tuple(contrast_limits(truth) or (0.0, 1.0) for truth in preview.truth)
    truth = tuple(tint(pixels, limit, name) for pixels, limit, name in zip(preview.truth, limits, preview.stains, strict=True))
    painted = tuple(tint(pixels, limit, name) for pixels, limit, name in zip(preview.painted, limits, preview.stains, strict=True))
    grey = tint(middle, contrast_limits(middle, transmitted=True) or (0.0, 1.0), "brightfield")
    return Pictures(preview, grey, truth, painted, limits)
