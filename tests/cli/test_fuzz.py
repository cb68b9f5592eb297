"""Nonsense as the value of every option of every command: a sentence and exit code 2 or 1, never a traceback or "unexpected error".

The commands and options come from the parsers, so that a new one is tried as well. No value names an input that can be read, except in the
cases that are listed, so that nothing long begins.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from command_parsers import Option, options
from napari_virtual_paint.cli import COMMANDS, main

NASTY = (
    *("", " ", "-", "--", "---", "-1", "0", "1", "00", "-0", "1.5", "nan", "NaN", "inf", "-inf", "1e400", "1e-400", "0x10", "1_0"),
    *(
        "9" * 30,
        "9" * 5000,
        "-" + "9" * 30,
        "٣",
        "²",
        "½",
        "1,2",
        "1,2,3,4",
        ",",
        ",,",
        "=",
        "a=",
        "=a",
        "A=1,B",
        "A:B",
        ":",
        "::",
        "1:2:3",
    ),
    *("a\0b", "\0", "\udcff", "a\udcff.tif", "\x1b[31mred", "\x9b0m", "\r\n", "a\nb", "‮gpj", "😀", "é" * 200),
    *("x" * 300, "x" * 5000, "x" * 140_000, "/" * 300, "a/" * 3000, ".", "~", "~nobody/x", "/dev/null"),
    *(
        "/proc/self/mem",
        "*",
        "**",
        "?",
        "[",
        "[a",
        "[!",
        "{",
        "}",
        "{well}",
        "{}",
        "{0}",
        "%s",
        "%(x)s",
        "$HOME",
        "`id`",
        "$(id)",
        "|",
        ";",
    ),
    *(
        "None",
        "null",
        "true",
        "auto",
        "all",
        "A1",
        "A0",
        "ZZ99",
        "P24:A1",
        "A1:",
        "http://",
        "file:///etc/passwd",
        "s3://b/c",
        "C:\\x",
        "NUL",
    ),
    *('"', '"a', "'", "\\", "a\\", "(", ")", "\ufeff", "\ufffe", "a.tif", "a.ome.zarr", "a.zip", "a.csv", "a.yaml", "a.html", "a.gif"),
)


OPTIONS = options()
REQUIRED = {
    words: [
        part
        for action in (each for other, each in OPTIONS if other == words)
        if action.required or (not action.option_strings and action.nargs not in ("?", "*"))
        for part in ([action.option_strings[-1]] if action.option_strings else [])
        + (["absent.tif"] if action.choices is None else [str(next(iter(action.choices)))])
    ]
    for words in dict.fromkeys(words for words, _ in OPTIONS)
}
"""Words that lead to a command -> its required arguments, which name nothing that exists."""


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    try:
        code = main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    assert len(err) < 20_000, (words, "a sentence, not a book")
    return code, out + err


def check(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(words, capsys)
    assert code in (0, 1, 2), (words, text)
    assert "unexpected error" not in text, (words, text)
    assert "Traceback" not in text, (words, text)
    assert "\x1b" not in text, (words, text)
    assert "\x9b" not in text, (words, text)


def words_of(option: Option, value: str, joined: bool) -> list[str]:
    """Return a command line with one option of that value, and else what is required."""
    words, action = option
    required = list(REQUIRED[words])
    if not action.option_strings:
        return [*words, *(value if part == "absent.tif" else part for part in required[:1]), *required[1:], *([] if required else [value])]
    name = action.option_strings[-1]
    if name in required:
        place = required.index(name)
        del required[place : place + 2]
    if action.nargs == 0:
        return [*words, *required, f"{name}={value}" if joined else name]
    return [*words, *required, *([f"{name}={value}"] if joined else [name, value])]


@pytest.fixture(autouse=True)
def _away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without the network and without models of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HOME", str(tmp_path))

    def none(*_: object, **__: object) -> None:
        raise OSError("there is no network here")

    monkeypatch.setattr("socket.create_connection", none)
    monkeypatch.setattr("socket.getaddrinfo", none)


def starts_work(words: list[str]) -> bool:
    """Whether a command line would begin something long or write: all that is needed for it is given."""
    return words[0] == "simulate" and words[1:2] != ["--plate"]


def test_every_command_and_option_is_known() -> None:
    assert {words[0] for words, _ in OPTIONS} == set(COMMANDS)
    assert len(OPTIONS) > 150


@pytest.mark.timeout(600)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True, database=None)
@given(option=st.sampled_from(OPTIONS), value=st.sampled_from(NASTY) | st.text(max_size=20), joined=st.booleans())
@example(option=next(each for each in OPTIONS if "--tile" in each[1].option_strings), value="--", joined=True)
def test_nonsense_is_a_sentence(option: Option, value: str, joined: bool, capsys: pytest.CaptureFixture[str]) -> None:
    value = value if value.strip("./\\ ") or len(value) < 2 else "x"  # no folder outside, in which plates would be looked for
    words = words_of(option, "x" if value == "/" else value, joined)
    if starts_work(words):
        words = [words[0], "file", *words[2:]]
        Path("file").write_text("a file is where the output would be, so that nothing is simulated")
    check(words, capsys)


@pytest.mark.parametrize(
    "option", [each for each in OPTIONS if each[1].option_strings], ids=lambda each: " ".join((*each[0], each[1].option_strings[-1]))
)
def test_no_option_takes_two_dashes(option: Option, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*option[0], *REQUIRED[option[0]], f"{option[1].option_strings[-1]}=--"]
    code, text = said(words, capsys)
    assert code == 2
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "words",
    [
        ["cells", "measure", "image.tif", "-o", "t.csv", "--tile", "-1"],
        ["cells", "measure", "image.tif", "-o", "t.csv", "--scale", "nan"],
        ["cells", "measure", "image.tif", "-o", "t.csv", "--channels", "x" * 140_000],
        ["cells", "measure", "image.tif", "-o", "t\0.csv"],
        ["cells", "measure", os.fsdecode(b"\xff.tif"), "-o", "t.csv"],
        ["cells", "measure", "image.tif", "-o", f"{'x' * 300}.csv"],
        ["cells", "measure", "image.tif", "-o", "t.csv", "--workers", "-3"],
        ["predict", "image.tif", "-m", "jurkat-brightfield", "-o", f"{'x' * 300}.ome.tif"],
        ["predict", "image.tif", "-m", "jurkat-brightfield", "-o", "o.ome.tif", "--channels", "nan"],
        ["predict", "image.tif", "-m", "jurkat-brightfield", "-o", "o.ome.tif", "--tile", "9" * 30],
        ["predict", "image.tif", "-m", "jurkat-brightfield:", "-o", "o.ome.tif"],
        ["predict", "image.tif", "-m", "x" * 5000, "-o", "o.ome.tif"],
        ["register", "image.tif", "image.tif", "--scale", "nan"],
        ["register", "image.tif", "image.tif", "--rotation", "inf"],
        ["register", "image.tif", "image.tif", "--channel", "9" * 30],
        ["evaluate", "image.tif", "image.tif", "--noise-sd", "nan"],
        ["evaluate", "image.tif", "image.tif", "--noise-camera", "nan,1,1"],
        ["evaluate", "image.tif", "image.tif", "--level", "pixels", "-o", "r", "--gamma", "nan"],
        ["evaluate", "image.tif", "image.tif", "--level", "pixels", "-o", "r", "--seed", "-1"],
        ["simulate", "f", "--dose", "nan"],
        ["simulate", "f", "--pixel-size", "inf"],
        ["simulate", "f", "--seed", "-1"],
        ["simulate", "f", "--fields", "9" * 30],
        ["simulate", "f", "--batch", "-1"],
        ["simulate", "p.zarr", "--plate", "0x0"],
        ["simulate", "p.zarr", "--plate", "9" * 30 + "x1"],
        ["simulate", "p.zarr", "--plate", "1x1", "--doses", "nan"],
        ["simulate", "p.zarr", "--plate", "1x1", "--replicates", "-1"],
        ["plate", "predict", "image.tif", "-m", "jurkat-brightfield", "-o", "q.zarr", "--memory", "nan"],
        ["plate", "info", "image.tif", "--pattern", "{well"],
        ["plate", "info", "*[", "--pattern", "{}{}{}"],
        ["models", "import", "image.tif", "--name", "x", "--pixel-size", "nan"],
        ["models", "import", "image.tif", "--name", "x", "--range", "nan,inf"],
        ["models", "export", "jurkat-brightfield", "-o", f"{'x' * 300}.pt"],
        ["cells", "walk", "jurkat-cells", "--from", "9" * 30, "--to", "2", "-o", "w.gif"],
        ["cells", "walk", "jurkat-cells", "--from", "1", "--to", "2", "-o", "w.gif", "--rate", "nan"],
        ["cells", "walk", "jurkat-cells", "--from", "a=b=c", "--to", "=", "-o", "w.gif"],
        ["train", "nul.yaml"],
        ["study", "nul.yaml"],
        ["cells", "train", "nul.yaml"],
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_nonsense_on_an_image_that_can_be_read(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("image.tif", np.random.default_rng(0).integers(0, 4000, (64, 64), np.uint16))
    Path("nul.yaml").write_text('output: "a\\0b"\ndata: {csv: "c\\0d", images: ["e\\0f"], channels: [DNA]}\nid: x\nname: five letters\n')
    code, text = said(words, capsys)
    assert code == 2, text
    assert "unexpected" not in text
    assert "Traceback" not in text
    assert {each.name for each in Path().iterdir()} == {"image.tif", "nul.yaml"}, "nothing is left"


def test_a_result_with_letters_that_cannot_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    name = os.fsdecode(b"a\xff.tif")
    tifffile.imwrite(name, np.zeros((8, 8), np.uint8))
    code, _ = said(["plate", "info", name, "--pattern", "a{well}.tif"], capsys)
    assert code in (0, 2)
    assert main(["evaluate", name, name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["channels"]
