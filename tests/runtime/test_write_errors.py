"""What a disk does, as a sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.runtime.write_errors import disk_errors, is_write_failure, write_reason

TARGET = Path("/data/out.tif")


def failure(number: int, *names: str) -> OSError:
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (failure(errno.ENOSPC), r"\(No space left on device\); make room"),
        (failure(errno.EDQUOT), r"\(Disk quota exceeded\); make room"),
        (failure(errno.EFBIG), r"\(File too large\); make room"),
        (failure(errno.EROFS), r"\(Read-only file system\); choose a folder in which you may write"),
        (failure(errno.EACCES), r"\(Permission denied\); choose a folder in which you may write"),
        (failure(errno.ESTALE), r"\(Stale file handle\); its folder is gone"),
        (failure(errno.ENOTCONN), r"\(Transport endpoint is not connected\); its folder is gone"),
        (failure(errno.EIO), r"\(Input/output error\); its folder is gone"),
        (failure(errno.ENAMETOOLONG), "name is too long"),
        (OSError("1000 requested and 0 written"), "make room"),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), "make room"),
    ],
)
def test_a_disk_that_fails_is_a_sentence(error: Exception, words: str) -> None:
    with (
        pytest.raises(WriteError, match=f"^/data/out.tif: .*{words}.*; the old one is kept\\.$"),
        disk_errors(TARGET, "the old one is kept"),
    ):
        raise error
    assert is_write_failure(error)
    assert write_reason(error)


def test_the_cause_of_an_error_counts() -> None:
    masked = ValueError("Can't close the ZIP file while there is an open writing handle on it")
    masked.__context__ = failure(errno.ENOSPC)
    with pytest.raises(WriteError, match="No space left"), disk_errors(TARGET):
        raise masked


@pytest.mark.parametrize("error", [InputError("a setting can't be used."), ValueError("a bug"), KeyboardInterrupt()], ids=repr)
def test_other_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, disk_errors(TARGET):
        raise error
    assert raised.value is error


def test_a_file_elsewhere_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(WriteError, match=r"out\.tif: it can't be written, since /net/in\.tif can't be opened \(Stale"), disk_errors(TARGET):
        raise failure(errno.ESTALE, "/net/in.tif")
    with pytest.raises(WriteError, match="its folder is gone"), disk_errors(TARGET):
        raise failure(errno.ESTALE, "/data/.out.tif.partial")
