"""How long opening a plate takes in every layout, by metadata alone.

    python benchmarks/plates_opening.py [--rows 16 --columns 24 --fields 9 --rounds 5] [--table-rows 100000] [--json]

Writes the metadata of a plate of 6 channels in every layout in a temporary folder; the images are empty files, as opening reads none (an
image of OME-Zarr is its metadata). Each opening runs in this process after a first one that warms the imports and the system's cache; told
are the median time of the rounds, the time of the processor, and for OME-Zarr the time of ngio's `open_ome_zarr_plate` with its list of
images, in the same rounds. A table of many rows comes last. What is opened is checked: number of wells, of fields, of channels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import vendor_plates as written
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.wells import row_name, well_name

CHANNELS = ("Brightfield", "DNA", "ER", "RNA", "AGP", "Mito")
LIMIT = 2.0
"""Seconds within which a plate of 384 wells, 9 fields and 6 channels is to open."""

# What Harmony writes of each image besides what is read: the index of a real plate is that much longer.
REST = "".join(
    f"<{name}>{value}</{name}>"
    for name, value in {
        **{"SequenceID": 1, "GroupID": 1, "FlimID": 1, "ImageType": "Signal", "AcquisitionType": "Confocal", "IlluminationType": "Epi"},
        **{"ChannelType": "Fluorescence", "ImageSizeX": 1080, "ImageSizeY": 1080, "BinningX": 2, "BinningY": 2, "MaxIntensity": 65536},
        **{"CameraType": "AndorZylaCam", "PositionX": -0.0006, "PositionY": 0.0006, "AbsPositionZ": 0.135, "MeasurementTimeOffset": 0},
        **{"AbsTime": "2020-11-05T18:00:00.757-05:00", "MainExcitationWavelength": 640, "MainEmissionWavelength": 706},
        **{"ObjectiveMagnification": 20, "ObjectiveNA": 1, "ExposureTime": 0.2},
        **{"OrientationMatrix": "[[0.99,0,0,-15.9],[0,-0.99,0,0],[0,0,1.33,-0.1]]", "CropArea": "[[0,0],[0,1],[1,1],[1,0]]"},
    }.items()
)


def empty(folder: Path, name: str, *_: Any) -> str:
    """Stand in for the writing of an image."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return name


def phenix(folder: Path) -> Path:
    index = written.phenix(folder) / "Images" / "Index.xml"
    index.write_text(index.read_text().replace("</Image>", f"{REST}</Image>"))
    return folder


def ngff(version: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        wells = {f"{well[0]}/{int(well[1:])}": place for well, place in written.WELLS.items()}
        axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
        scales = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]
        image = {
            "multiscales": [{"version": version, "axes": axes, "datasets": scales}],
            "omero": {"channels": [{"label": name, "color": "FFFFFF"} for name in CHANNELS]},
        }
        names = [str(i) for i in range(len(written.FIELDS))]
        for path in wells:
            group(folder / path, version, {"well": {"version": version, "images": [{"path": name} for name in names]}})
            for name in names:
                group(folder / path / name, version, image)
        plate = {
            "version": version,
            "rows": [{"name": row_name(i)} for i in range(written.SHAPE[0])],
            "columns": [{"name": str(i + 1)} for i in range(written.SHAPE[1])],
            "wells": [{"path": path, "rowIndex": row - 1, "columnIndex": column - 1} for path, (row, column) in wells.items()],
        }
        group(folder, version, {"plate": plate})
        return folder

    return write


def group(folder: Path, version: str, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(content))
    else:
        value = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **content}}}
        (folder / "zarr.json").write_text(json.dumps(value))


WRITERS: dict[str, Callable[[Path], Path]] = {
    "OME-Zarr 0.4": ngff("0.4"),
    "OME-Zarr 0.5": ngff("0.5"),
    "Opera Phenix": phenix,
    "ImageXpress": written.imagexpress,
    "Yokogawa": written.yokogawa,
    "IN Cell": written.incarta,
    "LoadData": written.loaddata,
    "table": written.table,
    "pattern": written.pattern,
}


def timed(work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the median time and processor time of some work, after a first run that is not counted."""
    work()
    seconds, busy = [], []
    for _ in range(rounds):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
    return statistics.median(seconds), statistics.median(busy)


def by_ngio(path: Path) -> Callable[[], Any] | None:
    try:
        from ngio import open_ome_zarr_plate
    except ImportError:
        return None
    return lambda: open_ome_zarr_plate(path, mode="r").images_paths()


def measure(name: str, path: Path, rounds: int) -> dict[str, Any]:
    plate = open_plate(path)
    there = (len(plate.wells), len(plate.fields), len(plate.channels or ()))
    expected = (len(written.WELLS), len(written.WELLS) * len(written.FIELDS), len(CHANNELS))
    if there != expected:
        raise SystemExit(f"{name}: {there} wells, fields and channels were opened instead of {expected}")
    seconds, busy = timed(lambda: open_plate(path), rounds)
    row = {"layout": name, "seconds": seconds, "processor": busy, "ngio": None, "ratio": None}
    peer = by_ngio(path) if name.startswith("OME-Zarr") else None
    if peer is not None:
        row["ngio"] = timed(peer, rounds)[0]
        row["ratio"] = seconds / row["ngio"]
    return row


def large_table(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Measure a table of many rows: all wells of a plate of 1536, as many fields as it takes."""
    names = [well_name(i // 48, i % 48) for i in range(1536)]
    table = [
        {"path": f"{i}.tif", "well": names[i % 1536], "field": i // 1536 // 6, "channel": CHANNELS[i // 1536 % 6], "dose": i % 1536 % 7}
        for i in range(rows)
    ]
    path = written.table_file(folder / "large.csv", table)
    seconds, busy = timed(lambda: open_plate(path), rounds)
    return {"layout": f"table of {rows:,} rows", "seconds": seconds, "processor": busy, "ngio": None, "ratio": None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--columns", type=int, default=24)
    parser.add_argument("--fields", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table-rows", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    # The writers of the tests, at another size and with empty images.
    written.WELLS = {well_name(row, column): (row + 1, column + 1) for row in range(args.rows) for column in range(args.columns)}
    written.FIELDS, written.CHANNELS = tuple(range(1, args.fields + 1)), CHANNELS
    written.SHAPE, written.write = (args.rows, args.columns), empty
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, write) in enumerate(WRITERS.items()):
            results.append(measure(name, write(Path(folder, f"plate{i}")), args.rounds))
            if not args.json:
                print(line(results[-1]), flush=True)
        results.append(large_table(Path(folder), args.table_rows, args.rounds))
    print(json.dumps(results, indent=2) if args.json else line(results[-1]))
    return 0


def line(row: dict[str, Any]) -> str:
    peer = "" if row["ngio"] is None else f"; ngio {row['ngio']:.2f} s, ratio {row['ratio']:.2f}"
    within = "within" if row["seconds"] <= LIMIT else "OVER"
    return f"{row['layout']:<22} {row['seconds']:.2f} s ({row['processor']:.2f} s of the processor), {within} {LIMIT:g} s{peer}"


if __name__ == "__main__":
    raise SystemExit(main())
