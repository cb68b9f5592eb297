"""Write simulated plates in the layouts of microscopes and tables: one TIFF per plane, and an index that lists them.

In every layout the three brightfield planes are separate channels, named as in `CHANNELS`, since that is how screens image them beside
stains of one plane (JUMP: ``Brightfield``, ``Brightfield_H``, ``Brightfield_L`` for focus, above and below). In detail:

==============  ===================================================================================================================
layout          files
==============  ===================================================================================================================
opera-phenix    ``Images/r01c01f01p01-ch1sk1fk1fl1.tiff`` and ``Images/Index.xml`` (Harmony 5: name and pixel size with each image);
                rows, columns, fields, planes, time points and channels count from 1, lengths are metres; a brightfield plane's height
                is its ``PositionZ``
imagexpress     ``PLATE_A01_s1_w1GUID.tif`` and ``PLATE.HTD`` with the names of the wavelengths; the pixel size is in MetaMorph's XML in
                each TIFF
yokogawa        ``PLATE_A01_T0001F001L01A01Z01C01.tif``, ``MeasurementData.mlf``, ``MeasurementDetail.mrf`` (pixel size) and
                ``PLATE.mes`` (names of channels, as their targets)
incarta         ``A - 01(fld 1 wv DNA - DNA).tif`` and ``PLATE.xdce``, where fields and wavelengths count from 0
loaddata        ``images/`` and ``load_data.csv``, one row per field, columns ``FileName_OrigDNA`` and ``PathName_OrigDNA`` as JUMP has
                them, and the wells' metadata as ``Metadata_treatment`` ...
table           ``images/`` and ``images.csv``, one row per image: plate, well, field, channel, path, and the wells' metadata
pattern         ``A01_1_DNA.tif``: well, field and channel, and no index
==============  ===================================================================================================================
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from napari_virtual_paint.plates import wells
from napari_virtual_paint.plates.plate import Field
from napari_virtual_paint.plates.simulation.design import CHANNELS
from napari_virtual_paint.plates.simulation.tiff_files import HEIGHTS, TiffFiles, at, grid, number, planes
from napari_virtual_paint.runtime.text import csv_text
from napari_virtual_paint.samples.settings import PLANES

BTS = "http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"
HARMONY = "http://www.perkinelmer.com/PEHH/HarmonyV5"


def _xml(root: ET.Element) -> str:
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add(parent: ET.Element, values: Mapping[str, Any]) -> None:
    """Add elements with text; a name such as ``PositionX[m]`` includes the unit."""
    for name, value in values.items():
        tag, _, unit = name.partition("[")
        ET.SubElement(parent, tag, {"Unit": unit.rstrip("]")} if unit else {}).text = str(value)


class OperaPhenix(TiffFiles):
    """Opera Phenix and Operetta."""

    folder = "Images"

    def file(self, field: Field, channel: int) -> str:
        """Return the name of a plane's file."""
        row, column = at(field)
        return f"r{row:02d}c{column:02d}f{number(field):02d}p01-ch{channel + 1}sk1fk1fl1.tiff"

    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return Harmony's index."""
        root = ET.Element("EvaluationInputData", {"xmlns": HARMONY, "Version": "1"})
        _add(root, {"User": "virtual-paint", "InstrumentType": "Phenix"})
        rows, columns = self.design.shape
        plate = ET.SubElement(ET.SubElement(root, "Plates"), "Plate")
        _add(plate, {"PlateID": self.name, "Name": self.name, "PlateRows": rows, "PlateColumns": columns})
        listed, images = ET.SubElement(root, "Wells"), ET.SubElement(root, "Images")
        by_well = {place: ET.SubElement(listed, "Well") for place in dict.fromkeys(map(at, fields))}
        for (row, column), well in by_well.items():
            ET.SubElement(plate, "Well", id=f"{row:02d}{column:02d}")
            _add(well, {"id": f"{row:02d}{column:02d}", "Row": row, "Col": column})
        for field, c in planes(fields):
            ET.SubElement(by_well[at(field)], "Image", id=self._id(field, c))
            _add(ET.SubElement(images, "Image", Version="1"), self._image(field, c))
        return {"Images/Index.xml": _xml(root)}

    def _id(self, field: Field, channel: int) -> str:
        row, column = at(field)
        return f"{row:02d}{column:02d}K1F{number(field)}P1R{channel + 1}"

    def _image(self, field: Field, channel: int) -> dict[str, Any]:
        """Return the entry of a plane in the index."""
        (row, column), (x, y) = at(field), self.place(field)
        size, bright = self.design.pixel_size, channel < len(PLANES)
        return {
            "id": self._id(field, channel),
            "State": "Ok",
            "URL": self.file(field, channel),
            "Row": row,
            "Col": column,
            "FieldID": number(field),
            "PlaneID": 1,
            "TimepointID": 1,
            "ChannelID": channel + 1,
            "FlimID": 1,
            "ChannelName": CHANNELS[channel],
            "ImageType": "Signal",
            "AcquisitionType": "NonConfocal",
            "IlluminationType": "Transmission" if bright else "Epifluorescence",
            "ChannelType": "BrightField" if bright else "Fluorescence",
            "ImageResolutionX[m]": f"{size * 1e-6:.9g}",
            "ImageResolutionY[m]": f"{size * 1e-6:.9g}",
            "ImageSizeX": self.design.size,
            "ImageSizeY": self.design.size,
            "BinningX": 2,
            "BinningY": 2,
            "MaxIntensity": 65536,
            "PositionX[m]": f"{x * 1e-6:.9g}",
            "PositionY[m]": f"{y * 1e-6:.9g}",
            "PositionZ[m]": f"{HEIGHTS[channel] * 1e-6:.9g}",
            "AbsPositionZ[m]": f"{HEIGHTS[channel] * 1e-6:.9g}",
            "MeasurementTimeOffset[s]": 0,
            "ObjectiveMagnification": 20,
            "ObjectiveNA": 1,
        }


class ImageXpress(TiffFiles):
    """ImageXpress (MetaXpress)."""

    def file(self, field: Field, channel: int) -> str:
        """Return the name of a plane's file."""
        stem = f"{self.name}_{field.well}_s{number(field)}_w{channel + 1}"
        return f"{stem}{str(uuid.uuid5(uuid.NAMESPACE_URL, f'{self.design.seed}/{stem}')).upper()}.tif"

    def tags(self, channel: int) -> dict[str, Any]:
        """Return MetaMorph's XML."""
        size = str(self.design.pixel_size)
        props = {
            "spatial-calibration-state": ("bool", "on"),
            "spatial-calibration-x": ("float", size),
            "spatial-calibration-y": ("float", size),
            "spatial-calibration-units": ("string", "um"),
            "image-name": ("string", CHANNELS[channel]),
            "z-position": ("float", f"{HEIGHTS[channel]:g}"),
        }
        lines = [f'<prop id="{name}" type="{kind}" value={quoteattr(value)}/>' for name, (kind, value) in props.items()]
        text = "\r\n".join(["<MetaData>", "<PlaneInfo>", *lines, "</PlaneInfo>", "</MetaData>"])
        return {"metadata": None, "description": text}

    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return the plate's description."""
        rows, columns = self.design.shape
        across, down = grid(self.design.fields)
        imaged = {wells.position(field.well) for field in fields}
        lines: list[tuple[Any, ...]] = [("HTSInfoFile", "Version 1.0"), ("Description", '"simulated"'), ("PlateType", 6), ("TimePoints", 1)]
        lines += [("ZSeries", False), ("ZSteps", 1), ("ZProjection", False), ("XWells", columns), ("YWells", rows)]
        lines += [(f"WellsSelection{r + 1}", *((r, c) in imaged for c in range(columns))) for r in range(rows)]
        lines += [("Sites", True), ("XSites", across), ("YSites", down)]
        lines += [(f"SiteSelection{r + 1}", *(r * across + c < self.design.fields for c in range(across))) for r in range(down)]
        lines += [("Waves", True), ("NWavelengths", len(CHANNELS))]
        lines += [(f"WaveName{c + 1}", f'"{name}"') for c, name in enumerate(CHANNELS)]
        lines += [(f"WaveCollect{c + 1}", 1) for c in range(len(CHANNELS))]
        lines += [("UniquePlateIdentifier", f'"{uuid.uuid5(uuid.NAMESPACE_URL, f"{self.design.seed}/{self.name}")}"'), ("EndFile",)]
        text = "\r\n".join(", ".join([f'"{line[0]}"', *(_text(value) for value in line[1:])]) for line in lines)
        return {f"{self.name}.HTD": text + "\r\n"}


def _text(value: Any) -> str:
    return str(value).upper() if isinstance(value, bool) else str(value)


class Yokogawa(TiffFiles):
    """CellVoyager CV7000 and CV8000, CQ1."""

    def file(self, field: Field, channel: int) -> str:
        """Return the name of a plane's file."""
        return f"{self.name}_{field.well}_T0001F{number(field):03d}L01A01Z01C{channel + 1:02d}.tif"

    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return list, detail and setting of the measurement."""
        rows, columns = self.design.shape
        data, setting = self._root("MeasurementData"), self._root("MeasurementSetting")
        for field, c in planes(fields):
            (row, column), (x, y) = at(field), self.place(field)
            record = {"Type": "IMG", "Column": column, "Row": row, "FieldIndex": number(field), "TimePoint": 1, "TimelineIndex": 1}
            record |= {"ActionIndex": 1, "Action": "2D", "X": f"{x:g}", "Y": f"{y:g}", "Z": f"{HEIGHTS[c]:g}", "ZIndex": 1, "Ch": c + 1}
            self._sub(data, "MeasurementRecord", record).text = self.file(field, c)
        summary = {"OperatorName": "virtual-paint", "Title": self.name, "RowCount": rows, "ColumnCount": columns, "TimePointCount": 1}
        summary |= {
            "FieldCount": self.design.fields,
            "ZCount": 1,
            "TargetSystem": "CV8000",
            "MeasurementSettingFileName": f"{self.name}.mes",
        }
        detail = self._root("MeasurementDetail", summary)
        self._sub(detail, "MeasurementSamplePlate", {"Name": self.name})
        channels = self._sub(setting, "ChannelList", {})
        for c, name in enumerate(CHANNELS):
            kind = "BrightField" if c < len(PLANES) else "EpiFluorescence"
            self._sub(channels, "Channel", {"Ch": c + 1, "Target": name, "Objective": "20x", "Magnification": 20, "Kind": kind})
            size = {"HorizontalPixelDimension": self.design.pixel_size, "VerticalPixelDimension": self.design.pixel_size}
            pixels = {"HorizontalPixels": self.design.size, "VerticalPixels": self.design.size, "InputBitDepth": 16, "InputLevel": 65535}
            self._sub(detail, "MeasurementChannel", {"Ch": c + 1, **size, "CameraNumber": 1, **pixels})
        return {"MeasurementData.mlf": _xml(data), "MeasurementDetail.mrf": _xml(detail), f"{self.name}.mes": _xml(setting)}

    def _root(self, name: str, values: Mapping[str, Any] | None = None) -> ET.Element:
        own = {f"bts:{key}": str(value) for key, value in (values or {}).items()}
        return ET.Element(f"bts:{name}", {"xmlns:bts": BTS, "bts:Version": "1.0", **own})

    def _sub(self, parent: ET.Element, name: str, values: Mapping[str, Any]) -> ET.Element:
        return ET.SubElement(parent, f"bts:{name}", {f"bts:{key}": str(value) for key, value in values.items()})


class InCarta(TiffFiles):
    """IN Cell Analyzer and In Carta."""

    def file(self, field: Field, channel: int) -> str:
        """Return the name of a plane's file."""
        name = CHANNELS[channel]
        return f"{field.well[:-2]} - {field.well[-2:]}(fld {number(field)} wv {name} - {name}).tif"

    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return the list of images."""
        root, (rows, columns) = ET.Element("ImageStack"), self.design.shape
        protocol = ET.SubElement(root, "AutoLeadAcquisitionProtocol", name="simulated")
        size = {f"pixel_{way}": str(self.design.pixel_size) for way in ("height", "width")}
        ET.SubElement(protocol, "ObjectiveCalibration", {"magnification": "20", "numerical_aperture": "1", "unit": "µm", **size})
        ET.SubElement(protocol, "Plate", name=self.name, rows=str(rows), columns=str(columns))
        images = ET.SubElement(root, "Images", number_images=str(len(fields) * len(CHANNELS)), version="1.0")
        for field, c in planes(fields):
            (row, column), (x, y) = at(field), self.place(field)
            image = ET.SubElement(images, "Image", filename=self.file(field, c))
            well = ET.SubElement(image, "Well", label=f"{field.well[:-2]} - {column}")
            ET.SubElement(well, "Row", number=str(row))
            ET.SubElement(well, "Column", number=str(column))
            ET.SubElement(image, "FocusPosition", unit="um", z=f"{HEIGHTS[c]:g}")
            ET.SubElement(image, "PlatePosition_um", x=f"{x:g}", y=f"{y:g}")
            ET.SubElement(image, "EmissionFilter", name=CHANNELS[c])
            ET.SubElement(image, "ExcitationFilter", name=CHANNELS[c])
            ET.SubElement(image, "Identifier", field_index=field.name, time_index="0", wave_index=str(c), z_index="0")
        return {f"{self.name}.xdce": _xml(root)}


class LoadData(OperaPhenix):
    """CellProfiler's LoadData table with JUMP's columns; images named as by the Opera Phenix, without a pixel size."""

    folder = "images"
    columns: ClassVar[tuple[str, ...]] = ("Brightfield_L", "Brightfield", "Brightfield_H", *CHANNELS[len(PLANES) :])

    def index(self, fields: Sequence[Field]) -> Mapping[str, str]:
        """Return the table."""
        folder, rows = str((self.path / self.folder).absolute()), []
        for field in fields:
            row: dict[str, Any] = {}
            for c, name in enumerate(self.columns):
                row |= {f"FileName_Orig{name}": self.file(field, c), f"PathName_Orig{name}": folder}
            row |= {"Metadata_Plate": self.name, "Metadata_Well": field.well, "Metadata_Site": number(field)}
            rows.append(row | {f"Metadata_{key}": value for key, value in self.design.metadata_of(field.well).items()})
        return {"load_data.csv": csv_text(rows, tuple(rows[0]) if rows else ())}
