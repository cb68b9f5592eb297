"""Read records from the XML files of microscopes: streamed, so that an index of 100 MB takes seconds and little memory.

A document type (DTD) is refused: entities, and so entity bombs, are declared there, and no microscope writes one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeAlias
from xml.parsers import expat

from napari_virtual_paint.errors import ReadError

Record: TypeAlias = dict[str, str]
"""One element: its attributes by name, its text under "", a child's text by the child's name, a child's attribute as ``child@name``."""


def read_records(path: Path, kinds: Collection[str], children: Collection[str] = ()) -> dict[str, list[Record]]:
    """Return the elements of some kinds, in the file's order.

    Parameters
    ----------
    kinds
        Elements to read, as ``name`` or ``parent/name``, without namespace prefixes. None may be within another of the same name.
    children
        Names of the elements below them to read.

    Returns
    -------
    dict
        Kind -> its records, which may be none.

    Raises
    ------
    ReadError
        If the file is missing, damaged, or has a document type.
    """
    collector = _Collector(path, frozenset(kinds), frozenset(children))
    try:
        with path.open("rb") as file:
            collector.parser.ParseFile(file)
    except expat.ExpatError as error:
        raise ReadError(
            path, f"it is damaged or was cut off (line {error.lineno}: {expat.ErrorString(error.code)}); copy it again"
        ) from error
    return collector.found


def text_records(text: str, path: Path, kinds: Collection[str], children: Collection[str] = ()) -> dict[str, list[Record]]:
    """Return the elements of some kinds in XML that is part of another file; see `read_records`."""
    collector = _Collector(path, frozenset(kinds), frozenset(children))
    try:
        collector.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ReadError(path, f"the XML in it is damaged ({expat.ErrorString(error.code)})") from error
    return collector.found


class _LocalNames(dict[str, str]):
    """Tag or attribute in the file -> its name without namespace prefix, "" if it is none of some names; a cache."""

    def __init__(self, names: frozenset[str] | None = None) -> None:
        self._names = names  # None for all names

    def __missing__(self, tag: str) -> str:
        name = tag.rpartition(":")[2]
        self[tag] = name if self._names is None or name in self._names else ""
        return self[tag]


class _Collector:
    """Handlers of a parser, called a million times: an element that is not read costs only a look-up and a comparison."""

    def __init__(self, path: Path, kinds: frozenset[str], children: frozenset[str]) -> None:
        self.found: dict[str, list[Record]] = {kind: [] for kind in kinds}
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self._path, self._kinds, self._names, self._attributes = path, kinds, _LocalNames(children), _LocalNames()
        self._parents: list[str] = []
        self._record: Record | None = None
        self._tag = self._open = ""
        self._text: list[str] = []
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._doctype
        # A built-in method, which is faster than a Python function; unused text is dropped with the next element that is read.
        self.parser.CharacterDataHandler = self._text.append

    def _doctype(self, *_: object) -> None:
        raise ReadError(self._path, "it declares a document type (DTD), which no microscope writes; for safety it is not opened")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._record is None:
            self._outside(tag, attributes)
        elif name := self._names[tag]:
            for key, value in attributes.items():
                self._record[f"{name}@{self._attributes[key]}"] = value
            self._open = tag
            self._text.clear()

    def _outside(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element outside any record; it may begin one."""
        name = self._attributes[tag]
        kind = f"{self._parents[-1]}/{name}" if self._parents else name
        self._parents.append(name)
        kind = name if name in self._kinds else kind
        if kind in self._kinds:
            names = self._attributes
            self._record = {names[key]: value for key, value in attributes.items()}
            self._tag = self._open = tag
            self.found[kind].append(self._record)
        self._text.clear()

    def _end(self, tag: str) -> None:
        if tag == self._open and self._record is not None:
            text = "".join(self._text).strip()
            if text:
                self._record["" if tag == self._tag else self._names[tag]] = text
            self._open = ""
        if self._record is None:
            self._parents.pop()
        elif tag == self._tag:
            self._record = None
            self._parents.pop()
