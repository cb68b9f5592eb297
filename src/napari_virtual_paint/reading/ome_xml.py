"""Metadata of images in OME-XML."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_virtual_paint.reading.units import micrometres, seconds
from napari_virtual_paint.stack import UNKNOWN, PixelSize

COMPANION = ".companion.ome"  # what the name of a file ends in that holds the OME-XML of several TIFFs
PROVENANCE = "napari-virtual-paint/provenance"  # namespace of the annotation that holds the provenance of a predicted image


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of one image; None where the file has none."""

    name: str | None = None  # the image's own name
    channels: tuple[str, ...] | None = None  # names in the order of axis C
    pixel_size: PixelSize = UNKNOWN  # micrometres along z, y and x
    time_interval: float | None = None  # seconds between time points
    provenance: Mapping[str, Any] | None = None  # how a predicted image was made


def parse_ome(xml: str) -> list[ImageMetadata]:
    """Return the metadata of each image that has pixels, in order.

    Raises
    ------
    xml.etree.ElementTree.ParseError
        If the text is no XML.
    """
    root = parse_xml(xml)
    notes = {note.get("ID"): note for note in root.iter() if _tag(note) == "CommentAnnotation" and note.get("Namespace") == PROVENANCE}
    images = [image for image in root if _tag(image) == "Image"]
    return [_image(image, pixels, notes) for image in images for pixels in _children(image, "Pixels")]


def parse_xml(xml: str) -> ET.Element:
    """Return the root of XML in an image file.

    Raises `xml.etree.ElementTree.ParseError` if it is no XML, or has entities, by which XML can do harm.
    """
    if "<!ENTITY" in xml:
        raise ET.ParseError("XML with entities is refused")
    return ET.fromstring(xml)  # noqa: S314 - entities are refused above


def _image(image: ET.Element, pixels: ET.Element, notes: Mapping[str | None, ET.Element]) -> ImageMetadata:
    """Return the metadata of one Image element."""
    size = [micrometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"]
    own = [notes[ref.get("ID")] for ref in _children(image, "AnnotationRef") if ref.get("ID") in notes]
    if not own and len(notes) == 1:
        own = list(notes.values())
    return ImageMetadata(
        name=image.get("Name"),
        channels=_channel_names(pixels),
        pixel_size=PixelSize(*size),
        time_interval=seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")),
        provenance=_provenance(own[0]) if own else None,
    )


def _channel_names(pixels: ET.Element) -> tuple[str, ...] | None:
    """Return the channels' names if any has one; one without is called by its position."""
    names = [(element.get("Name") or "").strip() for element in _children(pixels, "Channel")]
    return tuple(name or f"channel {i}" for i, name in enumerate(names)) if any(names) else None


def _provenance(note: ET.Element) -> Mapping[str, Any] | None:
    """Return the provenance in an annotation; None if it can't be parsed."""
    text = next((value.text for value in _children(note, "Value")), None)
    try:
        value = json.loads(text or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _tag(element: ET.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _children(element: ET.Element, tag: str) -> list[ET.Element]:
    """Return the direct children with a name, in any version of the OME schema."""
    return [child for child in element if _tag(child) == tag]
