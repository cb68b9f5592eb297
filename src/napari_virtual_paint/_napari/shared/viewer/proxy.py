"""The viewer behind the proxy that napari gives to plugins."""

from __future__ import annotations

from typing import Any


def unwrapped(viewer: Any) -> Any:
    """Return the viewer itself: each dock gets a proxy of its own, which dies with the dock and warns of private names."""
    return getattr(viewer, "__wrapped__", viewer)
