"""Print how readable stains shown together are, dimmed by their colors and at equal strength.

White: share of the foreground that is nearly white. Blue nuclei: share of the pixels brightest in the first stain (the top decile of the
foreground, usually DNA) whose largest of red, green and blue is blue.

    python scripts/composite_table.py [IMAGE ...] [--save FOLDER]

IMAGE: any image of several stains; sparse and dense simulated fields are always printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from napari.utils.colormaps import ensure_colormap
from PIL import Image
from skimage.filters import threshold_otsu

from napari_virtual_paint._napari.shared.viewer.appearance import contrast_limits
from napari_virtual_paint.channel_colors import Look, channel_color, looks_together
from napari_virtual_paint.reading import read
from napari_virtual_paint.samples import SimulationSettings, simulate_field
from napari_virtual_paint.stack import Stack

WHITE = 0.8  # of red, green and blue, above which a pixel counts as white
EQUAL = Look(0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the pictures there")
    args = parser.parse_args()
    fields = {Path(path).name: read(path) for path in args.images}
    for density in (330.0, 1200.0):
        fields[f"simulated, {density:.0f} cells/mm2"] = simulate_field(SimulationSettings(size=600, seed=5, density=density)).stains
    print(f"{'field':<28}{'white':>8}{'equal':>8}{'blue nuclei':>14}{'equal':>8}")
    for name, stack in fields.items():
        planes = np.asarray(stack.data[0, :, stack.shape[2] // 2], np.float32)
        foreground = np.any([plane > threshold_otsu(plane) for plane in planes], axis=0)
        nuclei = planes[0] > np.percentile(planes[0][foreground], 90)
        shown = composite(stack, planes, looks_together(stack.channel_labels))
        equal = composite(stack, planes, [EQUAL] * len(planes))
        white = [float((picture.min(axis=-1) > WHITE)[foreground].mean()) for picture in (shown, equal)]
        blue = [float((picture.argmax(axis=-1) == 2)[nuclei].mean()) for picture in (shown, equal)]
        print(f"{name:<28}{white[0]:>8.1%}{white[1]:>8.1%}{blue[0]:>14.0%}{blue[1]:>8.0%}")
        if args.save is not None:
            args.save.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray((255 * np.hstack((equal, shown))).astype(np.uint8))
            picture.save(args.save / f"{''.join(c if c.isalnum() else '-' for c in name)}.png")


def composite(stack: Stack, planes: np.ndarray, looks: list[Look]) -> np.ndarray:
    """Return the sum of colors (Y, X, 3) that napari shows of planes (C, Y, X)."""
    out = np.zeros((*planes.shape[1:], 3), np.float32)
    for index, (plane, name, look) in enumerate(zip(planes, stack.channel_labels, looks, strict=True)):
        low, high = contrast_limits(plane) or (0.0, 1.0)
        colormap = ensure_colormap(channel_color(name, index).colormap)
        share = np.clip((plane - low) / (high - low), 0, 1) ** look.gamma
        out += look.opacity * colormap.map(share.ravel())[:, :3].reshape(out.shape)
    return np.clip(out, 0, 1)


if __name__ == "__main__":
    main()
