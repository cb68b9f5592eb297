"""The errors a user may meet: one sentence with the file or layer, what is wrong and what to do."""

from __future__ import annotations

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Error numbers of a disk on which nothing more can be written."""


class VirtualPaintError(Exception):
    """Base of every error that is meant to be read by a user. The command line ends with exit code 1."""

    exit_code = 1


class InputError(VirtualPaintError, ValueError):
    """What the user gave (a file, a setting, a channel) can't be used. Exit code 2."""

    exit_code = 2


class MissingFeaturesError(InputError):
    """A table of cells has too few of the features that a cell model takes."""


class ReadError(InputError):
    """A file could not be read.

    Parameters
    ----------
    path
        The file or folder.
    reason
        What is wrong and, where there is something to do, what to do about it.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        self.reason = reason.rstrip(".")
        super().__init__(f"{self.path}: {self.reason}.")

    def __reduce__(self) -> tuple[type[Exception], tuple[str, ...]]:
        """Travel between processes; by default an exception is made anew from its sentence alone."""
        return type(self), (self.path, self.reason)


class NamesError(ReadError):
    """The names of several files don't show how they are one image.

    Parameters
    ----------
    path
        The folder or the files.
    fault
        What is wrong.
    remedy
        What to do about it on the command line and from Python, where a pattern can be given.
    """

    def __init__(self, path: object, fault: str, remedy: str) -> None:
        self.fault, self.remedy = fault, remedy
        super().__init__(path, f"{fault}; {remedy}")

    def __reduce__(self) -> tuple[type[Exception], tuple[str, ...]]:
        """Travel between processes; by default an exception is made anew from its sentence alone."""
        return type(self), (self.path, self.fault, self.remedy)


class WriteError(VirtualPaintError):
    """A file could not be written; nothing half-written was left behind."""

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        self.reason = reason.rstrip(".")
        super().__init__(f"{self.path}: {self.reason}.")

    def __reduce__(self) -> tuple[type[Exception], tuple[str, str]]:
        """Travel between processes; by default an exception is made anew from its sentence alone."""
        return type(self), (self.path, self.reason)


class ModelError(InputError):
    """A model package can't be opened, checked or used with this image."""


class Cancelled(VirtualPaintError):  # noqa: N818 - the field's word for it, and it is no fault
    """The user stopped the work."""
