"""A registered image on the other one's grid."""

from __future__ import annotations

from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.registration.settings import Matrix, Registration
from napari_virtual_paint.stack import PixelSize, Stack


def resample(image: Stack, target: Stack, registration: Registration, order: int = 1) -> Stack:
    """Lay every plane of an image onto the grid of another along y and x.

    Parameters
    ----------
    image
        The image that was registered; its planes and time points stay as they are.
    target
        The image that it was registered onto: its size along y and x and its pixel size are taken.
    order
        Of the interpolation: 1 linear, 0 for labels.

    Returns
    -------
    Stack
        Lazy, plane by plane, of the image's own type; 0 where the image has no pixels.

    Raises
    ------
    InputError
        If the registration failed.
    """
    matrix = registration.matrix
    if matrix is None:
        raise InputError(
            f"{image.source or 'The image'}: it can't be laid on the other image, since the registration failed. {registration.reason}"
        )
    t, c, z, height, width = *image.shape[:3], *target.shape[-2:]
    plane = dask.delayed(_plane, pure=False)
    data = da.stack(
        [
            da.from_delayed(plane(image.data[i, j, k], matrix, (height, width), order), (height, width), image.dtype)
            for i in range(t)
            for j in range(c)
            for k in range(z)
        ]
    ).reshape((t, c, z, height, width))
    size = PixelSize(image.pixel_size.z, target.pixel_size.y, target.pixel_size.x)
    noted = {**dict(image.provenance or {}), "registration": registration.to_json()}
    return replace(image, data=data, pixel_size=size, provenance=noted)


def _plane(plane: npt.ArrayLike, matrix: Matrix, shape: tuple[int, int], order: int) -> npt.NDArray[np.generic]:
    """Lay one plane; one much finer than the grid is blurred first, so that nothing is skipped."""
    pixels = np.asarray(plane)
    floats = pixels.astype(np.float64 if pixels.dtype.itemsize > 2 else np.float32)
    back = np.linalg.inv(matrix)
    stride = float(np.sqrt(abs(np.linalg.det(back[:2, :2]))))
    if order and stride > 1.2:
        floats = ndimage.gaussian_filter(floats, 0.5 * np.sqrt(stride**2 - 1), mode="nearest")
    laid = ndimage.affine_transform(floats, back[:2, :2], back[:2, 2], output_shape=shape, order=order, mode="constant")
    if pixels.dtype.kind in "biu":
        limits = np.iinfo(pixels.dtype) if pixels.dtype.kind != "b" else None
        laid = np.rint(laid) if limits is None else np.clip(np.rint(laid), limits.min, limits.max)
    out: npt.NDArray[np.generic] = laid.astype(pixels.dtype)
    return out
