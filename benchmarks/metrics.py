"""Time of our SSIM and of all five scores against scikit-image, interleaved on this machine.

``python benchmarks/metrics.py [--json] [--repeats N]`` prints ratios: how many times as fast as scikit-image's ``structural_similarity``
(and its PSNR and NumPy's PCC, MSE and MAE for all five), and the largest difference of the values.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_virtual_paint.metrics import score
from napari_virtual_paint.metrics.ssim import WINDOW, LocalSums, Scaling

Images = list[tuple[np.ndarray, np.ndarray]]


def images(count: int, shape: tuple[int, ...]) -> Images:
    """Blurred truths and predictions that are noisy truths, each at mean 0 and SD 1, float64."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(count):
        truth = gaussian_filter(rng.normal(size=shape), 2.0)
        prediction = truth / truth.std() + 0.5 * rng.normal(size=shape)
        pairs.append(tuple((image - image.mean()) / image.std() for image in (prediction, truth)))
    return pairs


def our_ssim(pairs: Images) -> list[float]:
    values = []
    for prediction, truth in pairs:
        local = LocalSums(Scaling(), Scaling(), float(np.ptp(truth)), volume=truth.ndim == 3 and len(truth) >= WINDOW)
        for plane in zip(*(image if image.ndim == 3 else image[None] for image in (prediction, truth)), strict=True):
            local.update(*plane)
        values.append(float(local.ssim or np.nan))
    return values


def their_ssim(pairs: Images) -> list[float]:
    return [structural_similarity(truth, prediction, data_range=np.ptp(truth)) for prediction, truth in pairs]


def our_scores(pairs: Images) -> list[float]:
    return [float(value or np.nan) for pair in pairs for value in score(*pair).to_json().values()]


def their_scores(pairs: Images) -> list[float]:
    values = []
    for prediction, truth in pairs:
        a, b = ((image - image.mean()) / image.std() for image in (prediction, truth))
        span = np.ptp(b)
        values += [np.corrcoef(a.ravel(), b.ravel())[0, 1], structural_similarity(b, a, data_range=span)]
        values += [peak_signal_noise_ratio(b, a, data_range=span), np.mean((a - b) ** 2), np.mean(np.abs(a - b))]
    return values


def measure(
    ours: Callable[[Images], list[float]], theirs: Callable[[Images], list[float]], pairs: Images, repeats: int
) -> dict[str, float]:
    """Run both in turn and return the medians' ratio and the largest difference of the values."""
    difference = float(np.max(np.abs(np.subtract(ours(pairs), theirs(pairs)))))  # also warms up
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for taken, function in zip(times, (ours, theirs), strict=True):
            start = time.perf_counter()
            function(pairs)
            taken.append(time.perf_counter() - start)
    our_time, their_time = (float(np.median(taken)) for taken in times)
    return {"times_as_fast": their_time / our_time, "seconds": our_time, "skimage_seconds": their_time, "difference": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="runs of each, in turn (default: %(default)s)")
    args = parser.parse_args()
    flat, volume = images(5, (998, 998)), images(1, (32, 256, 256))
    report: dict[str, Any] = {
        "ssim_998x998x5": measure(our_ssim, their_ssim, flat, args.repeats),
        "ssim_3d_32x256x256": measure(our_ssim, their_ssim, volume, args.repeats),
        "all_scores_998x998x5": measure(our_scores, their_scores, flat, args.repeats),
    }
    if args.json:
        print(json.dumps(report))
        return
    for name, row in report.items():
        print(
            f"{name}: {row['times_as_fast']:.1f} times as fast as scikit-image ({row['seconds']:.3f} s against "
            f"{row['skimage_seconds']:.3f} s), largest difference {row['difference']:.1e}"
        )


if __name__ == "__main__":
    main()
