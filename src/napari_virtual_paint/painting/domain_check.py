"""Check whether an image lies in the domain of applicability of one or several models."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.models import Match, Model
from napari_virtual_paint.models.applicability.check import DomainVerdict, check_domain
from napari_virtual_paint.models.ranking import RankedModel, rank_models
from napari_virtual_paint.painting.model_set import ModelSet, as_model_set
from napari_virtual_paint.painting.results import Painting
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.stack import Stack


def domain_of(
    model: Model | ModelSet, stack: Stack, settings: PaintSettings, *, matched: Sequence[Match] | None = None, quick: bool = False
) -> DomainVerdict | None:
    """Return how far an image lies from the training images; of several models the verdict with the largest distance.

    Parameters
    ----------
    model, stack, settings, matched
        As for `paint`.
    quick
        As for `check_domain`.

    Returns
    -------
    DomainVerdict or None
        None where no package holds a summary, or it can't be used: the check never prevents painting.
    """
    members = as_model_set(model).members
    found: list[DomainVerdict] = []
    for member, match in zip(members, (None,) * len(members) if matched is None else matched, strict=True):
        each, channels = member.model, member.channels or settings.channels
        try:
            known = each.domain is not None
        except VirtualPaintError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        with contextlib.suppress(VirtualPaintError):  # `paint` reports an image that does not fit
            options = {"resample": settings.resample, "quick": quick}
            verdict = check_domain(each, stack, channels=channels, matched=match, **options) if known else None
            found += [verdict] if verdict is not None else []
    return max(found, key=lambda verdict: verdict.distance, default=None)


def rank_by_domain(
    models: Mapping[str, Model], stack: Stack, settings: PaintSettings | None = None
) -> Generator[Progress, None, list[RankedModel]]:
    """Rank models for an image by their fit, by the domain check of all that fit, and by their held-out scores.

    Parameters
    ----------
    models
        The models by key.
    stack
        The image, axes TCZYX.
    settings
        How the image would be painted; whether it is resampled to the pixel size of the model counts.

    Yields
    ------
    Progress
        After each check.

    Returns
    -------
    list of RankedModel
        All models, the best first.
    """
    infos = {key: model.info for key, model in models.items()}
    comparable = [one.key for one in rank_models(infos, stack) if one.comparable]
    verdicts: dict[str, DomainVerdict | None] = {}
    for number, key in enumerate(comparable, start=1):
        verdicts[key] = domain_of(models[key], stack, settings or PaintSettings())
        yield Progress(number, len(comparable))
    return rank_models(infos, stack, verdicts=verdicts)


def noted(verdict: DomainVerdict | None) -> dict[str, Any]:
    """Return the verdict as an entry ``domain`` for provenance and reports; empty without one."""
    return {} if verdict is None else {"domain": verdict.to_dict(parts=False)}


def with_domain(painting: Painting, verdict: DomainVerdict | None) -> Painting:
    """Return a painting with the verdict in the provenance of its stains."""
    if verdict is None:
        return painting
    stacks = {
        name: replace(stack, provenance={**(stack.provenance or {}), **noted(verdict)})
        for name, stack in (("stack", painting.stack), ("uncertainty", painting.uncertainty))
        if stack is not None
    }
    return replace(painting, **stacks)  # type: ignore[arg-type]
