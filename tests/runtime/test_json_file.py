"""JSON files of the program, which may be absent or damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint.runtime.json_file import read_object


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"µm": [1, null]}', "utf-8")
    assert read_object(tmp_path / "a.json") == {"µm": [1, None]}


@pytest.mark.parametrize("content", [b"[1]", b"null", b'{"half": ', b"", b"\xff\xfe", b"[" * 100_000])
def test_anything_else_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert read_object(tmp_path / "a.json") is None
    assert read_object(tmp_path / "absent.json") is None
    assert read_object(tmp_path) is None
