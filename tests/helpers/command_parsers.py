"""The parsers of all commands and their actions, for tests that try each of them."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

from napari_virtual_paint.cli import COMMANDS
from napari_virtual_paint.cli._parser import CommandParser

Option = tuple[tuple[str, ...], argparse.Action]
"""Words that lead to a command, and an option or argument of it."""


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield the parser of each command and action, with the words that lead to it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, sub in action.choices.items():
            yield from leaves(sub, (*words, name))


def options() -> list[Option]:
    """All options and arguments of all commands."""
    found: list[Option] = []
    for name in COMMANDS:
        parser = CommandParser()
        importlib.import_module(f"napari_virtual_paint.cli.{name}").add_parser(parser.add_subparsers())
        for words, leaf in leaves(parser):
            found += [(words, action) for action in leaf._actions if not isinstance(action, argparse._HelpAction)]
    return found
