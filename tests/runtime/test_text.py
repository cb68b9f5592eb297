"""Durations and sizes in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import napari_virtual_paint
from napari_virtual_paint.runtime.text import (
    byte_size,
    counted,
    duration,
    elapsed,
    notes_of_files,
    printable,
    printable_json,
    rough_duration,
)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.7, "1 min 0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "25 h 0 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (61, "61 s"), (540, "9 min"), (7300, "2 h 0 min"), (12_000, "3 h 20 min"), (400_000, "5 days")]
)
def test_rough_duration(seconds: float, words: str) -> None:
    assert rough_duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 MiB"), (3 * 2**20, "3 MiB"), (2**30, "1.0 GiB"), (1.26 * 2**40, "1290.2 GiB")])
def test_byte_size(count: float, words: str) -> None:
    assert byte_size(count) == words


def test_control_characters_do_not_reach_a_terminal() -> None:
    text = "\x1b[2Ja\x07\x9b31m\u202egnp.exe\udc80\r\tµ\n"
    assert printable(text) == "<1b>[2Ja<07><9b>31m<202e>gnp.exe<dc80><0d>\tµ\n"
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text
    assert printable_json(json.dumps(text, ensure_ascii=False)).encode().isascii() is False  # letters stay as they are
    assert "\x9b" not in printable_json(json.dumps(text, ensure_ascii=False))


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (10.4, "10 s"), (75, "1 min 15 s")])
def test_elapsed(seconds: float, words: str) -> None:
    assert elapsed(seconds) == words


def test_no_module_formats_seconds_itself() -> None:
    root = Path(napari_virtual_paint.__file__).parent
    texts = {path.name: path.read_text("utf-8") for path in root.rglob("*.py")}
    assert [name for name, text in texts.items() if re.search(r"[sS]econds[^{}]*:\.\df\} s\b", text)] == ["text.py"]


@pytest.mark.parametrize(("number", "words"), [(0, "0 wells"), (1, "1 well"), (2, "2 wells")])
def test_one_thing_is_singular(number: int, words: str) -> None:
    assert counted(number, "well") == words


def test_each_note_is_said_once_with_a_file() -> None:
    found = [("a.tif", "No axes."), ("b.tif", "No size."), ("b.tif", "No axes."), ("a.tif", "No axes."), ("c.tif", "No axes.")]
    assert notes_of_files(found) == ["a.tif and 2 other files: No axes.", "b.tif: No size."]
    assert notes_of_files(found[:3]) == ["a.tif and 1 other file: No axes.", "b.tif: No size."]
    assert notes_of_files(found, most=1) == ["a.tif and 2 other files: No axes.", "And 1 further note of files."]
    assert notes_of_files([]) == []
