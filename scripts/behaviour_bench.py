"""Where the commands of `behaviour_digests.py` run, and how their outputs are read: with tifffile and zarr, never with the package."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import zarr

SIMULATED = "simulated-cell-painting"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Sums of floating-point numbers depend on how they are shared out among threads, so each command has one."""
UNSTEADY = {"seconds", "read_seconds", "write_seconds", "finished", "peak_memory_mb", "made_with", "software", "born", "updated"}
"""Keys and columns left out wherever they are: times, dates, memory, and versions of packages."""
LONGEST = 1800
"""Seconds after which a command is ended; the slowest takes 60 on a quiet machine."""


class CommandError(Exception):
    """A command ended with another exit code than it should."""


class Bench:
    """Where commands run: their environment, and the inputs that several cases share.

    Parameters
    ----------
    data
        Folder of real data.
    work
        An empty folder for all that is written.
    """

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRTUAL_PAINT")}
        own = {"COLUMNS": "100", "VIRTUAL_PAINT_MODELS": str(work / "no models"), "VIRTUAL_PAINT_OFFLINE": "1"}
        self.environment = {**kept, **dict.fromkeys(THREADS, "1"), **own}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        found = [sys.executable, "-c", "import napari_virtual_paint as it; print(it.__file__)"]
        told = subprocess.run(found, env=self.environment, cwd=work, capture_output=True, text=True, check=True)
        self.code = Path(told.stdout.strip()).parent

    def ended(self, *arguments: object) -> tuple[int, str, str]:
        """Run a command; return its exit code, stdout and stderr."""
        command = [sys.executable, "-m", "napari_virtual_paint.cli", *map(str, arguments)]
        chosen: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": LONGEST}
        try:
            done = subprocess.run(command, env=self.environment, cwd=self.work, **chosen)
        except subprocess.TimeoutExpired:
            raise CommandError(f"{' '.join(map(str, arguments))}: not done after {LONGEST} s") from None
        return done.returncode, done.stdout, done.stderr

    def said(self, *arguments: object) -> str:
        """Run a command that must succeed; return its stdout."""
        code, out, words = self.ended(*arguments)
        if code:
            raise CommandError(f"{' '.join(map(str, arguments))}: exit code {code}: {words.strip()[-1000:]}")
        return out

    def json(self, *arguments: object) -> Any:
        """Run a command with --json; return what it printed."""
        return json.loads(self.said(*arguments, "--json"))

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the path of a shared input, made by the first case that asks for it."""
        path = self.work / "inputs" / name
        with self._locks[name]:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                make(path)
        return path

    def fields(self) -> Path:
        """Return two simulated fields, whose size is no multiple of what networks want."""
        return self.once("fields", lambda path: self.said("simulate", path, "--fields", 2, "--size", 200, "--seed", 3))

    def field(self, kind: str = "brightfield", number: int = 0) -> Path:
        """Return an image of a simulated field."""
        return self.fields() / f"field_{number:03d}" / f"{kind}.ome.tif"

    def volume(self, kind: str = "brightfield") -> Path:
        """Return an image of a simulated volume."""
        made = self.once("volume", lambda path: self.said("simulate", path, "--size", 80, "--z", 13, "--seed", 4))
        return made / "field_000" / f"{kind}.ome.tif"

    def plate(self) -> Path:
        """Return a simulated plate of 12 wells with a field each."""
        chosen = ("--plate", "3x4", "--size", 256, "--seed", 7, "--treatments", "mitoxantrone", "--doses", "1,2")
        return self.once("plate.zarr", lambda path: self.said("simulate", path, *chosen))

    def painted_plate(self) -> Path:
        """Return the plate painted with nothing chosen."""
        plate = self.plate()
        return self.once("painted.zarr", lambda path: self.said("plate", "predict", plate, "-m", SIMULATED, "--device", "cpu", "-o", path))

    def cells(self) -> Path:
        """Return the table of the cells of the simulated fields."""
        fields = self.fields()
        return self.once("cells.csv", lambda path: self.said("cells", "measure", fields, "-o", path))

    def place(self, case: str) -> Path:
        """Return the folder of a case's own outputs."""
        path = self.work / "outputs" / case.replace("/", "_")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def plain(self, value: Any, arrays: dict[str, np.ndarray] | None = None) -> Any:
        """Return a value as JSON can hold it, without what two runs of the same code differ in; arrays and bytes by their SHA-256.

        Paths of temporary folders, of data and of the package's code become words. Arrays are noted in `arrays` where it is given.
        """
        if isinstance(value, dict):
            return {str(key): self.plain(item, arrays) for key, item in value.items() if key not in UNSTEADY}
        if isinstance(value, (list, tuple)):
            return [self.plain(item, arrays) for item in value]
        if isinstance(value, bytes):
            return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
        if isinstance(value, np.ndarray):
            if arrays is not None:
                arrays[f"a{len(arrays)}"] = value
            whole = np.ascontiguousarray(value)
            return {"dtype": str(whole.dtype), "shape": list(whole.shape), "sha256": hashlib.sha256(whole.tobytes()).hexdigest()}
        if hasattr(value, "item"):
            return self.plain(value.item())
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str):
            for folder, name in ((self.work, "WORK"), (self.data, "DATA"), (self.code, "CODE")):
                value = value.replace(str(folder), name)
            return re.sub(r"CODE/\S*/", "CODE/", value)
        return value


def image(path: Path) -> dict[str, Any]:
    """Return the pixels, channels and pixel size of an OME-TIFF or OME-Zarr."""
    return _tiff(path) if path.suffix == ".tif" else _ome_zarr(path)


def _tiff(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        pixels, axes, text = series.asarray(), series.axes, file.ome_metadata or ""
    names, sizes = [], {}
    for each in ET.fromstring(text).iter():
        if each.tag.endswith("}Channel"):
            names.append(each.get("Name"))
        if each.tag.endswith("}Pixels"):
            sizes = {key: size for key, size in each.attrib.items() if key.startswith("PhysicalSize")}
    return {"pixels": pixels, "axes": axes, "channels": names, "size": sizes}


def _ome_zarr(path: Path) -> dict[str, Any]:
    group = zarr.open_group(path, mode="r")
    ome = dict(group.attrs).get("ome", dict(group.attrs))
    scales = ome["multiscales"][0]
    levels = {each["path"]: np.asarray(group[each["path"]][...]) for each in scales["datasets"]}
    names = [each["label"] for each in ome.get("omero", {}).get("channels", ())]
    return {"levels": levels, "axes": scales["axes"], "channels": names, "size": scales["datasets"]}


def plate_images(path: Path) -> dict[str, Any]:
    """Return every image of an OME-Zarr plate or of a folder of images."""
    if path.suffix != ".zarr":
        return {each.name: image(each) for each in sorted(path.glob("*.tif"))}
    wells = dict(zarr.open_group(path, mode="r").attrs)["ome"]["plate"]["wells"]
    found = {}
    for well in wells:
        images = dict(zarr.open_group(path / well["path"], mode="r").attrs)["ome"]["well"]["images"]
        found |= {f"{well['path']}/{each['path']}": image(path / well["path"] / each["path"]) for each in images}
    return found


def files(folder: Path) -> list[str]:
    """Return the names of all files in a folder but hidden ones."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def documents(folder: Path) -> dict[str, Any]:
    """Return the metadata of every group and array of an OME-Zarr."""
    return {name: json.loads((folder / name).read_text("utf-8")) for name in files(folder) if name.endswith("zarr.json")}


def table(path: Path) -> dict[str, Any]:
    """Return a table's columns and rows, but for the columns of times."""
    read = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    steady = read[[name for name in read.columns if name not in UNSTEADY]]
    return {"columns": list(steady.columns), "types": [str(kind) for kind in steady.dtypes], "rows": steady.to_dict("records")}
