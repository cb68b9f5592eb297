"""Memory of `virtual-paint predict`: that of blocks, not of the field."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.reading import read
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write
from small_models import CONFIG_2D, TOY_2D, write_toy

CODE = """
import sys
from napari_virtual_paint.cli import main, predict
predict.IN_MEMORY = int(sys.argv.pop(1))
sys.exit(main(sys.argv[1:]))
"""


def peak(image: Path, package: Path, output: Path, *, most: int, memory: float) -> float:
    """Return the peak memory in MB of painting an image in a process of its own."""
    given = ["predict", str(image), "-m", str(package), "-o", str(output), "--device", "cpu", "--json", "--memory", str(memory)]
    done = subprocess.run([sys.executable, "-c", CODE, str(most), *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["peak_memory_mb"])


@pytest.mark.skipif(sys.platform == "win32", reason="files in memory can't be given back there")
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_memory_is_that_of_a_block(tmp_path: Path, suffix: str) -> None:
    toy = {
        **TOY_2D,
        "channels": ("Brightfield",),
        "planes_as_channels": False,
        "z_offsets": None,
        "config": {**CONFIG_2D, "in_channels": 1},
    }
    package = write_toy(tmp_path / "toy.zip", toy, test_input=np.tile(np.arange(48, dtype=np.float32), (1, 32, 1)))
    rng = np.random.default_rng(0)
    images = {}
    for side in (300, 4096):
        pixels = rng.integers(0, 4000, (1, 1, 1, side, side), dtype=np.uint16)
        images[side] = write(Stack(pixels, ("BF",)), tmp_path / f"{side}.ome.zarr")
    small = peak(images[300], package, tmp_path / f"small{suffix}", most=1 << 30, memory=2)
    whole = peak(images[4096], package, tmp_path / f"whole{suffix}", most=1 << 30, memory=2)
    blocks = peak(images[4096], package, tmp_path / f"blocks{suffix}", most=0, memory=0.03)
    assert whole - small > 350
    assert blocks - small < 150
    ours, theirs = (read(tmp_path / f"{name}{suffix}") for name in ("blocks", "whole"))
    np.testing.assert_allclose(ours.data[0, :, 0, 1900:2300], theirs.data[0, :, 0, 1900:2300], atol=1e-5)
