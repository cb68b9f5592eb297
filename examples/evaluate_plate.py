"""A good and a deliberately weak model, judged by what is done with their stains: pixels, objects, features and profiles.

Simulates two small plates with treatments, each a batch with light, gain and offset of its own, joins them to one, paints it with the
bundled model and with one that was trained for seconds, and writes the report of both: ``python examples/evaluate_plate.py --folder out``.
Prints who wins at each level; the exit code is 1 where the good model does not win at all of them. Every step goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from napari_virtual_paint.plates.wells import position, well_name

COMMAND = [sys.executable, "-c", "import sys; from napari_virtual_paint.cli import main; sys.exit(main())"]
"""What ``virtual-paint`` runs, in the Python that runs this script."""

WEAK: dict[str, Any] = {
    "id": "weak",
    "name": "A deliberately weak model",
    "description": "Trained for some seconds, to be compared with a good one.",
    "trained_on": "Two simulated fields of controls.",
    "not_for": "Anything but this comparison.",
    "output": "weak.zip",
    "data": {"simulate": {"fields": 2, "size": 256}, "z_offsets": [-4, 0, 4]},
    "split": {"validation": {"side": "right", "fraction": 0.25}},
    "network": {"config": {"depth": 3, "width": 6}},
    "patch": [96, 96],
    "batch": 2,
    "epoch": 60,
    "device": "cpu",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--wells", default="3x6", help="of each plate: ROWSxCOLS")
    parser.add_argument("--size", type=int, default=600, help="pixels a side of a field")
    parser.add_argument("--steps", type=int, default=60, help="of the weak model's training")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--folder", type=Path, help="where all of it is kept; a temporary folder if left out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        plate = simulate(folder, args.wells, args.size, args.workers)
        painted = paint(folder, plate, args.steps, args.workers)
        return judge(folder, plate, painted, args.workers)


def simulate(folder: Path, wells: str, size: int, workers: int) -> Path:
    """Simulate two plates of different batches and join them to one table of images, the second one's wells below the first one's."""
    rows = int(wells.split("x")[0])
    tables = []
    for batch in (1, 2):
        name = f"batch{batch}"
        command = ["simulate", str(folder / name), "--plate", wells, "--size", str(size), "--seed", str(batch), "--batch", str(batch)]
        shown([*command, "--doses", "0.8,2", "--layout", "table", "--workers", str(workers), "--json"])
        images = pd.read_csv(folder / name / "images.csv")
        images["well"] = [below(well, rows * (batch - 1)) for well in images["well"]]
        images["path"] = f"{name}/" + images["path"]
        tables.append(images.assign(plate="joined"))
    joined = folder / "images.csv"
    pd.concat(tables).to_csv(joined, index=False)
    return joined


def below(well: str, rows: int) -> str:
    """Return the well so many rows further down."""
    row, column = position(well)
    return well_name(row + rows, column)


def paint(folder: Path, plate: Path, steps: int, workers: int) -> dict[str, Path]:
    """Paint the plate with both models."""
    (folder / "weak.yaml").write_text(yaml.safe_dump({**WEAK, "steps": steps}), encoding="utf-8")
    if not (folder / "weak.zip").exists():
        shown(["train", str(folder / "weak.yaml")])
    painted = {}
    for name, model in (("good", "simulated-cell-painting"), ("weak", str(folder / "weak.zip"))):
        painted[name] = folder / f"{name}.zarr"
        shown(["plate", "predict", str(plate), "-m", model, "-o", str(painted[name]), "--workers", str(workers), "--json"])
    return painted


def judge(folder: Path, plate: Path, painted: dict[str, Path], workers: int) -> int:
    """Write the report and print what each level says of both."""
    command = ["evaluate", str(painted["good"]), str(plate), "--name", "good", "--also", f"weak={painted['weak']}"]
    found = shown([*command, "--level", "all", "-o", str(folder / "report"), "--workers", str(workers), "--json"])
    lost = []
    print(f"\n{'':44s}{'good':>8s}{'weak':>8s}")
    for words, good, weak, high in scores(found):
        wins = good is not None and weak is not None and (good > weak if high else good < weak)
        print(f"{words:44s}{number(good)}{number(weak)}  {'good' if wins else 'NOT good'}{'' if high else ' (lower is better)'}")
        lost += [] if wins else [words]
    print(f"\n{folder / 'report' / 'report.html'}")
    return 1 if lost else 0


def scores(found: dict[str, Any]) -> Iterator[tuple[str, float | None, float | None, bool]]:
    """Yield words, the score of both, and whether high is good: one or more of each level."""
    good, weak = found, found["also"]["weak"]
    for stain in good["pixels"]:
        yield f"pixels: PCC of {stain}", good["pixels"][stain]["pcc"], weak["pixels"][stain]["pcc"], True
    for kind in good["instances"]:
        for key in ("f1_0.7", "map_dsb"):
            yield f"instances: {key} of {kind}", good["instances"][kind][key], weak["instances"][kind][key], True
    yield "features: median Spearman correlation", *(each["features"]["median_correlation"] for each in (good, weak)), True
    yield "features: N-MAE of the 20 most informative", *(each["features"]["nmae_top20"] for each in (good, weak)), False
    for key in ("map", "enrichment_1pct"):
        yield f"profiles: {key}", good["profiles"][key], weak["profiles"][key], True
    yield "profiles: toxicity, balanced accuracy", *(balanced(each["profiles"]) for each in (good, weak)), True


def balanced(profiles: dict[str, Any]) -> float | None:
    """Return the mean of sensitivity and specificity: a model that calls every well harmless has 0.5."""
    both = [profiles[key] for key in ("sensitivity", "specificity")]
    return None if None in both else sum(both) / 2


def number(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>8s}"


def shown(words: list[str]) -> dict[str, Any]:
    """Run ``virtual-paint`` and print the command; its words go where ours go."""
    print("virtual-paint " + " ".join(words), file=sys.stderr, flush=True)
    done = subprocess.run([*COMMAND, *words], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return json.loads(done.stdout) if "--json" in words else {}


if __name__ == "__main__":
    sys.exit(main())
