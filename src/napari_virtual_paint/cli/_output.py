"""Output of all commands: results, notes, progress and warnings."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from napari_virtual_paint.runtime.delimited_text import split_line
from napari_virtual_paint.runtime.progress import PROGRESS, EtaEstimator, Progress, time_left
from napari_virtual_paint.runtime.text import printable, printable_json

SPARSE_SECONDS = 10.0  # seconds between two lines of progress where stderr is no terminal

MOST_FAILURES = 5  # failed fields that are reported on stderr; the table of a job has all

STDOUT, STDERR = 1, 2  # file descriptors, the same in every process

_json_out: IO[str] | None = None  # the original stdout while `only_json_on_stdout` redirects everything else


@contextlib.contextmanager
def only_json_on_stdout(active: bool) -> Iterator[None]:
    """Redirect everything that is printed to stderr, except for `print_result`.

    The file descriptor itself is redirected, since libraries written in C bypass Python's ``sys.stdout``.
    """
    global _json_out
    if not active:
        yield
        return
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        _json_out = sys.stdout
        stack.callback(_forget_json_out)
        with contextlib.suppress(OSError, ValueError):  # in some programs stdout has no descriptor, or is closed
            saved = os.dup(STDOUT)
            stack.callback(_restore_stdout, saved)
            if sys.stdout.fileno() == STDOUT:
                _json_out = stack.enter_context(os.fdopen(os.dup(saved), "w", encoding="utf-8"))
            os.dup2(STDERR, STDOUT)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _forget_json_out() -> None:
    global _json_out
    _json_out = None


def _restore_stdout(saved: int) -> None:
    os.dup2(saved, STDOUT)
    os.close(saved)


def print_result(report: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a command.

    Parameters
    ----------
    report
        The object that ``--json`` prints; numbers that are not finite become null.
    text
        The text that is printed otherwise.
    as_json
        Whether ``--json`` was given.
    """
    out = _json_out or sys.stdout
    words = printable_json(json.dumps(jsonable(report), allow_nan=False, ensure_ascii=False, indent=2)) if as_json else printable(text)
    try:
        out.write(words + "\n")
    except UnicodeEncodeError:  # the terminal knows fewer letters
        plain = json.dumps(jsonable(report), allow_nan=False, indent=2) if as_json else words
        out.write(plain.encode("ascii", "backslashreplace").decode("ascii") + "\n")
    out.flush()


def print_note(text: str) -> None:
    """Print to stderr a sentence that is no result; where nobody can read it, the work goes on."""
    print_line(f"virtual-paint: {text}")


def print_line(text: str) -> None:
    """Print a line to stderr, if that can be written."""
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        silence(sys.stderr)
    except UnicodeEncodeError:
        print(printable(text).encode("ascii", "backslashreplace").decode("ascii"), file=sys.stderr, flush=True)


def silence(stream: Any) -> None:
    """Let what is still printed to a stream go nowhere: its reader is gone or its disk is full."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def print_notes(notes: Iterable[str]) -> None:
    """Print several sentences to stderr, one per line."""
    for note in notes:
        print_note(note)


def jsonable(value: Any) -> Any:
    """Return a value that JSON can hold: NaN becomes None, tuples lists, NumPy's numbers plain ones, and paths text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if hasattr(value, "item"):
        return jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def split_list(text: str) -> tuple[str, ...]:
    """Split ``A,B`` at its commas; a name with a comma must be in double quotes."""
    return tuple(name.strip() for name in split_line(text) if name.strip())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning once, as one line without source code, except for those that are for programmers."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        print_note(f"warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield


class ProgressBar:
    """Progress on stderr: a bar with the time left on a terminal, else a line now and then.

    Parameters
    ----------
    title
        What is being done.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Any = None
        self._eta = EtaEstimator()
        self._last = time.monotonic()

    @property
    def as_json(self) -> bool:
        """Whether the progress is read by a program (see `runtime.progress.PROGRESS`)."""
        return os.environ.get(PROGRESS) == "json"

    def __enter__(self) -> ProgressBar:
        """Return the bar, which appears with the first update."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def update(self, done: float, total: float, message: str = "", seconds_left: float | None = None) -> None:
        """Show how far the work is, in any unit, and a message if there is any; the time left is that of the pace where none is given."""
        if self.as_json:
            estimate = {} if seconds_left is None else {"seconds_left": round(seconds_left, 1)}
            print_line(json.dumps({"done": done, "total": total, "message": message, **estimate}))
            return
        if sys.stderr.isatty():
            with contextlib.suppress(OSError):  # the terminal is gone
                self._draw(done, total, printable(message))
            return
        if message:
            print_note(message)
        now = time.monotonic()
        pace = self._eta.left(done, total, now)
        left = time_left(pace if seconds_left is None else seconds_left)
        if now - self._last >= SPARSE_SECONDS and left and done < total:
            self._last = now
            print_note(f"{self._title}: {100 * done / total:.0f} %, about {left}")

    def show(self, step: Progress) -> None:
        """Show one report of a generator."""
        self.update(step.done, step.total, step.message, step.seconds_left)

    def _draw(self, done: float, total: float, message: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=100, desc=self._title, bar_format="{desc}: {percentage:3.0f} %|{bar}| {elapsed} gone, {remaining} left")
        if message:
            self._bar.write(printable(message), file=sys.stderr)
        self._bar.update(100 * done / max(total, 1e-9) - self._bar.n)
