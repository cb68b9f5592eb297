"""Choices of settings: each list once for the engine, the docks and the command line, whose help must not wait for numpy."""

from __future__ import annotations

from typing import Literal, get_args

DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16"]
Blend = Literal["exact", "median", "gaussian"]
"""How tiles become a field; see `PaintSettings.blend`."""
BLENDS: dict[Blend, tuple[str, str]] = {
    "exact": ("Exact tiles", "as if painted whole"),
    "median": ("Median of patches", "the paper's patches"),
    "gaussian": ("Gaussian patches", "weighted patches"),
}
"""Blend -> its label, and what it does."""
TtaKind = Literal["none", "flips", "full"]
"""Kinds of test-time augmentation; `painting.tta.TTA` has their transforms."""
TTA_LABELS: dict[str, str] = {"none": "Off", "flips": "Flipped too (4 passes)", "full": "Flipped and turned (8 passes)"}
"""Kind of test-time augmentation -> its label in the docks and in `--help`."""
Merge = Literal["mean", "median"]
"""What several passes or models become."""
NormalizeOver = Literal["frame", "series"]
"""What the statistics of the normalization are taken over."""
ScoreScale = Literal["zscore", "raw"]
"""Scale of the images that are scored; see `metrics.score`."""
Segmenter = Literal["auto", "skimage", "cellpose", "instanseg"]
"""What finds nuclei and cells; ``auto`` is Cellpose if it is installed, else scikit-image."""
FeatureNetworkName = Literal["auto", "inception", "cells"]
"""Network of the Fréchet distance of generated cells; see `cells.cp2image.frechet`."""
CellMeasure = Literal["gain", "frechet", "auc", "spectrum"]
"""Measures of a cell model beside its correlations, each of which can be left out; see `cells.cp2image.evaluate`."""
PixelType = Literal["float32", "uint16"]
"""Types of the pixels of painted stains in a file; see `painting.gray_levels`."""
GrayRange = Literal["model", "percentiles", "controls"]
"""What the gray levels of painted stains span: the model's own range, that of painted fields, or that of a plate's controls."""
TransformKind = Literal["translation", "rigid", "similarity"]
"""What a registration may change: ``rigid`` adds rotation, ``similarity`` one scale for both axes, too."""
PhaseMode = Literal["2d", "3d"]
"""What a phase reconstruction finds: one plane of a thin object, or every plane."""
PairChecks = Literal["report", "leave_out", "off"]
"""What a training does with pairs that look wrong."""
RunCommand = Literal["pause", "go", "stop", "finish"]
"""Commands that a training takes while it runs."""
LEVELS = ("pixels", "instances", "features", "profiles")
"""Levels of an evaluation, in the order in which they are run and shown."""
PLATE_LAYOUTS = ("ome-zarr", "ome-zarr-0.4", "opera-phenix", "imagexpress", "yokogawa", "incarta", "loaddata", "table", "pattern")
"""Layouts that a simulated plate can have; `plates.simulation.layouts.LAYOUTS` has their writers."""


def values_of(choice: object) -> tuple[str, ...]:
    """Return the values of one of the types above."""
    return get_args(choice)
