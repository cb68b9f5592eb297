"""What OME-XML tells about an image."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import UNKNOWN, PixelSize

PROVENANCE = "napari-virtual-paint/provenance"
"""Namespace of the annotation that says how a predicted image was made."""


@dataclass(frozen=True)
class ImageMetadata:
    """What a file tells about one image; None where it does not.

    Parameters
    ----------
    name
        The image's own name.
    channels
        Names in the order of axis C.
    pixel_size
        Micrometres along z, y and x.
    time_interval
        Seconds between time points.
    provenance
        How a predicted image was made.
    """

    name: str | None = None
    channels: tuple[str, ...] | None = None
    pixel_size: PixelSize = UNKNOWN
    time_interval: float | None = None
    provenance: Mapping[str, Any] | None = None


def parse_ome(xml: str) -> list[ImageMetadata]:
    """Return what OME-XML tells about each of its images that has pixels, in order.

    Raises
    ------
    xml.etree.ElementTree.ParseError
        If the text is no XML.
    """
    if "<!ENTITY" in xml:
        raise ET.ParseError("OME-XML with entities is refused")
    root = ET.fromstring(xml)  # noqa: S314 - entities, the way to harm by XML, are refused above
    notes = {note.get("ID"): note for note in root.iter() if _tag(note) == "CommentAnnotation" and note.get("Namespace") == PROVENANCE}
    images = [image for image in root if _tag(image) == "Image"]
    return [_image(image, pixels, notes) for image in images for pixels in _children(image, "Pixels")]


def _image(image: ET.Element, pixels: ET.Element, notes: Mapping[str | None, ET.Element]) -> ImageMetadata:
    """Return what one Image element tells."""
    size = [micrometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"]
    named = [notes[ref.get("ID")] for ref in _children(image, "AnnotationRef") if ref.get("ID") in notes]
    if not named and len(notes) == 1:
        named = list(notes.values())
    return ImageMetadata(
        name=image.get("Name"),
        channels=_channel_names(pixels),
        pixel_size=PixelSize(*size),
        time_interval=seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")),
        provenance=_provenance(named[0]) if named else None,
    )


def _channel_names(pixels: ET.Element) -> tuple[str, ...] | None:
    """Return the channels' names where at least one has one; a nameless one is called by its place."""
    elements = _children(pixels, "Channel")
    names = [(element.get("Name") or "").strip() for element in elements]
    if not any(names):
        return None
    return tuple(name or f"channel {i}" for i, name in enumerate(names))


def _provenance(note: ET.Element) -> Mapping[str, Any] | None:
    """Return the provenance in an annotation, or None where it is not readable."""
    text = next((value.text for value in _children(note, "Value")), None)
    try:
        value = json.loads(text or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _tag(element: ET.Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _children(element: ET.Element, tag: str) -> list[ET.Element]:
    """Return the direct children of a name, in any version of the OME schema."""
    return [child for child in element if _tag(child) == tag]
