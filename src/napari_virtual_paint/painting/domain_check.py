"""The domain check of what is painted: one verdict for one model or several."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from typing import Any

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Model
from napari_virtual_paint.models.applicability.check import DomainVerdict, check_domain
from napari_virtual_paint.painting.model_set import ModelSet
from napari_virtual_paint.painting.results import Painting
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.stack import Stack


def domain_of(model: Model | ModelSet, stack: Stack, settings: PaintSettings, *, quick: bool = False) -> DomainVerdict | None:
    """Tell how far an image is from what its models learned from; of several models the verdict that is furthest out.

    Parameters
    ----------
    model, stack, settings
        As for `paint`.
    quick
        As for `check_domain`.

    Returns
    -------
    Verdict or None
        None where no package holds a summary. A summary that can't be used never keeps an image from being painted, so it is None, too.
    """
    if isinstance(model, ModelSet):
        asked = [(member.model, member.channels or settings.channels) for member in model.members]
    else:
        asked = [(model, settings.channels)]
    found: list[DomainVerdict] = []
    for each, channels in asked:
        try:
            known = each.domain is not None
        except VirtualPaintError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        with contextlib.suppress(VirtualPaintError):  # an image that does not fit is told by the painting
            verdict = check_domain(each, stack, channels=channels, resample=settings.resample, quick=quick) if known else None
            found += [verdict] if verdict is not None else []
    return max(found, key=lambda verdict: verdict.distance, default=None)


def noted(verdict: DomainVerdict | None) -> dict[str, Any]:
    """Return what a verdict adds to provenance and reports: ``domain`` with distance, verdict and reasons; nothing without one."""
    return {} if verdict is None else {"domain": verdict.to_dict(parts=False)}


def with_domain(painting: Painting, verdict: DomainVerdict | None) -> Painting:
    """Return a painting whose stains tell the verdict in their provenance."""
    if verdict is None:
        return painting
    stacks = {
        name: replace(stack, provenance={**(stack.provenance or {}), **noted(verdict)})
        for name, stack in (("stack", painting.stack), ("uncertainty", painting.uncertainty))
        if stack is not None
    }
    return replace(painting, **stacks)  # type: ignore[arg-type]
