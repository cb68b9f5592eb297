"""How long a training would take, asked of a process of its own: it may need much memory, and must never hold napari up."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari_virtual_paint._napari.shared.cli_process import command, quiet, step_back
from napari_virtual_paint._napari.train.state import CONFIG, ImageFacts
from napari_virtual_paint.errors import VirtualPaintError

NOD = 0.1


@dataclass(frozen=True)
class Timed:
    """What was measured.

    Parameters
    ----------
    words
        As ``about 9 min on this CPU, 2 cores``.
    seconds, step
        Of the whole training, and of one step.
    """

    words: str
    seconds: float
    step: float


def shape_words(known: ImageFacts, text: str) -> str:
    """Return channels, stains and pixels in all, as ``--shape`` takes them; planes that are channels count as such."""
    channels, pixels = len(known.channels), known.times * known.sides[0] * known.sides[1]
    if "planes_as_channels: true" in text:
        channels *= known.planes[0]
    else:
        pixels *= known.planes[0]
    return f"{channels},{len(known.stains)},{pixels}"


def ask(text: str, known: ImageFacts | None) -> Generator[None, None, Timed]:
    """Have the first steps of a configuration timed.

    Parameters
    ----------
    text
        The configuration.
    known
        What the images are, where they are layers that lie in no file yet.

    Raises
    ------
    VirtualPaintError
        If it can't be told; the sentence says why.
    """
    with tempfile.TemporaryDirectory(prefix="virtual-paint-") as folder:
        path = Path(folder, CONFIG)
        path.write_text(text, "utf-8")
        shape = ["--shape", shape_words(known, text)] if known is not None else []
        line = command("train", str(path), "--estimate", "--json", *shape)
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **quiet())
        step_back(process.pid)
        try:
            while process.poll() is None:
                yield None
                time.sleep(NOD)
            out, errors = process.communicate()
        finally:
            if process.poll() is None:
                process.kill()
                with contextlib.suppress(OSError, ValueError):
                    process.communicate()
    if process.returncode:
        lines = [each for each in errors.decode("utf-8", "replace").splitlines() if each.startswith("virtual-paint: ")]
        words = lines[-1].removeprefix("virtual-paint: ") if lines else f"the steps can't be timed (exit code {process.returncode})."
        raise VirtualPaintError(words.replace(f"{path}: ", ""))
    found = json.loads(out)
    return Timed(str(found["words"]), float(found["seconds"]), float(found["seconds_a_step"]))
