"""Cut the montages of Jurkat cells into images of 25 cells for the study of cell-cycle phases, and list them (docs/study.md).

    python scripts/study_jurkat.py ../shared/data/jurkat_flow build/studies/jurkat

A montage is a grid of places of 40 px, one cell in each, that have nothing to do with each other. Of each montage the first 20 columns of
places are taken (the one of prophase has no more), as 6 x 4 images of 5 x 5 places: the upper three rows of images train, the fourth
chooses the epoch, the last two test.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

SIDE = 200
"""Side of an image, px: 5 places of 40 px."""
ROWS, COLUMNS = 6, 4
PARTS = ("train", "train", "train", "validation", "test", "test")
"""Part of each row of images."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("montages", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    rows = [row for path in sorted(args.montages.glob("*.ome.tif")) for row in cut(path, args.output)]
    with (args.output / "images.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    print(f"{len(rows)} images of {SIDE} x {SIDE} px in {args.output}")


def cut(path: Path, output: Path) -> list[dict[str, str]]:
    """Write the images of one montage; return their rows of the table."""
    name = path.name.removesuffix(".ome.tif")
    words = name.split("_")
    experiment, phase = words[1], words[2]
    image = read(path)
    pixels = np.asarray(image.data)[:, :2]  # brightfield and DNA; darkfield is left out
    rows = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            at = pixels[..., row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            file = output / f"{name}_{row}{column}.ome.tif"
            write(Stack(np.ascontiguousarray(at), ("Brightfield", "DNA"), image.pixel_size), file, overwrite=True)
            state = "mitotic" if phase == "prophase" else "interphase"
            known = {"phase": phase, "state": state, "experiment": experiment, "montage": name}
            rows.append({"image": file.name, "split": PARTS[row], **known})
    return rows


if __name__ == "__main__":
    main()
