"""The state of the Stain dock as one frozen value, and the command line that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_virtual_paint.models import match
from napari_virtual_paint.painting.settings import PaintSettings

if TYPE_CHECKING:
    from napari_virtual_paint._napari.shared.viewer.layers import LayerSource
    from napari_virtual_paint.painting import ModelSet

Again = Literal["replace", "add"]


@dataclass(frozen=True)
class StainState:
    """What the user chose in the Stain dock."""

    layers: tuple[str, ...] = ()  # names of the layers to paint from
    model: str = ""  # id of a listed model, or the path of a package
    channels: tuple[int, ...] | None = None  # positions of the image's channels in the model's order; None matches them by name
    confirmed: bool = False  # whether the user confirmed that a channel that seems to be fluorescence is painted as transmitted light
    axes: str | None = None  # letters of the layers' axes (as in ``CYX``); None guesses them
    again: Again = "replace"  # whether painting again replaces the stain layers of this image and model, or adds new ones
    keep: bool = True  # whether a cancelled painting leaves what is painted
    hide_input: bool = True  # whether the input layers are hidden while stains are shown
    more: tuple[str, ...] = ()  # further models, by id or path; the layers come from all
    ensemble: bool = True  # whether stains that several models make are combined into one
    painting: PaintSettings = field(default_factory=PaintSettings)  # how to paint; its `channels` stay None, since each model has its own

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all chosen models."""
        return (self.model, *self.more)


PREFERENCES = {
    "device": "painting.device",
    "precision": "painting.precision",
    "keep_on_cancel": "keep",
    "again": "again",
    "hide_input": "hide_input",
}
"""The user's preferences in napari's settings (see the manifest), and the fields that begin with them."""


def command(state: StainState, source: LayerSource, models: ModelSet, listed: Sequence[bool]) -> str:
    """Return the command line that does the same.

    Parameters
    ----------
    state
        What the user chose.
    source
        The image; the word INPUT stands for it if it is not one file or folder.
    models
        The models with their channels.
    listed
        Whether each model is known by its id; else its package's path is given.
    """
    name = Path(source.path).name.split(".")[0] if source.path else "stains"
    infos = [member.model.info for member in models.members]
    parts = [source.path or "INPUT"]
    for info, known in zip(infos, listed, strict=True):
        parts += ["-m", info.id if known else str(info.source)]
    parts += ["-o", f"{name}_{'_'.join(info.id for info in infos)}.ome.tif"]
    if max(models.makers()) > 1:
        parts.append("--ensemble")
    parts += _channels(source, models)
    parts += state.painting.to_options()
    return "virtual-paint predict " + " ".join(shlex.quote(part) for part in parts)


def _channels(source: LayerSource, models: ModelSet) -> list[str]:
    """Return the channels of each model, where one of them is not found by names."""
    if all(member.channels is None for member in models.members):
        return []
    found = [
        member.channels if member.channels is not None else match(member.model.info, source.stack).channels for member in models.members
    ]
    named = [",".join(source.handles[source.stack.channel_index(channel)] for channel in channels) for channels in found]
    return [part for text in named for part in ("--channels", text)]
