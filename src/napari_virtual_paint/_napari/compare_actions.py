"""The Compare dock's actions for the command palette; each opens the dock where it is closed, and a second call brings the view back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_virtual_paint._napari.commands import open_dock

if TYPE_CHECKING:
    from napari_virtual_paint._napari.compare.dock import CompareDock


def compare_dock() -> CompareDock | None:
    """Return the Compare dock, opened where it is closed; None without a viewer."""
    dock: CompareDock | None = open_dock("Compare")
    return dock


def side_by_side() -> None:
    """Show predicted beside true, or bring back the view from before."""
    dock = compare_dock()
    if dock is not None:
        dock.toggle_side_by_side()


def flicker() -> None:
    """Show predicted and true in turn, or bring back the view from before."""
    dock = compare_dock()
    if dock is not None:
        dock.toggle_flicker()


def error_map() -> None:
    """Add error maps of the compared stains."""
    dock = compare_dock()
    if dock is not None:
        dock.show_error_maps()
