"""Make docs/images/simulator.png: simulated fields of each treatment, brightfield beside the true stains.

Usage: python scripts/simulator_figure.py [OUTPUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from napari_virtual_paint.samples import TREATMENTS, SimulatedField, SimulationSettings, simulate_field

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "simulator.png"
SIZE, SHOWN, SEED, GAP = 320, 220, 5, 3
COLOURS = {"DNA": (0.25, 0.4, 1), "ER": (0.2, 1, 0.3), "RNA": (1, 0.9, 0.2), "AGP": (1, 0.45, 0.1), "Mito": (1, 0.2, 0.9)}


def stretched(image: np.ndarray, low: float = 0.2, high: float = 99.7) -> np.ndarray:
    bottom, top = np.percentile(image, [low, high])
    return np.clip((image - bottom) / max(top - bottom, 1e-6), 0, 1)


def grey(image: np.ndarray) -> np.ndarray:
    """Return brightfield, one window of contrast for all: 12 % below to 12 % above the background."""
    return np.repeat(np.clip((image / np.median(image) - 0.88) / 0.24, 0, 1)[..., None], 3, axis=2)


def coloured(image: np.ndarray, name: str) -> np.ndarray:
    return stretched(image)[..., None] ** 0.8 * np.asarray(COLOURS[name])


def row(field: SimulatedField) -> list[np.ndarray]:
    bright, stains = np.asarray(field.brightfield.data)[0, :, 0], np.asarray(field.stains.data)[0, :, 0]
    panels = [grey(bright[0]), grey(bright[1])]
    panels += [coloured(stains[i], name) for i, name in enumerate(COLOURS)]
    panels.append(np.clip(sum(0.75 * coloured(stains[i], name) for i, name in ((0, "DNA"), (1, "ER"), (3, "AGP"))), 0, 1))
    return panels


def assembled(rows: list[list[np.ndarray]], titles: list[str], names: list[str]) -> Image.Image:
    """Return a picture of panels in rows, each row with a name and each column with a title."""
    left, top = 110, 22
    step = SHOWN + GAP
    sheet = Image.new("RGB", (left + step * len(rows[0]), top + step * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for j, title in enumerate(titles):
        pen.text((left + j * step + 4, 5), title, fill="black")
    for i, panels in enumerate(rows):
        pen.text((4, top + i * step + SHOWN // 2), names[i], fill="black")
        for j, panel in enumerate(panels):
            tile = Image.fromarray((panel * 255).astype(np.uint8)).resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)
            sheet.paste(tile, (left + j * step, top + i * step))
    return sheet


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    rows = [row(simulate_field(SimulationSettings(size=SIZE, seed=SEED, treatment=name, dose=2.0))) for name in TREATMENTS]
    titles = ["brightfield -4 um", "brightfield 0 um", *COLOURS, "DNA, ER, AGP"]
    target.parent.mkdir(parents=True, exist_ok=True)
    assembled(rows, titles, list(TREATMENTS)).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
