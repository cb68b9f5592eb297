"""Which features a ContourPainter meets by construction: fitted to the pixels of the training cells, and corrected on drawn ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_virtual_paint.cells.cellprofiler_names import middle_contrasts
from napari_virtual_paint.cells.transform import Doubles
from napari_virtual_paint.networks.contour_painter import CYTOPLASM_AREA, MEANS, NUCLEUS_AREA, ContourPainter, contrasts
from napari_virtual_paint.networks.outlines import Outlines

Masks = npt.NDArray[np.bool_]

LEAST_FIT = 0.5  # share of the variance that a feature must explain to be a handle
OUTLIER = 4.0  # robust standard deviations beyond which a cell is left out of the fit
LIT = 0.25  # a channel whose surroundings have more than this share of the cell's light is shifted, not multiplied
FEWEST = 8  # cells that a line is fitted to at least


def fit_handles(
    network: ContourPainter,
    names: Sequence[str],
    channels: Sequence[str],
    features: Tensor,
    crops: Tensor,
    outlines: Outlines,
    nuclei: Tensor | None = None,
) -> None:
    """Fill a network's handles, the statistics of its outlines and its camera's noise from the training cells.

    Parameters
    ----------
    network
        Changed in place.
    names, channels
        Names of the network's inputs and of its channels.
    features, crops, outlines
        The training cells: standardized features (n, p), crops (n, C, d, d) on the network's scale, and outlines.
    nuclei
        Pixels of their nuclei (n, d, d), within which contrasts were measured: the edge of a nucleus has most of its contrast, and an
        outline may be half a pixel off. By default those within the outlines.
    """
    areas, means = torch.stack([outlines.nucleus, outlines.cytoplasm], 1), means_within(crops, outlines)
    nucleus, cell = outlines.masks(crops.shape[-1])
    measured = nucleus if nuclei is None else nuclei.to(crops.dtype)
    textures = [middle_contrasts(names, channels, channel) for channel in channels]
    texture = torch.zeros(crops.shape[:2])
    for channel, (scale, directions) in enumerate(textures):
        network.texture_scale[channel] = scale if directions else 0
        if directions:
            texture[:, channel] = contrasts(crops[:, channel], measured, scale)
    targets = torch.cat([areas, means.flatten(1), texture], 1).double().numpy()
    place = {name: column for column, name in enumerate(names)}
    for row, choices in enumerate([*_candidates(channels), *(_along_axes(directions) for _, directions in textures)]):
        for choice in choices:
            if choice and all(name in place for name in choice):
                _set_handle(network, row, [place[name] for name in choice], features, targets[:, row])
                break
    values = torch.cat([outlines.shape, areas.log(), outlines.centre], 1)
    network.outline_mean.copy_(values.mean(0))
    network.outline_spread.copy_(values.std(0).clamp(min=0.02))
    for channel in range(crops.shape[1]):
        outside, inside = crops[:, channel][cell < 0.1], crops[:, channel][cell > 0.5]
        dark = float(outside.quantile(0.25)) if 0 < len(outside) < 2**24 else float(outside[:: len(outside) // 2**22 + 1].quantile(0.25))
        network.additive[channel] = float(dark > LIT * float(inside.mean()))
    with torch.no_grad():
        network.noise_floor.copy_(_noise_floor(crops, cell, bool(network.config.alone)))


def _candidates(channels: Sequence[str]) -> list[list[list[str]]]:
    """Return, for each handle, sets of features that may give it, in order of preference."""
    found = [
        [["Nuclei_AreaShape_Area"]],
        [["Cytoplasm_AreaShape_Area"], ["Cells_AreaShape_Area", "Nuclei_AreaShape_Area"], ["Cells_AreaShape_Area"]],
    ]
    for channel in channels:
        mean = f"Intensity_MeanIntensity_{channel}"
        found += [[[f"Nuclei_{mean}"]], [[f"Cytoplasm_{mean}"], [f"Cells_{mean}", f"Nuclei_{mean}"], [f"Cells_{mean}"]]]
    return found


def _along_axes(directions: Sequence[str]) -> list[list[str]]:
    """Return sets of features that may give a contrast along rows and columns, in order of preference."""
    straight = [each for each in directions if re.search(r"_0[02](_|$)", each)]
    return [chosen for chosen in (straight, list(directions[:1])) if 0 < len(chosen) <= 2]


def _set_handle(network: ContourPainter, row: int, columns: list[int], features: Tensor, target: Doubles) -> None:
    """Fit a line from one or two features to a target; a feature that explains too little is no handle."""
    design = np.column_stack([np.ones(len(target)), features[:, columns].double().numpy()])
    kept = np.isfinite(target)
    line = np.zeros(design.shape[1])
    for _ in range(3):
        if kept.sum() < FEWEST:
            return
        line = np.linalg.lstsq(design[kept], target[kept], rcond=None)[0]
        away = np.abs(target - design @ line)
        kept = np.isfinite(away) & (away <= OUTLIER * max(1.4826 * float(np.nanmedian(away)), 1e-9))
    explained = 1 - float(np.var((target - design @ line)[kept])) / max(float(np.var(target[kept])), 1e-12)
    if explained < LEAST_FIT:
        return
    network.handle_known[row] = 1
    network.handle_offset[row] = float(line[0])
    for number, (column, weight) in enumerate(zip(columns, line[1:], strict=True)):
        network.handle_columns[2 * row + number] = column
        network.handle_weights[2 * row + number] = float(weight)


def means_within(crops: Tensor, outlines: Outlines) -> Tensor:
    """Return the mean of each channel in nucleus and cytoplasm, (n, C, 2)."""
    nucleus, cell = outlines.masks(crops.shape[-1])
    regions = torch.stack([nucleus, (cell - nucleus).clamp(min=0)], 1)
    return torch.einsum("ncyx,nryx->ncr", crops, regions / regions.sum((2, 3), keepdim=True).clamp(min=1))


def _noise_floor(crops: Tensor, cell: Tensor, alone: bool) -> Tensor:
    """Return the standard deviation (C,) of the camera's noise, from the diagonal details of dark pixels."""
    detail = (crops[..., :-1, :-1] - crops[..., 1:, :-1] - crops[..., :-1, 1:] + crops[..., 1:, 1:]) / 2
    where = (cell > 0.9 if alone else cell < 0.1)[:, :-1, :-1]
    found = []
    for channel in range(crops.shape[1]):
        values, light = detail[:, channel][where], crops[:, channel, :-1, :-1][where]
        dark = values[light <= light.median()] if len(light) else values
        found.append(0.7413 * float(dark[:100_000].abs().median()) * 2 if len(dark) else 0.01)
    return torch.tensor(found).clamp(1e-4, 0.2)


def calibrate(
    network: ContourPainter,
    features: Tensor,
    moved: Callable[[Tensor, int, int], Tensor],
    segmented: Callable[[Tensor], tuple[Masks, Masks]],
    noise: Tensor,
) -> list[str]:
    """Correct the handles so that what is measured on drawn cells has the requested size, not only the requested order.

    A camera's blur and a segmentation's threshold move an edge; a line from the requested to the measured value is fitted on drawn
    cells and inverted.

    Parameters
    ----------
    network
        Changed in place.
    features
        Training cells (n, p), standardized.
    moved
        Function of features, a column and a number that moves this column in every cell, the others following.
    segmented
        Function of crops (n, C, d, d) on the network's scale that returns the masks of nuclei and cells, as evaluated.
    noise
        (n, `network.noise`).

    Returns
    -------
    One line per handle: slope and offset of measured against requested before the correction.
    """
    notes = []
    last = MEANS + 2 * network.config.channels
    # Areas first: means are taken within them, and contrasts grow with the light.
    for rows in ([NUCLEUS_AREA, CYTOPLASM_AREA], range(MEANS, last), range(last, len(network.handle_known))):
        lines = {}
        for row in rows:
            if not network.handle_known[row]:
                continue
            asked_features = moved(features, int(network.handle_columns[2 * row]), row)
            with torch.inference_mode():
                asked = network.handles(asked_features)[:, row].double().numpy()
                drawn = network(asked_features, noise)
            lines[row] = _line(asked, _measured(network, drawn, *segmented(drawn), row), relative=row >= last)
        for row, (slope, offset, count) in lines.items():
            notes.append(f"handle {row}: measured = {slope:.2f} x requested {offset:+.3g} on {count} cells")
            slope = float(np.clip(slope, 0.5, 2.0))
            network.handle_offset[row] = (network.handle_offset[row] - offset) / slope
            network.handle_weights[2 * row : 2 * row + 2] /= slope
    return notes


def _measured(network: ContourPainter, drawn: Tensor, nuclei: Masks, cells: Masks, row: int) -> Doubles:
    """Return a handle's value (n,) in the pixels of segmented crops; NaN where no cell was found."""
    rest = cells & ~nuclei
    if row < MEANS:
        area = (nuclei if row == NUCLEUS_AREA else rest).sum((1, 2)).astype(np.float64)
        return np.where(nuclei.any((1, 2)), area, np.nan)
    texture = row - MEANS - 2 * drawn.shape[1]
    if texture >= 0:
        contrast = contrasts(drawn[:, texture], torch.from_numpy(nuclei).to(drawn.dtype), int(network.texture_scale[texture]))
        return np.where(nuclei.any((1, 2)), contrast.double().numpy(), np.nan)
    channel, region = divmod(row - MEANS, 2)
    where = rest if region else nuclei
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Doubles = (drawn[:, channel].double().numpy() * where).sum((1, 2)) / where.sum((1, 2))
    return mean


def _line(asked: Doubles, measured: Doubles, relative: bool = False) -> tuple[float, float, int]:
    """Return slope and offset of the line of measured against requested values, without outliers, and the number of cells.

    With `relative`, deviations are counted in shares of the expected value: a few contrasts are many times the usual one, and miss it by
    more than the usual one is.
    """
    kept = np.isfinite(measured)
    slope, offset = 1.0, 0.0
    for _ in range(3):
        if kept.sum() < FEWEST or float(np.ptp(asked[kept])) == 0:
            return 1.0, 0.0, int(kept.sum())
        slope, offset = (float(value) for value in np.polyfit(asked[kept], measured[kept], 1))
        expected = slope * asked + offset
        away = np.abs(measured - expected) / (np.maximum(np.abs(expected), 1e-9) if relative else 1.0)
        kept = np.isfinite(away) & (away <= OUTLIER * max(1.4826 * float(np.nanmedian(away)), 1e-9))
    if slope < 0.2:  # the segmentation doesn't see what is drawn: a correction would only do harm
        return 1.0, 0.0, int(kept.sum())
    return slope, offset, int(kept.sum())
