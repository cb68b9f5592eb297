"""What the scripts share that take pictures of docks."""

from __future__ import annotations

import time
from collections.abc import Callable

from qtpy.QtWidgets import QWidget

from napari_virtual_paint._napari import demo

PATIENCE = 3600.0
"""Seconds that work behind a picture may take, on a busy machine too."""


def dismiss(window: QWidget) -> None:
    """Close notifications, which would cover the picture."""
    for child in window.findChildren(QWidget):
        if type(child).__name__ == "NapariQtNotification":
            child.close()


def until(ready: Callable[[], bool]) -> None:
    """Let the viewer go on until something is so, and half a second longer; end the script if it never is."""
    if not demo.wait_until(ready, time.monotonic() + PATIENCE):
        raise SystemExit("It did not come to its end.")
    demo.wait_until(lambda: False, time.monotonic() + 0.5)
