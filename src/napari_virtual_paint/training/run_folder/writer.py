"""Write the run folder's files and read commands from it (`watch` is the other side)."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtual_paint.errors import Cancelled, InputError, VirtualPaintError, WriteError
from napari_virtual_paint.runtime.atomic_write import make_folder, remove_leftovers, updating, write_text
from napari_virtual_paint.runtime.lock_file import LOCK, OutputLock
from napari_virtual_paint.training.run_folder.watch import CONTROL, PREVIEW, PROGRESS, How, Preview, read_command, watch

SECOND = 1.0  # least seconds between two writes of ``progress.json``
LISTEN = 0.2  # seconds between two reads of ``control``
RECENT = 300  # number of recent losses that are kept


class RunFolderWriter:
    """Keep the files of a run up to date in a thread, so that a command is acknowledged during a long step.

    Parameters
    ----------
    folder
        The run folder; created if absent.
    id, package, monitor
        The model's id, the path of its package, and the metric that selects the best epoch.

    Attributes
    ----------
    stains
        Names of the stains, once known.
    """

    def __init__(self, folder: Path, id: str, package: Path, monitor: str = "pcc") -> None:
        self.folder, self.stains = folder, tuple[str, ...]()
        self._values: dict[str, Any] = {"id": id, "package": str(package), "monitor": monitor, "phase": "", "step": 0, "steps": 0}
        self._values["seconds_left"] = None
        self._state: How = "running"
        self._message = ""
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self._command: str | None = None
        self._lock = threading.Lock()
        self._output_lock = OutputLock(folder / f".{LOCK}", folder, "trained")
        self._over = threading.Event()
        # With several GPUs, only the first process writes and reads commands.
        self._mute = os.environ.get("LOCAL_RANK", "0") != "0"
        self._thread = threading.Thread(target=self._keep_up, name="virtual-paint run files", daemon=True)

    def __enter__(self) -> RunFolderWriter:
        """Start, unless another process works on the same run."""
        if self._mute:
            return self
        other = watch(self.folder) if (self.folder / PROGRESS).is_file() else None
        if other is not None and other.alive and other.pid != os.getpid():
            raise InputError(f"{self.folder}: process {other.pid} on {other.host} is already working on this run; stop it first.")
        make_folder(self.folder)
        remove_leftovers(self.folder)
        self._output_lock.__enter__()
        (self.folder / CONTROL).unlink(missing_ok=True)
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Record how the run ended."""
        if self._mute:
            return
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            (self.folder / CONTROL).unlink(missing_ok=True)
        self._values["seconds_left"] = None
        if error is None:
            self._state, self._message = "finished", f"The package is {self._values['package']}."
        elif isinstance(error, Cancelled | KeyboardInterrupt):
            self._state, self._message = "stopped", str(error) or "Stopped; the same command resumes."
        else:
            reason = str(error) if isinstance(error, VirtualPaintError) else f"{type(error).__name__}: {error}"
            self._state, self._message = "failed", " ".join(reason.split())
        self._write()
        self._output_lock.__exit__()

    @property
    def command(self) -> str | None:
        """The latest command."""
        return self._command

    @property
    def finishing(self) -> bool:
        """Whether the run is to end with what it has."""
        return self._command == "finish"

    def phase(self, name: str, steps: int = 0) -> None:
        """Start another phase; a pending stop takes effect here."""
        with self._lock:
            self._values.update(phase=name, seconds_left=None)
            if steps:
                self._values.update(step=0, steps=steps)
        self._stop_if_requested()

    def reading(self, done: float, total: float) -> None:
        """Record the number of images read; a pending stop takes effect here."""
        with self._lock:
            self._values.update(step=done, steps=total)
        self._stop_if_requested()

    def _stop_if_requested(self) -> None:
        if self._command == "stop":
            raise Cancelled(f"{self.folder}: training was stopped; its last checkpoint is kept, and the same command resumes it.")

    def step(self, step: int, seconds_left: float | None, loss: float | None = None) -> None:
        """Record a step, and the mean loss of the latest ones if it was read."""
        with self._lock:
            self._values.update(step=step, seconds_left=seconds_left)
            if loss is not None:
                self._recent.append((step, loss))

    def pause(self, on: bool) -> None:
        """Record that the run is paused or resumed."""
        self._state, self._message = ("paused", "Paused.") if on else ("running", "")

    def preview(self, preview: Preview) -> None:
        """Write the preview; a failure to write it does not stop the run."""
        with contextlib.suppress(OSError, WriteError), updating(self.folder / PREVIEW) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                input=preview.input,
                truth=preview.truth,
                painted=preview.painted,
                channels=np.array(preview.channels),
                stains=np.array(preview.stains),
                name=np.array(preview.name),
                step=np.array(preview.step),
                held_out=np.array(preview.held_out),
                pixel_size=np.array([np.nan if size is None else size for size in preview.pixel_size]),
            )

    def _keep_up(self) -> None:
        """Read commands, and write once a second."""
        written = time.monotonic()
        while not self._over.wait(LISTEN):
            command = read_command(self.folder)
            if command is not None and command != self._command:
                self._command = command
                self._message = {"stop": "Stopping after this step.", "finish": "Finishing.", "pause": "Pausing after this step."}.get(
                    command, ""
                )
            if time.monotonic() - written >= SECOND:
                written = time.monotonic()
                self._write()

    def _write(self) -> None:
        """Write ``progress.json``; a full disk stops nothing here, since the checkpoint will report it."""
        import psutil

        with self._lock:
            values = {**self._values, "recent": [(step, round(loss, 6)) for step, loss in self._recent]}
        values |= {"state": self._state, "message": self._message, "stains": self.stains, "pid": os.getpid(), "host": platform.node()}
        values |= {"born": psutil.Process().create_time(), "updated": time.time()}
        with contextlib.suppress(OSError, WriteError):
            write_text(self.folder / PROGRESS, json.dumps(values), durable=False)
