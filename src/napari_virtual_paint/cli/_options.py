"""How the command line names models: ``-m MODEL`` or ``-m MODEL:STAIN,STAIN``, as often as there are models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._output import say, split_list
from napari_virtual_paint.errors import InputError

if TYPE_CHECKING:
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.painting import ModelSet


def add_merging(parser: Any) -> None:
    """Add the options of test-time augmentation and normalisation to a parser or group."""
    from napari_virtual_paint.choices import TtaKind, values_of

    parser.add_argument(
        "--tta",
        choices=values_of(TtaKind),
        default="none",
        help="paint every field turned as well and merge: flips, 4 passes; full with quarter turns, 8 (default: %(default)s)",
    )
    parser.add_argument(
        "--merge", choices=("mean", "median"), default="mean", help="what several passes or models become (default: %(default)s)"
    )
    parser.add_argument(
        "--normalize",
        choices=("frame", "series"),
        default="frame",
        help="take the statistics of each time point, or of all of them together (default: %(default)s)",
    )


def models_of(names: Sequence[str], channels: Sequence[tuple[str, ...]] | None, *, ensemble: bool) -> ModelSet:
    """Open what ``-m`` names.

    Parameters
    ----------
    names
        Each an id or a package, with ``:STAIN,STAIN`` behind it where some of its stains are wanted.
    channels
        Each ``--channels`` that was given: none, one for all models, or one a model.
    ensemble
        Whether stains of the same name are merged.

    Raises
    ------
    InputError
        If they don't go together.
    """
    from napari_virtual_paint.painting import Member, ModelSet

    if channels is not None and len(channels) not in (1, len(names)):
        raise InputError(
            f"{len(channels)} times --channels for {len(names)} models; give it once for all, or once for each, in their order."
        )
    each = [None] * len(names) if channels is None else list(channels) * (len(names) // len(channels))
    opened = [open_named(name) for name in names]
    for model, _ in opened:
        for warning in model.info.warnings:
            say(f"warning: {warning}")
    return ModelSet(tuple(Member(model, stains, own) for (model, stains), own in zip(opened, each, strict=True)), ensemble)


def open_named(name: str) -> tuple[Model, tuple[str, ...] | None]:
    """Open ``MODEL`` or ``MODEL:STAIN,STAIN``; a colon that belongs to a path is left in it."""
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.catalogue import locate

    head, colon, tail = name.rpartition(":")
    if not colon or locate(name).exists() or len(head) < 2:  # C:\model is a path
        return open_model(name), None
    stains = split_list(tail)
    if not stains:
        raise InputError(f"{name}: no stain is named behind the colon; write {head}:STAIN,STAIN or {head} alone.")
    return open_model(head), stains


def channel_list(text: str) -> tuple[str, ...]:
    """Return the channels named in ``A,B``."""
    names = split_list(text)
    if not names:
        raise argparse.ArgumentTypeError("no channel is named")
    return names
