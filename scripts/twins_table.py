"""Prints the table of docs/training.md: the bundled U-Net by L1 against the same network trained on against a critic, on the same fields.

    python scripts/twins_table.py [--fields 6]

The form is that of Table 2 of Cross-Zamirski et al. 2022: SSIM, PSNR, MSE, MAE and PCC of each channel, mean and SD over fields that no
training saw. The last column is not the paper's: the SD of what a blur of 1.5 px takes away, of the painted over that of the real image.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter

from napari_virtual_paint.metrics import score
from napari_virtual_paint.models import open_model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.samples import SimulatedField, SimulationSettings, simulate_field

TWINS = {"U-Net": "simulated-cell-painting-l1", "cWGAN-GP": "simulated-cell-painting-gan"}
TREATMENTS = ("control", "mitoxantrone", "actin-disruptor")
BLUR = 1.5
Floats = npt.NDArray[np.floating]


def fine(image: Floats) -> float:
    """Return the SD of the fine detail of an image that is brought to SD 1."""
    scaled = (image - image.mean()) / image.std()
    return float((scaled - gaussian_filter(scaled, BLUR)).std())


def rows_of(model: str, fields: list[SimulatedField]) -> Floats:
    """Return SSIM, PSNR, MSE, MAE, PCC and the ratio of fine detail, (fields, stains, 6)."""
    found, opened = [], open_model(model)
    for field in fields:
        painted = np.asarray(run_to_end(paint(opened, field.brightfield, PaintSettings(device="cpu"))).stack.data)[0, :, 0]
        truth = np.asarray(field.stains.data)[0, :, 0]
        each = [score(a, b) for a, b in zip(painted, truth, strict=True)]
        found.append(
            [
                (one.ssim, one.psnr, one.mse, one.mae, one.pcc, fine(a) / fine(b))
                for one, a, b in zip(each, painted.astype(float), truth.astype(float), strict=True)
            ]
        )
    return np.array(found, float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = [SimulationSettings(size=512, seed=70000 + i, treatment=TREATMENTS[i % len(TREATMENTS)]) for i in range(args.fields)]
    fields = [simulate_field(one) for one in settings]
    found = {name: rows_of(model, fields) for name, model in TWINS.items()}
    head = ["channel", "model", "SSIM", "PSNR", "MSE", "MAE", "PCC", "fine detail"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for index, stain in enumerate(open_model(TWINS["U-Net"]).info.stains):
        for name, values in found.items():
            cells = [f"{mean:.2f} ± {sd:.2f}" for mean, sd in zip(values[:, index].mean(0), values[:, index].std(0), strict=True)]
            print(f"| {' | '.join([stain, name, *cells])} |")
    for name, values in found.items():
        print(f"| {' | '.join(['mean', name, *(f'{mean:.3f}' for mean in values.mean((0, 1)))])} |")


if __name__ == "__main__":
    main()
