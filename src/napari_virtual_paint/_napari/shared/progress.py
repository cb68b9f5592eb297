"""Progress of a job with the time left, and the bar that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_virtual_paint.runtime.progress import Progress, time_left


@dataclass(frozen=True)
class JobProgress(Progress):
    """Progress of a job in the viewer; where the work has no estimate of its own, the time left is that of its pace."""


def set_bar(bar: Any, value: int, most: int = 1000) -> None:
    """Move a QProgressBar, and repaint it with the next events: `setValue` would repaint the whole window within the call."""
    bar.setUpdatesEnabled(False)
    bar.setRange(0, most)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)


def progress_words(progress: JobProgress) -> str:
    """Return what is done and the time left, as far as they are known."""
    return " · ".join(part for part in (progress.message.rstrip("."), time_left(progress.seconds_left)) if part)
