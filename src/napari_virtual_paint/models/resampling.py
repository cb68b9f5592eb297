"""Resample images to other sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def resize(image: npt.NDArray[np.float32], shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Resample an image (C, ...) linearly to new sides, with a low-pass filter where it shrinks."""
    if tuple(image.shape[1:]) == tuple(shape):
        return image
    from skimage import transform  # slow to import, and most painting does without

    shrinks = any(new < old for new, old in zip(shape, image.shape[1:], strict=True))
    out = [
        transform.resize(channel, tuple(shape), order=1, mode="reflect", anti_aliasing=shrinks, preserve_range=True) for channel in image
    ]
    return np.stack(out).astype(np.float32)
