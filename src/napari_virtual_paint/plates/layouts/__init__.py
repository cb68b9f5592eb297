"""Layouts of plates on disk, one module each.

A module has ``recognizes(path) -> bool``, which looks at names only, and ``open_layout(request) -> Plate``, which reads the metadata and no
pixel. To add one, list it in `plates.opening.LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from napari_virtual_paint.errors import InputError

T = TypeVar("T")
_SHOWN = 24  # names of plates in an error

ChannelNames: TypeAlias = "Sequence[str] | Mapping[str, str] | None"
"""New names of the channels: in the source's order, or by the name or number that each has in the source."""


class SeveralPlatesError(InputError):
    """Several plates are where one is opened, and the user must choose.

    Attributes
    ----------
    names
        Names to choose from.
    """

    def __init__(self, path: object, names: Sequence[str], wanted: str | None) -> None:
        self.names = tuple(names)
        shown = ", ".join(self.names[:_SHOWN]) + (", ..." if len(self.names) > _SHOWN else "")
        none = "" if wanted is None else f", none called {wanted!r}"
        super().__init__(
            f"{path}: it holds {len(self.names)} plates ({shown}){none}; choose one by its name (--plate NAME) or open it alone."
        )


@dataclass(frozen=True)
class OpenRequest:
    """A plate to open."""

    path: Path  # A folder, a file or a glob; absolute
    pattern: str | None = None  # what the names of the files mean, if the user gave a pattern
    channels: ChannelNames = None  # the user's names of the channels
    plate: str | None = None  # name of the plate, if the user named one of several

    def choose(self, plates: Mapping[str, T]) -> tuple[T, str]:
        """Return the plate that the user named, of several by their names, and its name.

        Raises `SeveralPlatesError` if none, or no single one, has that name.
        """
        wanted = (self.plate or "").strip().strip("/").casefold()
        same = [name for name in plates if name.casefold() == wanted]
        if len(same) != 1:
            raise SeveralPlatesError(self.path, tuple(plates), self.plate)
        return plates[same[0]], same[0]

    @property
    def name(self) -> str:
        """The plate's name if the source has none."""
        return self.path.name.split(".")[0] or self.path.name

    def name_channels(self, tokens: Sequence[str], own: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return the channels' names: the user's, else the source's, else their tokens.

        Parameters
        ----------
        tokens
            How the source refers to each channel, for instance by number.
        own
            Token -> the source's name of the channel.

        Raises
        ------
        InputError
            If the user names more or fewer channels, one that does not exist, or two the same.
        """
        names = [(own or {}).get(token, token) for token in tokens]
        if isinstance(self.channels, Mapping):
            known = {**dict(zip(names, names, strict=True)), **dict(zip(tokens, names, strict=True))}
            unknown = next((key for key in self.channels if key not in known), None)
            if unknown is not None:
                raise InputError(f"{self.path}: it has no channel {unknown!r}; there are {', '.join(known)}.")
            named = [self.channels.get(token, self.channels.get(name, name)) for token, name in zip(tokens, names, strict=True)]
        else:
            named = list(names if self.channels is None else self.channels)
        if len(named) != len(tokens):
            raise InputError(f"{self.path}: {len(named)} channel names are given and it has {len(tokens)} ({', '.join(names)}).")
        if self.channels is not None and len(set(named)) < len(named):
            raise InputError(f"{self.path}: two channels have the same name ({', '.join(named)}); give each a different one.")
        return tuple(named)
