"""OME-XML (schema 2016-06) of a stack."""

from __future__ import annotations

import json
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_virtual_paint._version import __version__
from napari_virtual_paint.reading.ome_xml import PROVENANCE
from napari_virtual_paint.stack import Stack

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_SCHEMA = f"{_NAMESPACE} {_NAMESPACE}/ome.xsd"
_TYPES = {"float32": "float", "float64": "double", "bool": "bit"}


def ome_xml(stack: Stack, dtype: np.dtype[Any], name: str, order: str, samples: int) -> str:
    """Return the OME-XML of a stack written as one image.

    Parameters
    ----------
    dtype
        Type of the written pixels.
    order
        OME's dimension order, such as ``XYZCT``.
    samples
        Channels interleaved in one page (3 or 4 for colours, else 1).
    """
    root = ET.Element("OME", {"xmlns": _NAMESPACE, "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"})
    root.set("xsi:schemaLocation", _SCHEMA)
    root.set("UUID", f"urn:uuid:{uuid.uuid4()}")
    root.set("Creator", f"napari-virtual-paint {__version__}")
    image = ET.SubElement(root, "Image", ID="Image:0", Name=_clean(name))
    pixels = ET.SubElement(image, "Pixels", _pixels_attributes(stack, dtype, order))
    groups = stack.shape[1] // samples
    for index in range(groups):
        channel = ET.SubElement(pixels, "Channel", ID=f"Channel:0:{index}", SamplesPerPixel=str(samples))
        if stack.channels is not None and samples == 1:
            channel.set("Name", _clean(stack.channels[index]))
    ET.SubElement(pixels, "TiffData", IFD="0", PlaneCount=str(stack.shape[0] * groups * stack.shape[2]))
    if stack.provenance is not None:
        ET.SubElement(image, "AnnotationRef", ID="Annotation:0")
        notes = ET.SubElement(root, "StructuredAnnotations")
        note = ET.SubElement(notes, "CommentAnnotation", ID="Annotation:0", Namespace=PROVENANCE)
        ET.SubElement(note, "Value").text = _clean(provenance_json(stack.provenance))
    return ET.tostring(root, encoding="unicode", xml_declaration=False)


def _pixels_attributes(stack: Stack, dtype: np.dtype[Any], order: str) -> dict[str, str]:
    """Return the attributes of the Pixels element; what is unknown is left out."""
    sizes = dict(zip("TCZYX", stack.shape, strict=True))
    attributes = {"ID": "Pixels:0", "DimensionOrder": order, "Type": _TYPES.get(dtype.name, dtype.name)}
    attributes |= {f"Size{axis}": str(sizes[axis]) for axis in "XYZCT"}
    for axis, size in zip("ZYX", stack.pixel_size, strict=True):
        if size is not None:
            attributes |= {f"PhysicalSize{axis}": repr(float(size)), f"PhysicalSize{axis}Unit": "µm"}
    if stack.time_interval is not None:
        attributes |= {"TimeIncrement": repr(float(stack.time_interval)), "TimeIncrementUnit": "s"}
    return attributes


def provenance_json(provenance: Mapping[str, Any]) -> str:
    """Return provenance as JSON; values of other types become text."""
    return json.dumps(dict(provenance), default=_to_json, ensure_ascii=True)


def _to_json(value: object) -> Any:
    """Return a value that JSON can hold."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)


def _clean(text: str) -> str:
    """Return text without the control characters that XML can't hold."""
    return "".join(
        letter
        for letter in text
        if letter in "\t\n\r" or (ord(letter) >= 32 and not 0xD800 <= ord(letter) <= 0xDFFF and ord(letter) not in (0xFFFE, 0xFFFF))
    )
