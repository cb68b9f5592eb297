"""Names that instruments give their files, as regular expressions, and what their parts mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

NameParts: TypeAlias = dict[str, str]  # part of a name (well, field, channel, z, t) -> its text in the name of one file

KEYS = ("well", "field", "channel", "z", "t")  # parts that a name may have
PROJECTION = "projection"  # z of an image that is a projection of the others

WELL = r"(?:[A-Pa-p]|[Aa][A-Fa-f])\d{1,2}(?:\.[A-Da-d][1-4])?"
"""A well: A01, a1, AF48 (of 1536), and A01.a1 to A01.d4, which are the 16 wells of 1536 where a plate of 96 has A01."""
_GUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"

INSTRUMENT_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        # Opera Phenix (Harmony): r02c03f01p05-ch1sk1fk1fl1; of older ones 002003-1-005001001
        r"(?i:(?P<well>r\d+c\d+)f(?P<field>\d+)p(?P<z>\d+)-ch(?P<channel>\d+)sk(?P<t>\d+)fk\d+fl\d+)",
        r"(?i:(?P<well>r\d+c\d+)f(?P<field>\d+)(?:p(?P<z>\d+))?-?ch(?P<channel>\d+)(?:(?:sk|t)(?P<t>\d+))?(?:fk\d+)?(?:fl\d+)?)",
        r"(?P<row1>\d{3})(?P<column1>\d{3})-(?P<field>\d+)-(?P<z>\d{3})(?P<t>\d{3})(?P<channel>\d{3})",
        # Yokogawa CV7000 and CV8000: plate_A01_T0001F001L01A01Z01C01; CQ1: W0001F0001T0001Z001C1
        rf"(?:.*_)?(?P<well>{WELL})_T(?P<t>\d+)F(?P<field>\d+)L\d+A\d+Z(?P<z>\d+)C(?P<channel>\d+)",
        r"(?P<well>W\d{3,})F(?P<field>\d+)T(?P<t>\d+)Z(?P<z>\d+)C(?P<channel>\d+)",
        # ImageXpress: plate_A01_s1_w1 and a GUID; no _s where there is one site, no _w where there is one channel
        rf"(?:.*_)?(?P<well>{WELL})(?:_s(?P<field>\d+))?(?:_z(?P<z>\d+))?_w(?P<channel>\d+)(?:_t(?P<t>\d+))?(?:{_GUID})?",
        rf"(?:.*_)?(?P<well>{WELL})(?:_s(?P<field>\d+))?_w(?P<channel>\d+)_z(?P<z>\d+)(?:_t(?P<t>\d+))?(?:{_GUID})?",
        rf"(?:.*_)?(?P<well>{WELL})_s(?P<field>\d+)(?:_z(?P<z>\d+))?(?:_t(?P<t>\d+))?(?:{_GUID})?",
        rf"(?:.*_)?(?P<well>{WELL}){_GUID}",
        # IN Cell: A - 01(fld 1 wv DAPI - DAPI z 3 time 2 - 2636ms); of 7.2: A_01_f2_c1_xUV_mDAPI_z3_t2
        r"(?P<well>[A-Za-z]{1,2} - \d+)\((?:fld (?P<field>\d+))?(?: ?wv (?P<channel>.+?))?(?: z (?P<z>\d+))?(?: time (?P<t>\d+).*)?\)",
        r"(?P<well>(?:[A-Pa-p]|[Aa][A-Fa-f])_\d+)_f(?P<field>\d+)_c(?P<channel>\d+)_x(?P<light>.*)_m(?P<stain>.*)_z(?P<z>\d+)_t(?P<t>\d+)",
        # EVOS: scan_R_p1_z1_0_E01f09d0; Cellomics: plate1i3t001E01f08d0, plate_D03f00d1
        rf".*_p\d+(?:_z(?P<z>\d+))?_(?P<t>\d+)_(?P<well>{WELL})f(?P<field>\d+)d(?P<channel>\d+)",
        rf".*?i\d+t(?P<t>\d+)(?P<well>{WELL})f(?P<field>\d+)d(?P<channel>\d+)",
        rf"(?:.*_)?(?P<well>{WELL})f(?P<field>\d+)d(?P<channel>\d+)",
        # BD Pathway: Well A01/Dapi - n000000
        rf"[Ww]ell (?P<well>{WELL})/(?P<channel>.+?) - n(?P<field>\d+)",
        # Micro-Manager 2 and 1.4: img_channel000_position001_time000000000_z002, img_000000000_DAPI_002, below A1-Site_0 of a plate
        rf"(?P<well>{WELL})-Site_(?P<field>\d+)/img_(?P<t>\d{{9}})_(?P<channel>.+)_(?P<z>\d{{3}})",
        rf"(?P<well>{WELL})-Site_(?P<field>\d+)/img_channel(?P<channel>\d+)_position\d+_time(?P<t>\d+)_z(?P<z>\d+)",
        rf"(?P<well>{WELL})/img_channel(?P<channel>\d+)_position(?P<field>\d+)_time(?P<t>\d+)_z(?P<z>\d+)",
        r"img_channel(?P<channel>\d+)_position(?P<field>\d+)_time(?P<t>\d+)_z(?P<z>\d+)",
        r"img_(?P<t>\d{9})_(?P<channel>.+)_(?P<z>\d{3})",
        # Incucyte: Phase_A1_1_2023y01m31d_10h00m, VID7_A1_1_00d04h00m
        rf"(?:(?P<prefix>.*)_)?(?P<well>{WELL})_(?P<field>\d+)_(?P<t>(?:\d{{4}}y\d{{2}}m)?\d{{2}}d_?\d{{2}}h_?\d{{2}}m)",
        # Nikon: WellA01_PointA01_0000_ChannelDAPI_Seq0000 (JOBS; all channels in one file are named with commas), E01xy09c1
        rf"(?:.*_)?Well(?P<well>{WELL})(?:_Point.*?)?_(?P<field>\d+)_Channel(?P<channel>.+?)?(?:_Seq\d+)?",
        rf"(?:.*_)?Well(?P<well>{WELL})(?:_Point[^_]*)?_Channel(?P<channel>.+?)?_Seq(?P<field>\d+)",
        rf"(?:.*_)?Well(?P<well>{WELL})_Point(?P<field>\d+)(?:_Seq\d+)?",
        rf"(?:.*_)?(?P<well>{WELL})(?:t(?P<t>\d+))?xy(?P<field>\d+)(?:z(?P<z>\d+))?(?:c(?P<channel>\d+))?",
        # Leica Matrix Screener: U is the well's column, V its row; ScanR: E1--W00097--P00009--Z00000--T00000--DAPI
        r"image--.*?--U(?P<column0>\d+)--V(?P<row0>\d+)--.*?X(?P<x>\d+)--Y(?P<y>\d+)--T(?P<t>\d+)--Z(?P<z>\d+)--C(?P<channel>\d+)",
        rf"(?P<well>{WELL})--W\d+--P(?P<field>\d+)--Z(?P<z>\d+)--T(?P<t>\d+)--(?P<channel>.+)",
        # Cytation (Gen5): well, step of reading, number of the channel, image in the well, channel, reading
        rf"(?P<well>{WELL})_(?P<step>-?\d+)_(?P<index>\d+)_(?P<field>\d+)(?:Z(?P<z>\d+))?_(?P<channel>[^_]*[A-Za-z][^_]*)_(?P<t>\d+)",
        # CellProfiler's ExampleSBS: Channel1-01-A-01
        r"Channel(?P<channel>\d+)-\d+-(?P<well>[A-P]-\d+)",
        # Zeiss ZEN, scenes split: plate-Scene-01-P1-B02
        rf".*-Scene-\d+-(?:P(?P<field>\d+)-)?(?P<well>{WELL})(?:-(?P<channel>.+))?",
        # {well}_{field}_{channel}_{z} and its shorter forms
        rf"(?P<well>{WELL})_(?P<field>[fs]?\d+)_(?P<channel>[^_]*[A-Za-z][^_]*)_(?P<z>z?\d+)",
        rf"(?P<well>{WELL})_(?P<field>[fs]?\d+)_(?P<channel>[^_]*[A-Za-z][^_]*)",
        rf"(?P<well>{WELL})_(?P<channel>[^_]*[A-Za-z][^_]*)",
    )
)
"""Tried in this order on names without suffix; one with a slash is of the file and its folder."""


def match_instrument(names: Sequence[str]) -> list[NameParts] | None:
    """Return the parts of names by the first pattern that all of them follow, or None."""
    for pattern in INSTRUMENT_NAMES:
        matches = follow(names, pattern)
        if None in matches:
            continue
        parts = _meaning([match for match in matches if match is not None])
        if parts is not None:
            return parts
    return None


def follow(names: Sequence[str], pattern: re.Pattern[str]) -> list[NameParts | None]:
    """Return the groups of a pattern in each name; all None if the first name does not follow it."""
    depth = pattern.pattern.count("/")

    def match(name: str) -> NameParts | None:
        found = pattern.fullmatch("/".join(name.split("/")[-1 - depth :]))
        return None if found is None else {key: text for key, text in found.groupdict().items() if text is not None}

    if not names or match(names[0]) is None:
        return [None] * max(len(names), 1)
    return [match(name) for name in names]


def most_that_follow(names: Sequence[str]) -> tuple[list[NameParts | None], int]:
    """Return the parts of the names that follow the pattern which most of them follow, None for the others, and how many follow it."""
    best: tuple[list[NameParts | None], int] = ([None] * len(names), 0)
    for pattern in INSTRUMENT_NAMES:
        if "(?P<well>" not in pattern.pattern and "(?P<row" not in pattern.pattern:
            continue
        depth = pattern.pattern.count("/")
        there = [i for i, name in enumerate(names) if pattern.fullmatch("/".join(name.split("/")[-1 - depth :]))]
        parts = (
            _meaning([match for match in follow([names[i] for i in there], pattern) if match is not None]) if len(there) > best[1] else None
        )
        if parts is not None:
            found: list[NameParts | None] = [None] * len(names)
            for i, each in zip(there, parts, strict=True):
                found[i] = each
            best = (found, len(there))
    return best


def _meaning(matches: Sequence[NameParts]) -> list[NameParts] | None:
    """Return the parts of names from the groups of a pattern; None if it can't be what the names mean."""
    parts = [_place(match) for match in matches]
    if len({frozenset(each.keys() - {"z", "t"}) for each in parts}) != 1 or _is_channel_token(parts):
        return None
    for each, match in zip(parts, matches, strict=True):
        if "," in each.get("channel", "") and "prefix" not in match:
            each.pop("channel")  # all channels are in the one file
    _name_channels(parts, matches)
    return parts


def _place(match: NameParts) -> NameParts:
    """Return the parts of one name."""
    part = {key: match[key] for key in KEYS if key in match}
    if "row0" in match:
        part["well"] = f"r{int(match['row0']) + 1:02d}c{int(match['column0']) + 1:02d}"
    elif "row1" in match:
        part["well"] = f"r{match['row1']}c{match['column1']}"
    if "x" in match:
        part["field"] = f"{match['x']}_{match['y']}"
    if part.get("well", "").startswith("W") and int(part.get("z", "1")) == 0:
        part["z"] = PROJECTION  # a CQ1 counts planes from 1
    return part


def _is_channel_token(parts: Sequence[NameParts]) -> bool:
    """Return whether wells are likely to be numbers of channels, fields ... (``img_c01_s1``): small, and all of the same letter.

    A channel that is the number of something else (``A01_s1``) is none.
    """
    if all(re.fullmatch(r"[sfzt]\d+", each.get("channel", "")) for each in parts):
        return True
    texts = {each.get("well", "") for each in parts}
    letters = {text[:1] for text in texts}
    return "channel" not in parts[0] and len(letters) == 1 and letters <= set("cfptsz") and all(text[1:].isdigit() for text in texts)


def _name_channels(parts: Sequence[NameParts], matches: Sequence[NameParts]) -> None:
    """Name channels by their stain, where each has one of its own, and by a prefix that differs; tell images apart by step and index."""
    stains = {
        (each["channel"], match["stain"], match.get("light", "")) for each, match in zip(parts, matches, strict=True) if "stain" in match
    }
    if stains:
        short = dict((number, stain) for number, stain, _ in stains)
        long = dict((number, f"{light} - {stain}") for number, stain, light in stains)
        names = next((each for each in (short, long) if len(set(each.values())) == len(stains) == len(each)), None)
        for each in parts if names is not None else ():
            each["channel"] = names[each["channel"]]  # type: ignore[index]
    if len({match.get("prefix", "") for match in matches}) > 1:
        for each, match in zip(parts, matches, strict=True):
            each["channel"] = match.get("prefix", "")
    for extra in ("index", "step"):
        if any(extra in match for match in matches) and len({tuple(sorted(each.items())) for each in parts}) < len(parts):
            for each, match in zip(parts, matches, strict=True):
                each["field"] = f"{match[extra]}_{each['field']}"
