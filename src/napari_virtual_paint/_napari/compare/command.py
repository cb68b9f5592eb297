"""The Compare dock as a command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from napari_virtual_paint._napari.compare.noise import ESTIMATE, NONE
from napari_virtual_paint._napari.compare.side_by_side import LayerPair
from napari_virtual_paint._napari.shared.viewer.layers import is_stain
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics.pixels import Scale


def evaluate_command(pairs: Sequence[LayerPair], scale: Scale, noise: str = NONE) -> str:
    """Return ``virtual-paint evaluate PREDICTION TRUTH`` for pairs of layers.

    Parameters
    ----------
    pairs
        The pairs; all predicted layers must come from one file, and all true ones from one.
    scale
        Written out where it is not the default.
    noise
        Where the noise is known from; written out where it is estimated (control layers may come from several files).

    Raises
    ------
    InputError
        If a layer comes from no file or they come from several; the sentence says what to do.
    """
    if not pairs:
        raise InputError("There is no pair of layers to compare; choose a predicted and a true layer first.")
    predicted = _one_path([pair.predicted for pair in pairs], "predicted")
    truth = _one_path([pair.truth for pair in pairs], "true")
    extra = [] if scale == "zscore" else ["--scale", scale]
    extra += ["--noise", "estimate"] if noise == ESTIMATE else []
    return shlex.join(["virtual-paint", "evaluate", predicted, truth, *extra])


def _one_path(layers: Sequence[Any], which: str) -> str:
    paths: dict[str, str] = {}
    for layer in layers:
        path = getattr(layer.source, "path", None)
        if path is None:
            painted = " it was painted here;" if is_stain(layer) else ""
            raise InputError(
                f"'{layer.name}' comes from no file:{painted} save the {which} layers in one file "
                "(File > Save Selected Layers), open it, and copy the command then."
            )
        paths.setdefault(str(path), layer.name)
    if len(paths) > 1:
        names = " and ".join(f"'{name}'" for name in list(paths.values())[:2])
        raise InputError(f"The {which} layers come from {len(paths)} files ({names} among them); select rows whose layers share one file.")
    return next(iter(paths))
