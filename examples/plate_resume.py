"""A plate that is killed while it is painted, and gone on with, equals one that was never stopped.

Simulates a plate, paints it once without a stop, paints it again and kills that run (kill -9) in the middle, goes on with it,
and compares the checksums of all stains. ``python examples/plate_resume.py`` takes a minute or two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_virtual_paint.plates import job_folder, open_plate, read_scores

COMMAND = [sys.executable, "-c", "import sys; from napari_virtual_paint.cli import main; sys.exit(main())"]
"""What ``virtual-paint`` runs, in the Python that runs this script."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--wells", default="24", help="of the plate: 6, 24, 96, 384 or ROWSxCOLS")
    parser.add_argument("--size", type=int, default=256, help="pixels a side of a field")
    parser.add_argument("--workers", type=int, default=1, help="processes that paint the run that is killed")
    parser.add_argument("--folder", type=Path, help="empty folder to work in; a temporary one if left out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return run(args.folder or Path(temporary), args.wells, args.size, args.workers)


def run(folder: Path, wells: str, size: int, workers: int) -> int:
    """Simulate, paint, kill, go on, compare."""
    plate, whole, killed = folder / "plate.zarr", folder / "whole.zarr", folder / "killed.zarr"
    shown(["simulate", str(plate), "--plate", wells, "--fields", "1", "--size", str(size), "--seed", "3"])
    shown(predict(plate, whole))
    fields = len(open_plate(plate).fields)
    again = predict(plate, killed, workers)
    process = subprocess.Popen([*COMMAND, *again], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and finished(killed) < fields // 2:
        time.sleep(0.02)
    process.kill()
    process.wait()
    print(f"killed (exit code {process.returncode}) with {finished(killed)} of {fields} fields finished")
    report = shown(again)
    one, other = checksums(whole), checksums(killed)
    equal = one == other and len(one) == fields
    for field in list(one)[:3]:
        print(f"  {field}: {one[field][:16]} never stopped, {other.get(field, 'missing')[:16]} killed and gone on with")
    print(f"{report['skipped']} fields were kept, {report['painted']} painted after the kill")
    print(f"mean PCC of DNA: {read_scores(killed)['pcc_DNA'].mean():.3f}")
    print(f"all {fields} fields are {'equal, bit for bit' if equal else 'NOT EQUAL'}")
    return 0 if equal else 1


def predict(plate: Path, output: Path, workers: int = 1) -> list[str]:
    """Return the command that paints the plate."""
    return ["plate", "predict", str(plate), "-m", "simulated-cell-painting", "-o", str(output), "--workers", str(workers), "--json"]


def shown(words: list[str]) -> dict[str, object]:
    """Run ``virtual-paint`` and print the command."""
    print("virtual-paint " + " ".join(words), flush=True)
    done = subprocess.run([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout) if "--json" in words else {}


def finished(output: Path) -> int:
    """Return how many fields have their row."""
    return len([row for row in (job_folder(output) / "rows").glob("*.json") if not row.name.startswith(".")])


def checksums(path: Path) -> dict[str, str]:
    """Return SHA-256 of the pixels of each field."""
    plate = open_plate(path)
    return {str(each): hashlib.sha256(np.asarray(plate.read(each).data).tobytes()).hexdigest() for each in plate.fields}


if __name__ == "__main__":
    sys.exit(main())
