"""Count many fields, one after another or in several processes, and compare painted with real ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_virtual_paint.counting.agreement import Agreement, agreement_of
from napari_virtual_paint.counting.measurement import FLAGS, Column
from napari_virtual_paint.counting.outputs import joined
from napari_virtual_paint.counting.run import StackCount, count_stack
from napari_virtual_paint.counting.settings import KINDS, CountSettings
from napari_virtual_paint.counting.tracking import tracked
from napari_virtual_paint.errors import VirtualPaintError, WriteError
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.stack import Stack


@dataclass(frozen=True)
class CountField:
    """A field to count."""

    key: str  # its name in the tables
    well: str  # its well; empty without a plate
    read: Callable[[], Stack]  # returns its image
    source: str = ""  # ``painted`` or ``real``; empty where the image itself says which


@dataclass(frozen=True, eq=False)
class FieldCounts:
    """What many fields hold."""

    objects: Mapping[str, Column]
    """Columns of the table, a row per object: ``field``, ``well``, ``source``, and those of `StackCount.objects`."""
    fields: Sequence[Mapping[str, Any]]
    """A row per field and time point: ``field``, ``well``, ``source``, those of `StackCount.summary`, and ``reason`` where it failed."""
    segmenter: str
    version: str
    notes: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)  # key of a field that could not be counted -> why

    @property
    def main(self) -> str:
        """Source that totals are of: ``painted`` where there are painted and real images, else the only one."""
        sources = {str(row["source"]) for row in self.fields if not row["reason"]}
        return "painted" if len(sources) > 1 else next(iter(sources), "")

    @property
    def totals(self) -> dict[str, int]:
        """``nuclei`` and ``cells`` -> number of objects in all fields of the main source."""
        return {kind: self._sum(kind) for kind in KINDS}

    @property
    def flagged(self) -> dict[str, dict[str, int]]:
        """Kind -> flag -> number of objects of the main source that have it."""
        return {kind: {flag: self._sum(f"{kind}_{flag}") for flag in FLAGS} for kind in KINDS}

    def _sum(self, column: str) -> int:
        return sum(int(row.get(column) or 0) for row in self.fields if row["source"] == self.main)


def count_fields(
    fields: Sequence[CountField], settings: CountSettings, keep: Callable[[CountField, StackCount], object] | None = None
) -> Generator[Progress, None, FieldCounts]:
    """Count the nuclei and cells of fields.

    Parameters
    ----------
    fields
        The fields, at least one. One that can't be counted is reported and left out, unless it is the only one.
    settings
        How.
    keep
        Called with each counted field, to write its labels.

    Yields
    ------
    Progress
        In fields; each is a place to cancel.

    Raises
    ------
    InputError
        If no field can be counted.
    WriteError
        If `keep` raises it.
    """
    tables: list[dict[str, Column]] = []
    rows: list[Mapping[str, Any]] = []
    notes: list[str] = []
    failed: dict[str, str] = {}
    how = ("", "")
    last: VirtualPaintError | None = None
    for number, each in enumerate(fields):
        yield Progress(number, len(fields))
        try:
            stack = each.read()
            count = yield from relay(count_stack(stack, settings), _within(number, len(fields)))
            objects = tracked(count.objects) if settings.tracks else count.objects
        except WriteError:
            raise
        except VirtualPaintError as error:
            last = error
            failed[each.key] = one_line(error, 400)
            rows.append({"field": each.key, "well": each.well, "source": each.source, "reason": failed[each.key]})
            yield Progress(number + 1, len(fields), f"{each.key} can't be counted: {failed[each.key]}." if len(fields) > 1 else "")
            continue
        source = each.source or count.source
        if keep is not None:
            keep(each, count)
        how = (count.segmenter, count.version)
        notes += [note for note in (*stack.notes, *count.notes) if note not in notes]
        known = {"field": each.key, "well": each.well, "source": source}
        length = len(objects["label"])
        tables.append({**{name: np.full(length, value) for name, value in known.items()}, **objects})
        rows += [{**known, **row, "reason": ""} for row in count.summary]
    if last is not None and not tables:
        raise last
    yield Progress(len(fields), len(fields))
    return FieldCounts(joined(tables), [_complete(row) for row in rows], *how, tuple(notes), failed)


def agreements(counts: FieldCounts) -> dict[str, Agreement]:
    """Return the agreement of painted and real counts of each kind of object, over the fields that have both; empty without any."""
    by_source: dict[str, dict[tuple[str, int], Mapping[str, Any]]] = {"painted": {}, "real": {}}
    for row in counts.fields:
        if row["source"] in by_source and not row["reason"]:
            by_source[row["source"]][(row["field"], row["time"])] = row
    both = [key for key in by_source["painted"] if key in by_source["real"]]
    if not both:
        return {}
    return {kind: agreement_of(*([by_source[source][key][kind] for key in both] for source in ("painted", "real"))) for kind in KINDS}


def side_by_side(counts: FieldCounts) -> list[dict[str, Any]]:
    """Return a row per field and time point with both counts, and their difference."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for row in counts.fields:
        if not row["reason"]:
            own = rows.setdefault((row["field"], row["time"]), {name: row[name] for name in ("field", "well", "time")})
            own |= {f"{kind}_{row['source']}": row[kind] for kind in KINDS}
    found = [row for row in rows.values() if {"nuclei_painted", "nuclei_real"} <= row.keys()]
    return [{**row, **{f"{kind}_difference": row[f"{kind}_painted"] - row[f"{kind}_real"] for kind in KINDS}} for row in found]


def _complete(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that has counts, None for a field that failed."""
    first = ("field", "well", "source", "time", *KINDS, "reason")
    return {**{name: row.get(name) for name in first}, **row}


def _within(number: int, total: int) -> Callable[[Progress], Progress]:
    """Return what turns the progress of one field into that of all."""
    return lambda step: Progress(number + step.fraction, total, step.message)
