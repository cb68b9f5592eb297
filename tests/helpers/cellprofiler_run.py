"""A small CellProfiler run: pictures of discs, one file for each channel, and the tables that CellProfiler would write of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile

SIDE = 150
FIRST = (31, 17)  # first pixel of the crop that the positions refer to


def pictures(seed: int, count: int = 12) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return DNA and actin (CYX), the labels of nuclei, and those of cells: discs around them."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    places = [(50 + 26 * (k // 4) + random.integers(-3, 4), 40 + 26 * (k % 4) + random.integers(-3, 4)) for k in range(count)]
    planes = random.integers(2, 12, (2, SIDE, SIDE)).astype(float)
    nuclei, cells = np.zeros((SIDE, SIDE), np.int64), np.zeros((SIDE, SIDE), np.int64)
    for number, (row, column) in enumerate(places, start=1):
        away = np.hypot(y - row, x - column)
        radius = 4 + 3 * random.random()
        nuclei[away < radius], cells[away < 2 * radius] = number, number
        planes[0][away < radius] += 60 + 150 * random.random() + random.integers(0, 12, int((away < radius).sum()))
        planes[1][away < 2 * radius] += 40 + 90 * random.random()
    return np.clip(planes, 0, 255).astype(np.uint8), nuclei, cells


def objects(plane: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], image: str, number: int, first: tuple[int, int]) -> pd.DataFrame:
    """Return what CellProfiler measures of objects in one image, with positions that refer to a crop."""
    rows = []
    for k in range(1, labels.max() + 1):
        y, x = np.nonzero(labels == k)
        values = plane[y, x] / 255
        top = int(values.argmax())
        rows.append(
            {
                "ImageNumber": number,
                "ObjectNumber": k,
                "AreaShape_Area": len(y),
                "AreaShape_Eccentricity": float(np.ptp(y) / (np.ptp(y) + np.ptp(x))),
                "Location_Center_Y": y.mean() - first[0],
                "Location_Center_X": x.mean() - first[1],
                f"Intensity_MeanIntensity_{image}": values.mean(),
                f"Intensity_MaxIntensity_{image}": values[top],
                f"Location_MaxIntensity_Y_{image}": y[top] - first[0],
                f"Location_MaxIntensity_X_{image}": x[top] - first[1],
            }
        )
    return pd.DataFrame(rows)


def write_run(folder: Path, images: int = 2, first: tuple[int, int] = FIRST, measured: str = "CropBlue", nuclei: str = "Nuclei") -> Path:
    """Write a run into ``folder/tables``, and its pictures below ``folder/pictures``; return the folder."""
    tables, places = folder / "tables", folder / "pictures" / "deep"
    tables.mkdir(parents=True)
    places.mkdir(parents=True)
    listed: list[dict[str, Any]] = []
    kinds: dict[str, list[pd.DataFrame]] = {nuclei: [], "Cells": []}
    for number in range(1, images + 1):
        planes, *labels = pictures(number)
        names = {"OrigBlue": f"{number}_D.TIF", "OrigGreen": f"{number}_F.TIF"}
        for plane, name in zip(planes, names.values(), strict=True):
            tifffile.imwrite(places / name, plane)
        row: dict[str, Any] = {"ImageNumber": number}
        for channel, name in names.items():
            row |= {f"FileName_{channel}": name, f"PathName_{channel}": r"C:\lab\deep", f"URL_{channel}": f"file:///C:/lab/deep/{name}"}
        listed.append(row)
        for (kind, frames), own in zip(kinds.items(), labels, strict=True):
            frame = objects(planes[0], own, measured, number, first)
            frames.append(frame.assign(**({f"Parent_{nuclei}": frame["ObjectNumber"]} if kind == "Cells" else {})))
    pd.DataFrame(listed).to_csv(tables / "Image.csv", index=False)
    for kind, frames in kinds.items():
        pd.concat(frames).to_csv(tables / f"{kind}.csv", index=False)
    return folder
