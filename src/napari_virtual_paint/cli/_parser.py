"""The parser of all commands: whatever is wrong with the options is one sentence and exit code 2."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from napari_virtual_paint.runtime.text import one_line, printable

LONGEST = 400  # characters of a sentence on a wrong option
LARGEST_COUNT = 1_000_000  # largest number of anything that an option counts, unless it says otherwise
LARGEST_SEED = 2**32 - 1
DASHES = re.compile(r"(-[^-=]|--[^=]+)=?--")


class CommandParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` whose errors are short, free of control characters, and never a traceback."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # overloads
        """Parse the arguments; see `argparse.ArgumentParser.parse_known_args`."""
        for word in args or ():
            if word == "--":
                break
            if (found := DASHES.fullmatch(word)) is not None:
                # argparse takes "--" for the end of the options even here, and then has no value.
                self.error(f"argument {found[1]}: '--' is no value; give another one")
        try:
            return super().parse_known_args(args, namespace)
        except argparse.ArgumentError as error:
            self.error(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a value makes a conversion do, the value is wrong
            self.error(f"the options can't be read ({one_line(error)})")

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with code 2."""
        words = " ".join(printable(message).split())
        super().error(words if len(words) <= LONGEST else f"{words[: LONGEST // 2]}…{words[-LONGEST // 2 :]}")


def whole_number(least: int = 0, most: int = LARGEST_COUNT) -> Callable[[str], int]:
    """Return a conversion to a whole number between two."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"give a whole number from {least:,} to {most:,}, not {_shown(text)}")
        return value

    return convert


def number(least: float = float("-inf"), most: float = float("inf"), *, above: float | None = None) -> Callable[[str], float]:
    """Return a conversion to a finite number between two, ends included, or above one."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        finite = value == value and abs(value) != float("inf")
        if not finite or not least <= value <= most or (above is not None and value <= above):
            limits = [f"above {above:g}"] if above is not None else [f"of {least:g} or more"] if least > float("-inf") else []
            limits += [f"{most:g} at most"] if most < float("inf") else []
            raise argparse.ArgumentTypeError(f"give a number {' and '.join(limits)}, not {_shown(text)}".replace("  ", " "))
        return value

    return convert


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
