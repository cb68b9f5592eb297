"""Layouts: one module a way of storing a plate.

Each has ``found(path) -> bool``, which looks at names alone, and ``opened(request) -> Plate``, which reads metadata and no pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from napari_virtual_paint.errors import InputError

Names: TypeAlias = "Sequence[str] | Mapping[str, str] | None"
"""What the user calls the channels: in the source's order, or by the name or number that the source has for them."""


@dataclass(frozen=True)
class OpenRequest:
    """What is to be opened.

    Parameters
    ----------
    path
        A folder, a file or a glob; absolute.
    pattern
        How the names of files tell their place, where the user says so.
    channels
        What the user calls the channels.
    """

    path: Path
    pattern: str | None = None
    channels: Names = None

    @property
    def name(self) -> str:
        """The plate's name where the source has none."""
        return self.path.name.split(".")[0] or self.path.name

    def named(self, tokens: Sequence[str], own: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return the channels' names: the user's, else the source's, else what stands in the source for them.

        Parameters
        ----------
        tokens
            What stands in the source for each channel, such as a number.
        own
            Token -> the source's name of the channel.

        Raises
        ------
        InputError
            If the user names another number of channels, or one that is not there, or two the same.
        """
        names = [(own or {}).get(token, token) for token in tokens]
        if isinstance(self.channels, Mapping):
            known = {**dict(zip(names, names, strict=True)), **dict(zip(tokens, names, strict=True))}
            strange = next((key for key in self.channels if key not in known), None)
            if strange is not None:
                raise InputError(f"{self.path}: it has no channel {strange!r}; there are {', '.join(known)}.")
            named = [self.channels.get(token, self.channels.get(name, name)) for token, name in zip(tokens, names, strict=True)]
        else:
            named = list(names if self.channels is None else self.channels)
        if len(named) != len(tokens):
            raise InputError(f"{self.path}: {len(named)} names of channels are given and it has {len(tokens)} ({', '.join(names)}).")
        if self.channels is not None and len(set(named)) < len(named):
            raise InputError(f"{self.path}: two channels are called the same ({', '.join(named)}); give each a name of its own.")
        return tuple(named)
