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
for command in sys.stdin.read().splitlines():
    most, *words = command.split("\\t")
    predict.IN_MEMORY = int(most)
    assert main(words) == 0, words
"""


def peaks(*commands: tuple[int, Path, Path, Path, float]) -> list[float]:
    """Return the peak memory in MB after each painting of an image, all in one process; it never falls, so the leanest comes first."""
    lines = [
        [str(most), "predict", str(image), "-m", str(package), "-o", str(output), "--device", "cpu", "--json", "--memory", str(memory)]
        for most, image, package, output, memory in commands
    ]
    text = "\n".join("\t".join(line) for line in lines)
    done = subprocess.run([sys.executable, "-c", CODE], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    decoder, rest, found = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        report, end = decoder.raw_decode(rest)
        found.append(float(report["peak_memory_mb"]))
        rest = rest[end:].strip()
    return found


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
    for side in (300, 2048):
        pixels = rng.integers(0, 4000, (1, 1, 1, side, side), dtype=np.uint16)
        images[side] = write(Stack(pixels, ("BF",)), tmp_path / f"{side}.ome.zarr")
    small, blocks, whole = peaks(
        (1 << 30, images[300], package, tmp_path / f"small{suffix}", 2),
        (0, images[2048], package, tmp_path / f"blocks{suffix}", 0.03),
        (1 << 30, images[2048], package, tmp_path / f"whole{suffix}", 2),
    )
    assert blocks - small < 120
    assert whole - small > 180
    ours, theirs = (read(tmp_path / f"{name}{suffix}") for name in ("blocks", "whole"))
    np.testing.assert_allclose(ours.data[0, :, 0, 900:1300], theirs.data[0, :, 0, 900:1300], atol=1e-5)
