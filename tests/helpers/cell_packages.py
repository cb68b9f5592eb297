"""A small cell model with random weights, as a draft of a package."""

from __future__ import annotations

import numpy as np
import torch

from napari_virtual_paint.cells.cp2image.model import build
from napari_virtual_paint.cells.cp2image.package import CellPackageDraft
from napari_virtual_paint.cells.cp2image.sample import Sample
from napari_virtual_paint.cells.transform import Transform

FEATURES = ("Nuclei_AreaShape_Area", "Cells_Texture_Contrast_DNA_3_00_256", "Cells_Intensity_MeanIntensity_Brightfield")


def draft() -> CellPackageDraft:
    rng = np.random.default_rng(0)
    values = rng.normal((300, 0.02, 4e5), (40, 0.005, 9e4), (45, 3)).astype(np.float32)
    values[3, 1] = np.nan
    y, x = np.mgrid[:40, :40]
    shape = np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / 60)
    crops = (100 + 3000 * rng.uniform(0.3, 1, (45, 2, 1, 1)) * shape).astype(np.float32)
    torch.manual_seed(0)
    return CellPackageDraft(
        id="toy-cells",
        name="Toy cells",
        version="0.1.0",
        description="For tests.",
        license="BSD-3-Clause",
        authors=("Nobody",),
        card={"trained_on": "Nothing.", "scores": {"fid": 1.5}, "not_for": "Anything."},
        features=FEATURES,
        channels=("Brightfield", "DNA"),
        size=40,
        pixel_size=0.5,
        architecture="CellPainter",
        config={"width": 8, "max_width": 16, "style": 16},
        transform=Transform.fit(values),
        low=np.float32([0, 100]),
        high=np.float32([1000, 3000]),
        network=build("CellPainter", {"features": 3, "channels": 2, "size": 40, "width": 8, "max_width": 16, "style": 16}),
        reader=build("CropReader", {"features": 3, "channels": 2, "size": 40}),
        sample=Sample(values, crops, {"Metadata_Well": tuple(f"A{i % 3}" for i in range(45))}),
    )
