"""The same small plate written in every layout of vendors, by tifffile and text alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "DNA")
WELLS = {"A01": (1, 1), "B03": (2, 3)}
FIELDS = (1, 2)
SHAPE = (8, 12)
PIXEL = 0.65


def plane(well: str, field: int, channel: int) -> npt.NDArray[np.uint16]:
    """Return the pixels of a plane, each unlike all others."""
    row, column = WELLS[well]
    rng = np.random.default_rng([row, column, field, channel])
    return rng.integers(0, 60000, (6, 7), np.uint16)


def truth(well: str, field: int) -> npt.NDArray[np.uint16]:
    """Return the pixels of a field, TCZYX."""
    return np.stack([plane(well, field, c) for c in range(len(CHANNELS))])[None, :, None]


def everywhere() -> Iterator[tuple[str, int, int, int, int]]:
    """Yield well, row, column, field and channel (from 0) of each plane."""
    for well, (row, column) in WELLS.items():
        for field in FIELDS:
            for channel in range(len(CHANNELS)):
                yield well, row, column, field, channel


def write(folder: Path, name: str, well: str, field: int, channel: int, description: str | None = None) -> str:
    """Write a plane and return its name."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, plane(well, field, channel), description=description, metadata=None)
    return name


def phenix(folder: Path, version: int = 5) -> Path:
    """Write an export of Harmony 5, or 7, which tells of channels once."""
    about = [
        f"<ChannelName>{name}</ChannelName><ImageResolutionX Unit='m'>{PIXEL * 1e-6}</ImageResolutionX>"
        f"<ImageResolutionY Unit='m'>{PIXEL * 1e-6}</ImageResolutionY>"
        for name in CHANNELS
    ]
    entries = []
    for well, row, column, field, c in everywhere():
        url = write(folder / "Images", f"r{row:02d}c{column:02d}f{field:02d}p01-ch{c + 1}sk1fk1fl1.tiff", well, field, c)
        entries.append(
            f"<Image Version='1'><id>{row:02d}{column:02d}K1F{field}P1R{c + 1}</id><State>Ok</State><URL>{url}</URL><Row>{row}</Row>"
            f"<Col>{column}</Col><FieldID>{field}</FieldID><PlaneID>1</PlaneID><TimepointID>0</TimepointID><ChannelID>{c + 1}</ChannelID>"
            f"{about[c] if version == 5 else ''}<PositionZ Unit='m'>-4E-06</PositionZ></Image>"
        )
    maps = "".join(f"<Entry ChannelID='{i + 1}'>{words}</Entry>" for i, words in enumerate(about)) if version == 7 else ""
    space = "http://www.perkinelmer.com/PEHH/HarmonyV5" if version == 5 else "43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7"
    (folder / "Images/Index.xml").write_text(
        f"<?xml version='1.0' encoding='utf-8'?>\n<EvaluationInputData xmlns='{space}'><Plates><Plate><PlateID>P1</PlateID><Name>P1</Name>"
        f"<PlateRows>{SHAPE[0]}</PlateRows><PlateColumns>{SHAPE[1]}</PlateColumns><Well id='0101' /></Plate></Plates>"
        f"<Wells><Well><id>0101</id><Image id='0101K1F1P1R1' /></Well></Wells><Maps><Map>{maps}</Map></Maps>"
        f"<Images>{''.join(entries)}</Images></EvaluationInputData>",
        encoding="utf-8",
    )
    return folder


def imagexpress(folder: Path) -> Path:
    """Write a folder of MetaXpress with one time point and thumbnails."""
    calibration = (
        "<MetaData>\n<PlaneInfo>\n<prop id='spatial-calibration-state' type='bool' value='on'/>"
        f"<prop id='spatial-calibration-x' type='float' value='{PIXEL}'/><prop id='spatial-calibration-y' type='float' value='{PIXEL}'/>"
        "<prop id='spatial-calibration-units' type='string' value='um'/></PlaneInfo>\n</MetaData>"
    )
    for well, _, _, field, c in everywhere():
        name = f"P1_{well}_s{field}_w{c + 1}0AB1C2D3-1111-2222-3333-44445555{c:04d}"
        write(folder / "TimePoint_1", f"{name}.tif", well, field, c, calibration)
        write(folder / "TimePoint_1", f"P1_{well}_s{field}_w{c + 1}_thumb0AB1C2D3-1111-2222-3333-44445555{c:04d}.tif", well, field, c)
    waves = "".join(f'"WaveName{i + 1}", "{name}"\n' for i, name in enumerate(CHANNELS))
    (folder / "P1.HTD").write_text(
        f'"HTSInfoFile", Version 1.0\n"XWells", {SHAPE[1]}\n"YWells", {SHAPE[0]}\n"WellsSelection1", TRUE, FALSE\n{waves}"EndFile"\n'
    )
    return folder


def yokogawa(folder: Path) -> Path:
    """Write a measurement of a CV8000."""
    space = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
    records = []
    for well, row, column, field, c in everywhere():
        name = write(folder, f"P1_{well}_T0001F{field:03d}L01A01Z01C{c + 1:02d}.tif", well, field, c)
        place = f'bts:Column="{column}" bts:Row="{row}" bts:FieldIndex="{field}" bts:TimePoint="1" bts:ZIndex="1" bts:Ch="{c + 1}"'
        records.append(f'<bts:MeasurementRecord bts:Type="IMG" {place} bts:X="0" bts:Z="3.2">{name}</bts:MeasurementRecord>')
    records.append('<bts:MeasurementRecord bts:Type="ERR" bts:Column="1" bts:Row="1" bts:FieldIndex="9">time out</bts:MeasurementRecord>')
    (folder / "MeasurementData.mlf").write_text(f"<bts:MeasurementData {space}>{''.join(records)}</bts:MeasurementData>")
    sizes = "".join(
        f'<bts:MeasurementChannel bts:Ch="{i + 1}" bts:HorizontalPixelDimension="{PIXEL}" bts:VerticalPixelDimension="{PIXEL}" />'
        for i in range(len(CHANNELS))
    )
    (folder / "MeasurementDetail.mrf").write_text(
        f'<bts:MeasurementDetail bts:Title="T" bts:RowCount="{SHAPE[0]}" bts:ColumnCount="{SHAPE[1]}" '
        f'bts:MeasurementSettingFileName="S.mes" {space}><bts:MeasurementSamplePlate bts:Name="P1" />{sizes}</bts:MeasurementDetail>'
    )
    targets = "".join(f'<bts:Channel bts:Ch="{i + 1}" bts:Target="{name}" />' for i, name in enumerate(CHANNELS))
    (folder / "S.mes").write_text(f"<bts:MeasurementSetting {space}><bts:ChannelList>{targets}</bts:ChannelList></bts:MeasurementSetting>")
    return folder


def incarta(folder: Path) -> Path:
    """Write a plate of IN Cell."""
    images = []
    for well, row, column, field, c in everywhere():
        label = f"{well[0]} - {column}"
        name = write(folder, f"{well[0]} - {column:02d}(fld {field} wv {CHANNELS[c]} - {CHANNELS[c]}).tif", well, field, c)
        images.append(
            f'<Image filename="{name}"><Well label="{label}"><Row number="{row}"/><Column number="{column}"/></Well>'
            f'<EmissionFilter name="{CHANNELS[c]}"/>'
            f'<Identifier field_index="{field - 1}" time_index="0" wave_index="{c}" z_index="0"/></Image>'
        )
    (folder / "P1.xdce").write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<ImageStack><AutoLeadAcquisitionProtocol name="x">'
        f'<ObjectiveCalibration pixel_width="{PIXEL}" pixel_height="{PIXEL}" unit="\u00b5m"/>'
        f'<PlateMap><ZDimensionParameters enabled="false" step="2"/></PlateMap><Plate name="P1" rows="{SHAPE[0]}" columns="{SHAPE[1]}"/>'
        f'</AutoLeadAcquisitionProtocol><Images number="12">{"".join(images)}</Images></ImageStack>',
        encoding="latin-1",
    )
    return folder


def loaddata(folder: Path, urls: bool = False) -> Path:
    """Write a LoadData table as CellProfiler does, or one of ``file://`` URLs as JUMP does."""
    rows: dict[tuple[str, int], dict[str, object]] = {}
    for well, _, _, field, c in everywhere():
        name = write(folder / "images", f"{well}-{field}-{c}.tif", well, field, c)
        row = rows.setdefault((well, field), {"Metadata_Plate": "P1", "Metadata_Well": well, "Metadata_Site": field})
        row["Metadata_Compound"] = f"drug {well[0]}"
        if urls:
            row[f"URL_Orig{CHANNELS[c]}"] = (folder / "images" / name).as_uri()
        else:
            row[f"FileName_Orig{CHANNELS[c]}"], row[f"PathName_Orig{CHANNELS[c]}"] = name, str(folder / "images")
            row["FileName_IllumDNA"], row["PathName_IllumDNA"] = "illum.npy", "nowhere"
    return table_file(folder / "load_data.csv", list(rows.values()))


def table(folder: Path) -> Path:
    """Write a table of one row an image."""
    rows: list[dict[str, object]] = [
        {
            "FileName": write(folder, f"i/{i}.tif", well, field, c),
            "WELL": f"{well[0]}{int(well[1:])}",
            "Site": field,
            "Channel": CHANNELS[c],
        }
        for i, (well, _, _, field, c) in enumerate(everywhere())
    ]
    return table_file(folder / "images.csv", rows)


def pattern(folder: Path) -> Path:
    """Write files whose names tell their place."""
    for well, _, _, field, c in everywhere():
        write(folder, f"{well}_{field}_{CHANNELS[c]}.tif", well, field, c)
    return folder


def table_file(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def jdce(folder: Path) -> Path:
    """Write a run of MetaXpress Acquire."""
    inner = folder / "experiment"
    for well, _, _, field, c in everywhere():
        write(inner, f"timepoint0/P1_w2_t0_{well}_s{field}_w{c}_z0.tif", well, field, c)
    waves = [{"Index": i, "ZStep": 0.0, "EmissionFilter": {"Name": name}} for i, name in enumerate(CHANNELS)]
    protocol = {
        "ObjectiveCalibration": {"Unit": "\u00b5m", "PixelWidth": PIXEL, "PixelHeight": PIXEL},
        "Plate": {"Name": "96 Well", "Rows": SHAPE[0], "Columns": SHAPE[1]},
        "PlateMap": {"ZDimensionParameters": {"Step": 0.0}},
        "Wavelengths": waves,
    }
    text = json.dumps({"Version": "1.1", "ImageStack": {"PlateId": "P1", "AutoLeadAcquisitionProtocol": protocol}})
    (inner / "P1.jdce").write_text(text, encoding="utf-8")
    return folder
