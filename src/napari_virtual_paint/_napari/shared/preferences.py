"""What the docks remember: preferences in napari's settings, and which channel is which, asked once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.json_file import read_object

PLUGIN = "napari-virtual-paint"
MOST = 200  # as many answers as are kept; the oldest are forgotten first


def preferences(names: Iterable[str]) -> dict[str, Any]:
    """Return these preferences of the user (see `configurations` in the manifest); none where napari doesn't know the plugin."""
    from napari.settings import get_plugin_settings

    try:
        painting = get_plugin_settings(PLUGIN).painting
    except (KeyError, AttributeError):
        return {}
    return {name: getattr(painting, name) for name in names if hasattr(painting, name)}


def prefer(**values: Any) -> None:
    """Change preferences; where napari doesn't know the plugin they are forgotten."""
    from napari.settings import get_plugin_settings

    try:
        painting = get_plugin_settings(PLUGIN).painting
    except (KeyError, AttributeError):
        return
    for name, value in values.items():
        if getattr(painting, name, value) != value:
            setattr(painting, name, value)


def answers_file() -> Path:
    """Return the file of the answers."""
    return platformdirs.user_config_path(PLUGIN, appauthor=False) / "channels.json"


def recall(model: str, labels: Sequence[str]) -> tuple[int, ...] | None:
    """Return which of an image's channels (by label) the user gave a model, in the model's order; None if that was never asked."""
    found = (read_object(answers_file()) or {}).get(_key(model, labels))
    if not isinstance(found, list) or not all(isinstance(i, int) and 0 <= i < len(labels) for i in found):
        return None
    return tuple(found)


def remember(model: str, labels: Sequence[str], channels: Sequence[int]) -> None:
    """Keep which channels the user gave a model; a folder that can't be written is no reason to stop."""
    answers = read_object(answers_file()) or {}
    key = _key(model, labels)
    answers.pop(key, None)
    answers[key] = list(channels)
    path = answers_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(dict(list(answers.items())[-MOST:]), indent=1), durable=False)
    except (OSError, WriteError):
        return


def _key(model: str, labels: Sequence[str]) -> str:
    return "\n".join([model, *sorted(f"{index}:{label.casefold()}" for index, label in enumerate(labels))])
