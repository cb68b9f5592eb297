"""Print how well phase is reconstructed: beside another program's on its stacks, and beside the true optical path on simulated ones.

python scripts/phase_table.py [--references FOLDER] [--fields N]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.preprocessing import Microscope, PhaseSettings, reconstruct_phase
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.samples import SimulationSettings, optical_path, simulate_field
from napari_virtual_paint.samples.optics import Optics
from napari_virtual_paint.stack import PixelSize, Stack


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--references", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "references")
    parser.add_argument("--fields", type=int, default=4)
    args = parser.parse_args()
    _references(sorted(args.references.glob("phase_reference*.json")))
    _simulated(args.fields)


def correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return Pearson's correlation."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _references(files: list[Path]) -> None:
    """Compare with stacks, true objects and reconstructions of waveorder."""
    print("| stack | mode | r with waveorder | r with the true object | waveorder's |\n|---|---|---|---|---|")
    for file in files:
        told, images = json.loads(file.read_text()), np.load(file.with_suffix(".npz"))
        stack = Stack(images["brightfield"][None, None], pixel_size=PixelSize(told["z_pixel_size"], *(told["yx_pixel_size"],) * 2))
        microscope = Microscope(
            told["numerical_aperture_detection"],
            told["numerical_aperture_illumination"],
            told["wavelength_illumination"],
            told["index_of_refraction_media"],
        )
        for mode in ("2d", "3d"):
            strength = told[f"reconstruction_{mode}"]["regularization_strength"]
            phase = run_to_end(reconstruct_phase(stack, PhaseSettings(microscope, mode, strength))).data[0, 0]
            theirs, truth = images[f"reconstructed_{mode}"], images["true_phase"]
            truth = truth if mode == "3d" else truth.sum(0)
            row = (correlation(phase, theirs), correlation(phase, truth), correlation(theirs, truth))
            print(f"| condenser NA {microscope.condenser_na:g} | {mode} | " + " | ".join(f"{value:.4f}" for value in row) + " |")


def _simulated(fields: int) -> None:
    """Compare the phase of simulated stacks with the optical path, beside the best single plane."""
    optics = Optics()
    microscope = Microscope(optics.numerical_aperture, optics.condenser, optics.wavelength, optics.medium)
    print("\n| planes, step | r, best plane | r, phase in 2D | r, greatest phase in 3D | seconds (2D, 3D) |\n|---|---|---|---|---|")
    for planes, step in ((3, 4.0), (9, 2.0), (21, 1.0)):
        rows = []
        for seed in range(fields):
            settings = SimulationSettings(size=512, z=planes, z_step=step, seed=seed)
            truth, stack = optical_path(settings), simulate_field(settings).brightfield
            best = max(abs(correlation(np.asarray(plane), truth)) for plane in stack.data[0, 0])
            found = [best]
            took = []
            for mode in ("2d", "3d"):
                began = time.perf_counter()
                phase = run_to_end(reconstruct_phase(stack, PhaseSettings(microscope, mode, invert=True)))  # type: ignore[arg-type]
                took.append(time.perf_counter() - began)
                image = phase.data[0, 0, 0] if mode == "2d" else phase.data[0, 0].max(0)
                found.append(correlation(image, truth))
            rows.append([*found, *took])
        mean = np.mean(rows, axis=0)
        print(f"| {planes}, {step:g} um | " + " | ".join(f"{value:.3f}" for value in mean[:3]) + f" | {mean[3]:.1f}, {mean[4]:.1f} |")


if __name__ == "__main__":
    main()
