"""Commands of the palette; each opens its dock where that is closed. Docks find each other here, by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from napari import current_viewer
from napari.utils.notifications import show_error, show_warning
from qtpy.compat import isalive
from qtpy.QtCore import Qt

from napari_virtual_paint._napari.shared.dock_area import bring_to_front
from napari_virtual_paint._napari.shared.viewer.proxy import unwrapped
from napari_virtual_paint.reading import can_read

PLUGIN = "napari-virtual-paint"
DISPLAY_NAME = "Virtual Paint"  # what napari's menus call the plugin, by its manifest


def paint() -> None:
    """Paint with what the Stain dock shows."""
    _call("Stain", "paint")


def preview() -> None:
    """Preview what is in view with what the Stain dock shows."""
    _call("Stain", "preview")


def cancel() -> None:
    """Stop the painting that runs."""
    _call("Stain", "cancel")


def compare() -> None:
    """Open the Compare dock."""
    open_dock("Compare")


def cells() -> None:
    """Open the Cells dock."""
    open_dock("Cells")


def train_cells() -> Any:
    """Open the Cells dock and its dialog that trains a model on a table; return the dialog, None without a viewer."""
    dock = open_dock("Cells")
    return None if dock is None else dock.train_on_table()


def train() -> None:
    """Open the Train dock."""
    open_dock("Train")


def register() -> None:
    """Open the Register dock."""
    open_dock("Register")


def count() -> None:
    """Open the Count dock."""
    open_dock("Count")


def evaluate() -> None:
    """Open the Evaluate dock."""
    open_dock("Evaluate")


def profile() -> None:
    """Open the Profile dock."""
    open_dock("Profile")


def manage_models() -> Any:
    """Open the dialog of all models, and let open docks list them anew when they change; return it, None without a viewer."""
    from napari_virtual_paint._napari.shared.model_manager import ModelManager

    viewer = current_viewer()
    if viewer is None:
        show_warning("Open a napari viewer first.")
        return None
    manager = ModelManager(viewer.window._qt_window)
    manager.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    manager.changed.connect(partial(_reload_models, viewer))
    manager.show()
    return manager


def _reload_models(viewer: Any) -> None:
    for name in ("Stain", "Plate"):
        dock = find_dock(viewer, name)
        if dock is not None:
            dock.reload_models()


def stain_dock() -> Any:
    """Return the Stain dock, opened where it is closed; None without a viewer."""
    return open_dock("Stain")


def open_dock(name: str) -> Any:
    """Open one of this plugin's docks (or find it, where it is open) and return its widget; None without a viewer."""
    viewer = current_viewer()
    if viewer is None:
        show_warning("Open a napari viewer first.")
        return None
    widget = find_dock(viewer, name)
    if widget is None:
        module = import_module(f"{__package__}.{name.casefold()}.dock")
        widget = getattr(module, f"{name}Dock")(viewer)
        # Under this name napari's menu knows the dock; under any other, the menu would open it a second time.
        viewer.window.add_dock_widget(widget, name=f"{name} ({DISPLAY_NAME})")
    bring_to_front(widget)
    return widget


def find_dock(viewer: Any, name: str) -> Any:
    """Return the widget of one of this plugin's docks, by its name ("Plate"), where it is open; None else.

    Docks know each other by name alone, so that none imports another: a dock named "Plate" is the class in ``plate/dock.py``.
    """
    window = getattr(unwrapped(viewer), "window", None)
    module = f"{__package__}.{name.casefold()}.dock"
    widgets = window.dock_widgets.values() if window is not None else ()
    return next((each for each in widgets if type(each).__module__ == module and isalive(each)), None)


def open_sample(viewer: Any, key: str = "field") -> None:
    """Add a sample of this plugin, as File > Open Sample does; by default the simulated field, which the default model paints."""
    viewer.open_sample(PLUGIN, key)


def open_files(viewer: Any, paths: Sequence[str]) -> None:
    """Open files that were dropped on a dock, as if they were dropped on the viewer; an error becomes a notification."""
    for path in paths:
        try:
            viewer.open(path, plugin=PLUGIN if can_read(path) else None)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            show_error(f"{Path(path).name} was not opened: {error}")


def side_by_side() -> None:
    """Show predicted beside true, or bring back the view from before."""
    _call("Compare", "toggle_side_by_side")


def flicker() -> None:
    """Show predicted and true in turn, or bring back the view from before."""
    _call("Compare", "toggle_flicker")


def error_map() -> None:
    """Add error maps of the compared stains, or remove them."""
    _call("Compare", "toggle_error_maps")


def _call(dock: str, method: str) -> None:
    widget = open_dock(dock)
    if widget is not None:
        getattr(widget, method)()
