"""The command line, one module for each command.

A module has ``add_parser(subparsers)``, which adds the options, and ``run(args) -> int``, which does the work and returns the exit code.
To add a command, list it in `COMMANDS`. Only the module of the command that is run is imported, and none imports numpy before it runs, so
that ``--help`` is fast. Options that several commands share are in `_options`.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import csv
import difflib
import errno
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from napari_virtual_paint._version import __version__
from napari_virtual_paint.cli._parser import CommandParser
from napari_virtual_paint.errors import VirtualPaintError, WriteError
from napari_virtual_paint.runtime.extras import skip_optional_imports
from napari_virtual_paint.runtime.stopping import StopSignals, at_the_very_end
from napari_virtual_paint.runtime.temporary import use_own_folder

COMMANDS = {
    "models": "list, show, check, rank, import and export models",
    "predict": "paint the stains of an image",
    "phase": "reconstruct the phase from brightfield planes at different focus",
    "domain": "check how far images are from a model's training images",
    "evaluate": "score a prediction against the true stains",
    "count": "find, measure and count nuclei and cells in painted or real stains",
    "register": "find the position of an image in a stain from another microscope",
    "train": "train a model from a configuration file",
    "teach": "teach a model on a few stained fields",
    "suggest": "name the wells of a plate whose staining would teach a model most",
    "study": "measure how well models generalize: train on each domain, test on each",
    "simulate": "simulate fields of cells with their true stains and labels",
    "cells": "describe tables of cells, measure cells, train models of them, generate them",
    "plate": "describe a plate, or paint all of it",
}
"""Name of a command, which is also that of its module -> one line of help."""

INTERRUPTED = 128 + signal.SIGINT  # exit code of a command that the user stopped
FAILED_FIELDS = 3  # exit code of a command on many fields of which some failed
LONGEST = 3000  # letters of an error, of which a name may be a hundred thousand
ISSUES = "please report it with the command and this line at the project's issue tracker, and add --debug for the details"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    0: done. 1: it failed. 2: an option, a file or a model can't be used. 3: some fields failed. 130: stopped by Ctrl-C. 143: stopped by
    SIGTERM or SIGHUP.
    """
    if argv is None:
        atexit.register(at_the_very_end)
    atexit.register(_skip_garbage)
    if argv is None:
        skip_optional_imports()
        _fill_descriptors()
    stop = StopSignals(to_the_end=argv is None)
    try:
        with stop:
            if argv is None:
                use_own_folder()
            code = _run(list(sys.argv[1:] if argv is None else argv), stop)
    except KeyboardInterrupt:
        code = _stopped()
    if stop.received is not None and code in (1, INTERRUPTED):
        code = stop.exit_code
    stop.leave(code)
    return code


def _run(arguments: list[str], stop: StopSignals) -> int:
    """Parse the arguments and run the command."""
    if any("\0" in argument for argument in arguments):
        return _fail("an argument has a NUL character in it, which no name of a file has; leave it out.", 2)
    if any(not argument or (argument.startswith("--") and argument.endswith("=")) for argument in arguments):
        # An empty path would be the folder that the command is called in.
        return _fail("an argument is empty, as that of a variable which is not set; give its value, or leave the option out.", 2)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    parser, module = _parser(arguments)
    args = parser.parse_args(arguments)
    if module is None:
        parser.print_help(sys.stderr)
        return 2
    code = _guarded(module, args, stop, debug=debug)
    stop.said = True
    return code


def _fill_descriptors() -> None:
    """Open the standard descriptors that whoever started this process closed: else the next file would become one of them."""
    with contextlib.suppress(OSError):
        while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(opened, True)
        os.close(opened)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _skip_garbage() -> None:
    """Keep Python from collecting garbage at exit, which takes a second if torch is loaded.

    DuckDB's objects must be collected: what is left of them is listed on stderr.
    """
    if "_duckdb" not in sys.modules:
        gc.freeze()


def _parser(arguments: Sequence[str]) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """Return the parser, and the module of the command in the arguments; of the other commands it has only the line of help."""
    parser = CommandParser(prog="virtual-paint", description="Paint the stains of unstained images, and score them.")
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


def _guarded(module: ModuleType, args: argparse.Namespace, stop: StopSignals, *, debug: bool) -> int:
    """Run a command; turn every error into one sentence on stderr and an exit code."""
    from napari_virtual_paint.cli._output import only_json_on_stdout, plain_warnings, silence

    try:
        with plain_warnings(), only_json_on_stdout(bool(getattr(args, "json", False))):
            code = int(module.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); without this Python complains again at exit.
        silence(sys.stdout)
        return 1
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:
        if stop.received is not None:  # a library made something else of the interrupt
            return _stopped()
        if debug:
            raise
        return _explain(error, args, getattr(module, "RESUMES", ""))


def _stopped() -> int:
    return _fail("stopped; nothing half-written is left.", INTERRUPTED)


def _explain(error: Exception, args: argparse.Namespace, kept: str) -> int:
    """Print in one sentence what went wrong, and what was kept if a disk is at fault; return the exit code."""
    if isinstance(error, WriteError) and kept and "same command" not in str(error):
        return _fail(f"{str(error).rstrip('.')}; {kept}.", error.exit_code)
    if isinstance(error, VirtualPaintError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, MemoryError):
        return _fail("memory ran out; try a smaller --tile, or a smaller image.", 1)
    if isinstance(error, OSError):
        return _explain_os_error(error, args, kept)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("napari_virtual_paint"):
        return _fail(
            f"the package {error.name} is not installed; pip install 'napari-virtual-paint[all]' brings all that a command needs.", 1
        )
    words = " ".join(str(error).split())
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return _fail("a name has letters that are no UTF-8, which a library needs; rename the file or folder.", 2)
    if isinstance(error, ValueError) and "null" in words and ("byte" in words or "character" in words):
        return _fail("a path has a NUL character in it, which no name of a file has; correct the table or configuration.", 2)
    if isinstance(error, csv.Error):
        return _fail(f"a table or list can't be read ({words}); check that it is text with one value a column.", 2)
    return _fail(f"an unexpected error, {type(error).__name__}: {words}; {ISSUES}.", 1)


def _explain_os_error(error: OSError, args: argparse.Namespace, kept: str) -> int:
    """Print what a disk did, with the path; return the exit code."""
    from napari_virtual_paint.cli._output import silence
    from napari_virtual_paint.runtime.outputs import shown_path
    from napari_virtual_paint.runtime.write_errors import FULL, write_reason

    if error.errno == errno.ENAMETOOLONG:
        return _fail(f"{shown_path(error.filename or 'a path')}: the name is too long; choose a shorter one.", 2)
    if error.filename is None:
        if _is_closed(sys.stdout):
            silence(sys.stdout)
            return _fail(f"the result can't be printed ({error.strerror or error}).", 1)
        path = getattr(args, "output", None) or "the output"
        return _fail(f"{shown_path(path)}: {write_reason(error)}{f'; {kept}' if kept else ''}.", 1)
    path = shown_path(os.fsdecode(os.fspath(error.filename)))
    if error.errno in FULL:
        return _fail(f"{path}: {write_reason(error)}{f'; {kept}' if kept else ''}.", 1)
    return _fail(f"{path}: {error.strerror or error}{f'; {kept}' if kept else ''}.", 1)


def _is_closed(stream: object) -> bool:
    """Return whether nothing more can be printed to a stream."""
    try:
        stream.write("")  # type: ignore[attr-defined]
        stream.flush()  # type: ignore[attr-defined]
    except (OSError, ValueError):
        return True
    return False


def _fail(sentence: str, code: int) -> int:
    from napari_virtual_paint.cli._output import print_note

    words = " ".join(sentence.split())
    print_note(words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} … {words[-LONGEST // 2 :]}")
    return code
