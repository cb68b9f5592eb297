"""Attacks the command line on purpose: kills it, fills its disk, sends it signals, gives it hostile files, and writes outputs over inputs.

Everything is made by this script, in a temporary folder. For each kind of attack it prints how many were tried and how many were survived:
the command ended by itself, in one sentence, with nothing of the user's touched, nothing half-written left and no process behind it; and
what was stopped went on. ``python examples/attack.py`` takes some minutes on two cores, ``--quick`` about one. The exit code is 1 if an
attack was not survived.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import pickle
import random
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import tifffile

from napari_virtual_paint.models.catalogue import locate
from napari_virtual_paint.models.package.files import open_files

COMMAND = [sys.executable, "-m", "napari_virtual_paint.cli"]
MODEL = "simulated-cell-painting"
PATIENCE = 180.0  # seconds after which a command counts as one that hangs
MOST_MEMORY = 3 << 30  # bytes that a command may take of a hostile file
KINDS = ("outputs over inputs", "hostile files", "full disk", "signals", "killed")


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    memory: int = 0  # most bytes that it and its processes had at once
    left: list[int] = field(default_factory=list)  # processes that outlived it

    def fault(self, codes: Sequence[int]) -> str:
        """Return what is wrong with it; empty if nothing."""
        text = self.out + self.err
        if self.code not in codes:
            return f"exit code {self.code}: {self.err.strip()[-200:]}"
        if "Traceback" in text or "unexpected error" in text:
            return f"a traceback: {self.err.strip()[-200:]}"
        if "\x1b" in text or "\x9b" in text:
            return "a control character was printed"
        if self.left:
            return f"processes are left: {self.left}"
        if self.memory > MOST_MEMORY:
            return f"it took {self.memory / 2**30:.1f} GiB"
        return ""


Attack = tuple[str, Callable[[], str]]
"""A name, and what tries it and returns why it was not survived."""


def run(words: Sequence[object], folder: Path, *, at: Callable[[psutil.Process], Sequence[int]] | None = None, **options: object) -> Ended:
    """Run a command to its end; `at` is asked all the time which signals to send now, and none are sent again after it gave some."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )
    streams: list[bytes] = [b"", b""]
    readers = [threading.Thread(target=_read, args=(streams, k, stream)) for k, stream in enumerate((process.stdout, process.stderr))]
    for reader in readers:
        reader.start()
    own, seen, memory = psutil.Process(process.pid), set[psutil.Process](), 0
    end = time.monotonic() + PATIENCE
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            children = own.children(recursive=True)
            seen.update(children)
            memory = max(memory, sum(each.memory_info().rss for each in (own, *children)))
        if at is not None and (numbers := at(own)):
            at = None
            for number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
                time.sleep(0.1)
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            return Ended(-1, "", f"it did not end within {PATIENCE:.0f} s")
        time.sleep(0.02)
    gone = time.monotonic() + 10
    while (left := [each.pid for each in seen if _lives(each)]) and time.monotonic() < gone:
        time.sleep(0.02)
    for each in seen:
        if _lives(each):
            each.kill()
    for reader in readers:
        reader.join()
    return Ended(process.returncode, *(stream.decode("utf-8", "replace") for stream in streams), memory, left)


def _read(streams: list[bytes], number: int, stream: io.BufferedReader | None) -> None:
    assert stream is not None
    streams[number] = stream.read()


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def half_written(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name.endswith((".partial", ".replaced"))]


# -- outputs over inputs


def over_inputs(work: Path, data: Path, quick: bool) -> Iterator[Attack]:
    """Write every output over its input, under every name that the input has."""
    commands: dict[str, tuple[str, Callable[[str, str], list[str]]]] = {
        "predict": (".ome.tif", lambda source, out: ["predict", source, "-m", MODEL, "-o", out]),
        "register": (".tif", lambda source, out: ["register", source, "other.tif", "-o", out, "--overwrite"]),
        "cells measure": (".csv", lambda source, out: ["cells", "measure", source, "-o", out]),
        "cells generate": (".tif", lambda source, out: ["cells", "generate", "jurkat-cells", source, "-o", out, "--overwrite"]),
        "models export": (".zip", lambda source, out: ["models", "export", source, "-o", out, "--overwrite"]),
        "models import": (".pt", lambda source, out: ["models", "import", source, "--name", "x", "-o", out, "--overwrite"]),
        "evaluate": ("", lambda source, out: ["evaluate", source, "other.tif", "--level", "pixels", "-o", out]),
    }
    names: dict[str, Callable[[Path], str]] = {
        "itself": lambda path: path.name,
        "nox/..": lambda path: f"nox/../{path.name}",
        "link": lambda path: _linked(path, lambda link: link.symlink_to(path)),
        "hard link": lambda path: _linked(path, lambda link: link.hardlink_to(path)),
        "proc": lambda path: f"/proc/self/cwd/{path.name}",
        "folder": lambda path: str(path.parent),
    }
    for command, (suffix, words) in list(commands.items())[: 3 if quick else None]:
        for name, spell in list(names.items())[: 3 if quick else None]:
            folder = work / f"{command} {name}".replace("/", "_")

            def attack(
                folder: Path = folder,
                suffix: str = suffix,
                words: Callable[[str, str], list[str]] = words,
                spell: Callable[[Path], str] = spell,
            ) -> str:
                folder.mkdir(parents=True)
                source = folder / f"in{suffix}"
                source.write_bytes(b"two years of work")
                (folder / "other.tif").write_bytes(b"more work")
                out = spell(source)
                before = contents(folder)
                ended = run(words(source.name, out), folder)
                return ended.fault((2,)) or ("" if contents(folder) == before else "the input was touched")

            yield f"{command}, {name}", attack


def _linked(path: Path, link: Callable[[Path], None]) -> str:
    other = path.with_name(f"link{''.join(path.suffixes)}")
    link(other)
    return other.name


# -- hostile files


def bomb(shape: tuple[int, ...], bits: int = 16, samples: int = 1) -> bytes:
    """A TIFF of a hundred bytes that claims to be of any size."""
    tags = [
        (256, 4, shape[-1]),
        (257, 4, shape[-2]),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 4, samples),
        (278, 4, shape[-2]),
    ]
    tags.append((279, 4, 64))
    body = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + 64) + bytes(64) + struct.pack("<H", len(tags)) + body + struct.pack("<I", 0)


class Code:
    """Runs a command when it is unpickled, if anyone unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch HACKED",)


def images(folder: Path, data: Path) -> Iterator[tuple[str, list[object]]]:
    """Files that are images, or say so."""
    whole = (data / "image.ome.tif").read_bytes()
    made: dict[str, bytes] = {
        "empty.tif": b"",
        "random.tif": random.Random(0).randbytes(5000),
        "half.tif": whole[: len(whole) // 2],
        "head.tif": whole[:100],
        "channels.tif": bomb((64, 64), samples=10**9),
        "large.tif": bomb((2**31 - 1, 2**31 - 1)),
        "circle.tif": b"II*\0" + struct.pack("<IHHHIII", 8, 1, 256, 3, 1, 8, 8),
        "text.tif": b"this is no image",
        "png.tif": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "zip.ome.tif": _zip({"a": b"b"}),
        "bomb.png": _png_bomb(),
        "random.nd2": random.Random(1).randbytes(4096),
        "random.czi": b"ZISRAWFILE" + random.Random(2).randbytes(4096),
        "random.lif": random.Random(3).randbytes(4096),
        "\x1b]0;owned\x07.tif": b"a name that changes the terminal",
        os.fsdecode(b"no-utf8-\xff.tif"): b"a name that is no UTF-8",
    }
    for name, content in made.items():
        path = folder / name
        path.write_bytes(content)
        yield f"image {name!r}", ["evaluate", path, path]
    xml = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(12)
    )
    tifffile.imwrite(folder / "laughs.ome.tif", np.zeros((8, 8), np.uint8), description=f"{xml}]><OME>&l;</OME>", metadata=None)
    yield "image whose XML grows", ["evaluate", folder / "laughs.ome.tif", folder / "laughs.ome.tif"]
    for name, path in (("out of the store", "../../secret"), ("absolute", "/etc"), ("missing", "absent")):
        zarr = folder / f"{name.replace(' ', '_')}.ome.zarr"
        zarr.mkdir()
        scale = {"datasets": [{"path": path, "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}]}
        axes = {"axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]}
        attributes = {"ome": {"version": "0.5", "multiscales": [{**scale, **axes}]}}
        (zarr / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
        yield f"OME-Zarr whose array is {name}", ["evaluate", zarr, zarr]


def tables(folder: Path, data: Path) -> Iterator[tuple[str, list[object]]]:
    """Tables of cells."""
    made: dict[str, bytes] = {
        "empty.csv": b"",
        "nul.csv": b"ImageNumber,ObjectNumber,Cells_AreaShape_Area\n1,1,\0\n",
        "quote.csv": b'ImageNumber,ObjectNumber,Cells_AreaShape_Area\n1,1,"' + b"x" * 200_000,
        "field.csv": b"ImageNumber,ObjectNumber," + b"x" * 200_000 + b"\n1,1,2\n",
        "ragged.csv": b"ImageNumber,ObjectNumber,Cells_AreaShape_Area\n1\n1,2,3,4,5,6\n",
        "random.csv": random.Random(4).randbytes(5000),
        "random.parquet": b"PAR1" + random.Random(5).randbytes(5000) + b"PAR1",
        "random.sqlite": b"SQLite format 3\0" + random.Random(6).randbytes(5000),
        "bomb.csv.gz": gzip.compress(b"0" * 50_000_000),
        "control.csv": b"ImageNumber,ObjectNumber,Cells_\x1b[31mArea\n1,1,2\n",
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
        yield f"table {name}", ["cells", "table", folder / name]
    endless = folder / "endless.sqlite"
    with contextlib.closing(sqlite3.connect(endless)) as base:
        query = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x AS ImageNumber, x AS ObjectNumber FROM c"
        base.execute(f"CREATE VIEW Per_Object AS {query}")
        base.execute("CREATE TABLE Per_Image (ImageNumber INTEGER)")
        base.commit()
    yield "database whose view never ends", ["cells", "table", endless]


def packages(folder: Path, data: Path) -> Iterator[tuple[str, list[object]]]:
    """Models of strangers."""
    files = open_files(locate(MODEL))
    description = files.read("rdf.yaml", 1 << 20).decode()
    with zipfile.ZipFile(locate(MODEL)) as archive:
        sound = {name: archive.read(name) for name in archive.namelist()}
    made: dict[str, bytes] = {
        "random.zip": random.Random(7).randbytes(5000),
        "empty.zip": _zip({}),
        "slip.zip": _zip({**sound, "../../HACKED": b"x", "/tmp/HACKED": b"x"}),
        "url.zip": _zip({**sound, "rdf.yaml": description.replace("weights.pt", "http://127.0.0.1:9/weights.pt").encode()}),
        "code.zip": _zip({**sound, "weights.pt": pickle.dumps(Code())}),
        "yaml.zip": _zip({**sound, "rdf.yaml": b"!!python/object/apply:os.system ['touch HACKED']"}),
        "laughs.zip": _zip({**sound, "rdf.yaml": _yaml_bomb()}),
        "missing.zip": _zip({name: value for name, value in sound.items() if name != "weights.pt"}),
        "bomb.zip": _zip({**sound, "weights.pt": bytes(200_000_000)}),
        "wrong sum.zip": _zip({**sound, "weights.pt": sound["weights.pt"][:-1] + b"x"}),
        "code.pt": pickle.dumps(Code()),
        "random.onnx": random.Random(8).randbytes(5000),
        "half.pt": sound["weights.pt"][:1000],
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
        if name.endswith(".zip"):
            yield f"package {name}, checked", ["models", "check", folder / name]
        yield f"package {name}, imported", ["models", "import", folder / name, "--name", "stranger", "-o", folder / f"{name}-imported"]


def plates(folder: Path, data: Path) -> Iterator[tuple[str, list[object]]]:
    """Plates whose index is hostile."""
    indexes = {
        "Index.idx.xml": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><EvaluationInputData>&e;</EvaluationInputData>',
        "Index.xml": random.Random(9).randbytes(3000),
        "plate.HTD": b'"HTSInfoFile", Version 1.0\n"XWells", 999999999\n"YWells", 999999999\n',
        "MeasurementData.mlf": b"<bts:MeasurementData>",
        "experiment.xdce": b"<ImageStack>" * 100_000,
        "load_data.csv": b"Metadata_Well,FileName_DNA,PathName_DNA\nA01,passwd,/etc\n",
    }
    for name, content in indexes.items():
        place = folder / name.replace(".", "_")
        place.mkdir()
        (place / name).write_bytes(content)
        yield f"plate with {name}", ["plate", "info", place / name if name.endswith(".csv") else place]


def hostile(work: Path, data: Path, quick: bool) -> Iterator[Attack]:
    """Give files of strangers to the commands that read them."""
    for make in (images, tables, packages, plates):
        folder = work / make.__name__
        folder.mkdir(parents=True)
        for number, (name, words) in enumerate(make(folder, data)):
            if quick and number % 4:
                continue

            def attack(words: list[object] = words, folder: Path = folder) -> str:
                cwd = Path(tempfile.mkdtemp(dir=work))
                ended = run(words, cwd)
                hacked = [*work.rglob("HACKED"), *([Path("/tmp/HACKED")] if Path("/tmp/HACKED").exists() else [])]
                return ended.fault((0, 2)) or ("code was run or a path left the package" if hacked else "")

            yield name, attack


def _zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _png_bomb() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(bytes(1_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def _yaml_bomb() -> bytes:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    return "\n".join(lines).encode()


# -- a full disk, signals, kills


def commands(data: Path, out: Path) -> dict[str, list[object]]:
    """Commands that write, and take some seconds."""
    plate = data / "plate.zarr"
    return {
        "predict": ["predict", data / "image.ome.tif", "-m", MODEL, "-o", out / "stains.ome.tif", "--tta", "full"],
        "simulate, workers": ["simulate", out / "new.zarr", "--plate", "2x4", "--fields", "1", "--size", "128", "--workers", "2"],
        "plate predict, workers": ["plate", "predict", plate, "-m", MODEL, "-o", out / "painted.zarr", "--workers", "2"],
        "evaluate, workers": ["evaluate", plate, plate, "--level", "pixels", "-o", out / "report", "--workers", "2"],
        "cells measure": ["cells", "measure", data / "fields", "-o", out / "cells.parquet"],
        "simulate": ["simulate", out / "fields", "--fields", "4", "--size", "256"],
    }


def full_disk(work: Path, data: Path, quick: bool) -> Iterator[Attack]:
    """Let the disk fill up: a small one of its own where root may mount it, else a limit on the size of each file."""
    for number, name in enumerate(list(commands(data, work))[: 2 if quick else None]):

        def attack(name: str = name, number: int = number) -> str:
            place = work / f"disk {number}"
            place.mkdir(parents=True)
            mounted = (
                os.geteuid() == 0
                and not subprocess.run(
                    ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(place)], capture_output=True, check=False
                ).returncode
            )
            limit = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                ended = run(commands(data, place)[name], data, preexec_fn=limit)
                fault = ended.fault((1, 3)) or ("" if str(place) in ended.err else "the path is not named")
                return fault or (f"half-written: {half_written(place)}" if half_written(place) else "")
            finally:
                if mounted:
                    subprocess.run(["umount", str(place)], check=False)

        yield name, attack


SIGNALS = {
    "SIGINT": ([signal.SIGINT], 130),
    "SIGINT twice": ([signal.SIGINT, signal.SIGINT], 130),
    "SIGTERM": ([signal.SIGTERM], 143),
    "SIGHUP": ([signal.SIGHUP], 143),
}


def after(seconds: float, numbers: Sequence[int]) -> Callable[[psutil.Process], Sequence[int]]:
    begun = time.monotonic()
    return lambda _: numbers if time.monotonic() - begun > seconds else ()


def signals(work: Path, data: Path, quick: bool) -> Iterator[Attack]:
    """Stop commands at some moment, in each way; what was stopped goes on."""
    chance = random.Random(10)
    for name in list(commands(data, work))[: 2 if quick else None]:
        for way, (numbers, code) in list(SIGNALS.items())[:: 2 if quick else 1]:
            out = work / f"{name} {way}"

            def attack(
                name: str = name,
                numbers: Sequence[int] = numbers,
                code: int = code,
                out: Path = out,
                moment: float = chance.uniform(1.0, 5.0),
            ) -> str:
                out.mkdir(parents=True)
                words = commands(data, out)[name]
                ended = run(words, data, at=after(moment, numbers))
                fault = ended.fault((0, code)) or (f"half-written: {half_written(out)}" if half_written(out) else "")
                if ended.code and ended.err.count("stopped") != 1:
                    fault = fault or f"not one sentence: {ended.err[-300:]}"
                return fault or run(words, data).fault((0,))

            yield f"{name}, {way}", attack


def killed(work: Path, data: Path, quick: bool) -> Iterator[Attack]:
    """Kill commands at some moment; the same command goes on, and its outputs are those of one that was not killed."""
    chance = random.Random(11)
    for name in list(commands(data, work))[: 2 if quick else None]:
        out = work / name

        def attack(name: str = name, out: Path = out, moment: float = chance.uniform(1.0, 6.0)) -> str:
            out.mkdir(parents=True)
            words = commands(data, out)[name]
            run(words, data, at=after(moment, [signal.SIGKILL]))
            ended = run(words, data)
            return ended.fault((0,)) or (f"half-written: {half_written(out)}" if half_written(out) else "")

        yield name, attack


def make_data(folder: Path) -> None:
    """Simulate a plate, some fields and an image."""
    for words in (
        ["simulate", folder / "plate.zarr", "--plate", "2x2", "--fields", "1", "--size", "128"],
        ["simulate", folder / "fields", "--fields", "2", "--size", "200"],
    ):
        done = run(words, folder)
        assert done.code == 0, done.err
    (folder / "fields" / "field_000" / "brightfield.ome.tif").rename(folder / "image.ome.tif")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="try a part of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="try only these")
    args = parser.parse_args()
    makers = dict(zip(KINDS, (over_inputs, hostile, full_disk, signals, killed), strict=True))
    lost = 0
    with tempfile.TemporaryDirectory(prefix="attack-") as temporary:
        data = Path(temporary, "data")
        data.mkdir()
        make_data(data)
        for kind in args.kinds:
            work = Path(temporary, kind)
            work.mkdir()
            attacks = list(makers[kind](work, data, args.quick))
            with ThreadPoolExecutor(2) as pool:
                faults = list(pool.map(lambda attack: attack[1](), attacks))
            survived = sum(not fault for fault in faults)
            lost += len(attacks) - survived
            print(f"{kind:<20} tried {len(attacks):3}, survived {survived:3}", flush=True)
            for (name, _), fault in zip(attacks, faults, strict=True):
                if fault:
                    print(f"    LOST {name!r}: {' '.join(fault.split())}", flush=True)
    print("all were survived" if not lost else f"{lost} were NOT survived")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
