"""Parse CellProfiler's feature names: compartment, group, channels, measure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

GROUPS = (
    "AreaShape",
    "Intensity",
    "Texture",
    "Granularity",
    "RadialDistribution",
    "Correlation",
    "Neighbors",
    "Location",
    "Children",
    "Parent",
    "Number",
    "ObjectSkeleton",
    "Distance",
    "Math",
    "Classify",
    "TrackObjects",
    "Overlap",
    "Mean",
    "Median",
    "Min",
    "Max",
    "StDev",
)
"""CellProfiler's groups of measurements: the word after the compartment. The last five summarize an object's children."""

COMPARTMENTS = ("Nuclei", "Cells", "Cytoplasm")  # the usual compartments, nucleus first

IMAGE, METADATA = "Image", "Metadata"
_KEYS = ("ImageNumber", "ObjectNumber", "TableNumber")
_OF_CHILDREN = ("Mean", "Median", "Min", "Max", "StDev")

_NUMBERED = re.compile(r"(ObjectNumber|Number_Object_Number)$|(^|_)Parent_.+$")
_PLACE = re.compile(
    r"Center(?:_|$)|BoundingBox"
    # Moments depend on the object's position and orientation; area, axes and orientation carry the same information.
    r"|(?:Spatial|Central|Normalized|Hu)Moment|InertiaTensor"
    r"|ZernikePhase"
)
_ANGLES = ("Orientation", "AngleBetweenNeighbors")
_AREAS = ("Area", "ConvexArea", "FilledArea", "BoundingBoxArea", "SurfaceArea")
_LENGTHS = (
    "EquivalentDiameter",
    "MajorAxisLength",
    "MinorAxisLength",
    "Perimeter",
    "MaxFeretDiameter",
    "MinFeretDiameter",
    "MaximumRadius",
    "MeanRadius",
    "MedianRadius",
    "Center",
    "BoundingBoxMinimum",
    "BoundingBoxMaximum",
    "MassDisplacement",
    "FirstClosestDistance",
    "SecondClosestDistance",
    "TotalObjectSkeletonLength",
)


@dataclass(frozen=True)
class Feature:
    """A parsed feature name."""

    name: str
    """The whole name, ``Cells_RadialDistribution_FracAtD_DNA_1of4``."""
    compartment: str
    """The measured object, ``Cells``; empty where the name has none."""
    group: str
    """CellProfiler's module, ``RadialDistribution``."""
    channels: tuple[str, ...]
    """The measured images, ``("DNA",)``; two for a correlation, none for a shape."""
    measure: str
    """The measure with its parameters but without the channels: ``FracAtD_1of4``, ``Contrast_3_00_256``, ``Zernike_4_2``."""


def parse(name: str, channels: Iterable[str] = ()) -> Feature:
    """Parse a feature name.

    Parameters
    ----------
    name
        A CellProfiler name, with or without the compartment in front.
    channels
        The channels' names, needed where a channel has an underscore or ends in a number and its limits are ambiguous:
        ``Correlation_Correlation_mito_tubeness_DNA``. Channels of a correlation that can't be separated are returned as one.

    Returns
    -------
    Feature
        A name that is not CellProfiler's has an empty group and is its own measure.
    """
    return _parse(name, tuple(sorted(set(channels), key=lambda channel: (-len(channel), channel))))


@lru_cache(maxsize=65536)
def _parse(name: str, channels: tuple[str, ...]) -> Feature:
    """Parse with channels sorted, longest first, so that ``DNA_old`` is not taken for ``DNA``."""
    parts = name.split("_")
    place = next((i for i, part in enumerate(parts) if part in GROUPS), None)
    if place is None:
        if parts[0] in COMPARTMENTS and len(parts) > 1:
            return Feature(name, parts[0], parts[1], (), "_".join(parts[2:]) or parts[1])
        return Feature(name, "", "", (), name)
    group, rest = parts[place], parts[place + 1 :]
    found, measure = _taken_apart(group, rest, channels)
    return Feature(name, "_".join(parts[:place]), group, found, measure)


def _taken_apart(group: str, parts: list[str], channels: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return channels and measure of the words after the group."""
    if group in ("Intensity", "Granularity", "ObjectSkeleton"):
        return _joined(parts[1:]), "_".join(parts[:1])
    if group == "Location":
        ends = 2 if len(parts) > 1 and parts[1] in ("X", "Y", "Z") else 1
        return _joined(parts[ends:]), "_".join(parts[:ends])
    if group == "Correlation":
        return _pair(parts[1:], channels), "_".join(parts[:1])
    if group in ("Texture", "RadialDistribution"):
        own, numbers = _numbered(group, parts[1:], channels)
        return _joined(own), "_".join([*parts[:1], *numbers])
    return (), "_".join(parts)


def _joined(parts: Sequence[str]) -> tuple[str, ...]:
    """Return one channel from its words, or none."""
    return ("_".join(parts),) if parts else ()


def _pair(parts: list[str], channels: tuple[str, ...]) -> tuple[str, ...]:
    """Split the two channels of a correlation: by the known names, else where only one split is possible."""
    text = "_".join(parts)
    for first in channels:
        if text.startswith(f"{first}_") and text[len(first) + 1 :] in channels:
            return first, text[len(first) + 1 :]
    for i in range(1, len(parts)):
        left, right = "_".join(parts[:i]), "_".join(parts[i:])
        if len(parts) == 2 or left in channels or right in channels:
            return left, right
    return _joined(parts)


def _numbered(group: str, parts: list[str], channels: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Split a channel from the numbers after it: scale, angle, gray levels; ring; order and repetition of a Zernike polynomial."""
    text = "_".join(parts)
    for channel in channels:
        if text == channel or text.startswith(f"{channel}_"):
            own = len(channel.split("_"))
            return parts[:own], parts[own:]
    most = 3 if group == "Texture" else 2
    ends = len(parts)
    while ends > 1 and len(parts) - ends < most and re.fullmatch(r"\d+(of\d+)?|Overflow", parts[ends - 1]):
        ends -= 1
        if group == "RadialDistribution" and not parts[ends].isdigit():
            break
    return parts[:ends], parts[ends:]


def channels_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the channels in which a table's features were measured, in order of first appearance.

    Intensity and granularity names are unambiguous; a table without them is searched for textures and radial distributions,
    then correlations.
    """
    features = [parse(name) for name in names]
    for groups in (("Intensity", "Granularity"), ("Texture", "RadialDistribution"), ("Correlation",)):
        found = dict.fromkeys(channel for feature in features if feature.group in groups for channel in feature.channels)
        if found:
            return tuple(found)
    return ()


def is_feature(column: str) -> bool:
    """Return whether a column is a measurement of a cell: not metadata, an object number, or a measurement of a whole image."""
    first = column.split("_", 1)[0]
    if first in (METADATA, IMAGE, *_KEYS, *_OF_CHILDREN):
        return False
    feature = parse(column)
    if not feature.group or feature.group in ("Parent", "Number", *_KEYS) or feature.compartment.startswith(_OF_CHILDREN):
        return False
    return bool(feature.measure) and "ObjectNumber" not in feature.measure


def is_image_key(column: str) -> bool:
    """Return whether a column holds the numbers of images or tables, by which tables are joined; hashes stand there too."""
    return column.rpartition("_")[2] in ("ImageNumber", "TableNumber")


def is_numeric_name(column: str) -> bool:
    """Return whether a column of an object table must be numeric: a measurement, an object's number or that of a parent."""
    if is_image_key(column):
        return False
    if _NUMBERED.search(column) is not None:
        return True
    parts = column.split("_")
    return parts[0] not in (METADATA, IMAGE) and any(part in GROUPS for part in parts)


def is_morphological_feature(name: str) -> bool:
    """Return whether a feature describes the cell itself, so that an image can be generated for it.

    False for positions in the image, and phases or moments that depend on them: `Location`, `Center`, `BoundingBox`,
    moments and inertia tensors, Zernike phases; also for `Number`, `Parent`, `Children` and non-features.
    """
    if not is_feature(name):
        return False
    feature = parse(name)
    return feature.group not in ("Location", "Children") and _PLACE.search(feature.measure) is None


def unit(name: str) -> str:
    """Return a feature's unit: ``px``, ``px²``, ``px³``, ``°``, ``rad``, or empty (ratios, gray levels, counts)."""
    feature = parse(name)
    if feature.group in _OF_CHILDREN and feature.measure != name:
        return unit(feature.measure)
    if feature.group in ("Location", "Distance"):
        return "px"
    head = feature.measure.split("_", 1)[0]
    if head in _ANGLES:
        return "°"
    if head == "ZernikePhase":
        return "rad"
    if feature.group == "AreaShape" and head in _AREAS:
        return "px²"
    if feature.group == "AreaShape" and head in ("Volume", "BoundingBoxVolume", "ConvexVolume"):
        return "px³"
    return "px" if head in _LENGTHS else ""


def middle_contrasts(names: Iterable[str], channels: Sequence[str], channel: str) -> tuple[int, tuple[str, ...]]:
    """Return the contrasts of a channel's texture in the nucleus at the middle one of its scales.

    Returns
    -------
    scale
        Distance of the compared pixels, px; 0 where there is no such feature.
    names
        The contrasts, the first direction first.
    """
    found: dict[int, list[str]] = {}
    for each in (parse(name, channels) for name in names):
        kind, distance, *_ = (*each.measure.split("_"), "")
        if (each.compartment, each.group, each.channels, kind) == ("Nuclei", "Texture", (channel,), "Contrast") and distance.isdecimal():
            found.setdefault(int(distance), []).append(each.name)
    scales = sorted(found)
    scale = scales[(len(scales) - 1) // 2] if scales else 0
    return scale, tuple(sorted(found.get(scale, ())))
