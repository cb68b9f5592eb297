"""The command line, one module for each command.

A module has ``add_parser(subparsers)``, which adds the options, and ``run(args) -> int``, which does the work and returns the exit code.
To add a command, list it in `COMMANDS`. Only the module of the command that is run is imported, and none imports numpy before it runs, so
that ``--help`` is fast. Options that several commands share are in `_options`.
"""

from __future__ import annotations

import argparse
import atexit
import difflib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import VirtualPaintError

COMMANDS = {
    "models": "list, show, check, import and export models",
    "predict": "paint the stains of an image",
    "domain": "check how far images are from a model's training images",
    "evaluate": "score a prediction against the true stains",
    "register": "find the position of an image in a stain from another microscope",
    "train": "train a model from a configuration file",
    "study": "measure how well models generalise: train on each domain, test on each",
    "simulate": "simulate fields of cells with their true stains and labels",
    "cells": "describe tables of cells, measure cells, train models of them, generate them",
    "plate": "describe a plate, or paint all of it",
}
"""Name of a command, which is also that of its module -> one line of help."""

INTERRUPTED = 128 + signal.SIGINT  # exit code of a command that the user stopped
FAILED_FIELDS = 3  # exit code of a command on many fields of which some failed
ISSUES = "please report it with the command and this line at the project's issue tracker, and add --debug for the details"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    0: done. 1: it failed. 2: an option, a file or a model can't be used. 3: some fields failed. 130: stopped by the user.
    """
    atexit.register(_skip_garbage)
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    parser, module = _parser(arguments)
    args = parser.parse_args(arguments)
    if module is None:
        parser.print_help(sys.stderr)
        return 2
    return _guarded(module, args, debug=debug)


def _skip_garbage() -> None:
    """Keep Python from collecting garbage at exit, which takes a second if torch is loaded.

    DuckDB's objects must be collected: what is left of them is listed on stderr.
    """
    if "_duckdb" not in sys.modules:
        gc.freeze()


class _ArgumentParser(argparse.ArgumentParser):
    """A parser whose messages command no terminal, since names of files may be arguments."""

    def _print_message(self, message: str, file: Any = None) -> None:
        from napari_virtual_paint.runtime.text import printable

        super()._print_message(printable(message), file)


def _parser(arguments: Sequence[str]) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """Return the parser, and the module of the command in the arguments; of the other commands it has only the line of help."""
    parser = _ArgumentParser(prog="virtual-paint", description="Paint the stains of unstained images, and score them.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error; may be given anywhere")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        parser.error(f"there is no command {command!r}{suggestion(command, COMMANDS)}; there are {', '.join(COMMANDS)}")
    module = None
    for name, line in COMMANDS.items():
        if name == command:
            module = importlib.import_module(f"napari_virtual_paint.cli.{name}")
            module.add_parser(commands)
        else:
            commands.add_parser(name, help=line)
    return parser, module


def suggestion(word: str, known: Sequence[str] | dict[str, str]) -> str:
    """Return " (did you mean X?)" if a known word is close, else ""."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _guarded(module: ModuleType, args: argparse.Namespace, *, debug: bool) -> int:
    """Run a command; turn every error into one sentence on stderr and an exit code."""
    from napari_virtual_paint.cli._output import only_json_on_stdout, plain_warnings

    try:
        with plain_warnings(), only_json_on_stdout(bool(getattr(args, "json", False))):
            code = int(module.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); without this Python complains again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail("stopped; no output was written.", INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    """Print in one sentence what went wrong, and return the exit code."""
    if isinstance(error, VirtualPaintError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, MemoryError):
        return _fail("memory ran out; try a smaller --tile, or a smaller image.", 1)
    if isinstance(error, OSError) and error.filename is not None:
        return _fail(f"{os.fspath(error.filename)}: {error.strerror or error}.", 1)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("napari_virtual_paint"):
        return _fail(
            f"the package {error.name} is not installed; pip install 'napari-virtual-paint[all]' brings all that a command needs.", 1
        )
    words = " ".join(str(error).split())
    return _fail(f"an unexpected error, {type(error).__name__}: {words}; {ISSUES}.", 1)


def _fail(sentence: str, code: int) -> int:
    from napari_virtual_paint.runtime.text import printable

    print(f"virtual-paint: {printable(' '.join(sentence.split()))}", file=sys.stderr)
    return code
