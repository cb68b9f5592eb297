"""Make docs/images/evaluate-instances.png: outlines of nuclei and cells in the truth and in what a bundled model painted.

Usage: python scripts/instances_figure.py [OUTPUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from napari_virtual_paint.evaluation import TRUTH, EvaluationSettings, FieldImages
from napari_virtual_paint.evaluation.instances.pictures import overlay
from napari_virtual_paint.evaluation.objects import OBJECTS, objects_of
from napari_virtual_paint.evaluation.scale import IntensityScale
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.samples import SimulationSettings, simulate_field

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "evaluate-instances.png"
MODEL, SIZE, SEED, GAP = "simulated-cell-painting", 400, 5, 6


def main() -> None:
    field = simulate_field(SimulationSettings(size=SIZE, seed=SEED, treatment="mitoxantrone", dose=0.5))
    painted = run_to_end(paint(open_model(MODEL), field.brightfield, PaintSettings(device="cpu"))).stack
    truth, prediction = (np.asarray(stack.data, np.float32)[0, :, 0] for stack in (field.stains, painted))
    images = FieldImages("field", "", field.stains.channel_labels, 0.65, truth, {MODEL: prediction}, IntensityScale())
    settings = EvaluationSettings(segmenter="skimage")
    found = [objects_of(images, source, settings) for source in (TRUTH, MODEL)]
    rows = []
    for kind in OBJECTS:
        left, right = overlay(images, found[0], found[1], kind, MODEL)
        rows.append(np.hstack([left, np.full((SIZE, GAP, 3), 255, np.uint8), right]))
    sheet = np.vstack([rows[0], np.full((GAP, rows[0].shape[1], 3), 255, np.uint8), rows[1]])
    Image.fromarray(sheet).quantize(256).save(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT, optimize=True)


if __name__ == "__main__":
    main()
