"""Archives of unknown origin: what is refused before anything is unpacked, and the checksum of each entry."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from napari_virtual_paint.runtime.safe_zip import UnsafeZipError, entries, wrong_checksum


def archive(*pairs: tuple[str, bytes], compressed: bool = True) -> io.BytesIO:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as file:
        warnings.simplefilter("ignore")  # of two entries of one name
        for name, data in pairs:
            file.writestr(name, data)
    return out


def test_the_entries_of_a_plain_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive(("a/b.txt", b"one"), ("c.txt", b"two")).getvalue())
    assert [entry.filename for entry in entries(tmp_path / "a.zip", growth=20)] == ["a/b.txt", "c.txt"]


def test_a_bomb_is_refused_by_what_it_declares() -> None:
    bomb = archive(("zeros", bytes(10_000_000)))
    assert len(bomb.getvalue()) < 20_000
    with pytest.raises(UnsafeZipError, match="unpacks to 10,000,000 bytes"):
        entries(bomb, growth=20)
    assert len(entries(bomb, growth=20, free=20_000_000)) == 1
    assert len(entries(bomb)) == 1


@pytest.mark.parametrize(("second", "words"), [("a.pt", "'a.pt' twice"), ("A.PT", "both 'a.pt' and 'A.PT'")])
def test_two_entries_of_one_name_are_refused(second: str, words: str) -> None:
    with pytest.raises(UnsafeZipError, match=words):
        entries(archive(("a.pt", b"1"), (second, b"2")))


def test_two_entries_of_one_letter_are_refused() -> None:
    with pytest.raises(UnsafeZipError, match="twice"):
        entries(archive(("a", b"1"), ("a", b"2")))


def test_too_many_entries_are_refused_before_their_list_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    many = archive(*((str(number), b"") for number in range(1000)))
    assert len(entries(many, most=1000)) == 1000
    with pytest.raises(UnsafeZipError, match="1000 entries"):
        entries(many, most=999)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(UnsafeZipError, match="lists its entries"):
        entries(many, most=10)


def test_a_list_that_a_64_bit_record_measures() -> None:
    data = archive(*((str(number), b"") for number in range(100))).getvalue()
    at = data.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<II", data[at + 12 : at + 20])
    end = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 100, 100, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    last = data[at : at + 8] + b"\xff" * 12 + b"\0\0"
    longer = io.BytesIO(data[:at] + end + locator + last)
    assert len(entries(longer)) == 100
    with pytest.raises(UnsafeZipError, match="lists its entries"):
        entries(longer, most=5)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"PK\x03\x04" + bytes(100)])
def test_damage_is_a_bad_zip(data: bytes) -> None:
    with pytest.raises(zipfile.BadZipFile):
        entries(io.BytesIO(data))


def test_the_entry_whose_checksum_is_wrong_is_named() -> None:
    file = archive(("one", b"first"), ("two", b"second"), compressed=False)
    assert wrong_checksum(file) is None
    data = bytearray(file.getvalue())
    data[data.index(b"second")] ^= 1
    assert wrong_checksum(io.BytesIO(bytes(data))) == "two"
