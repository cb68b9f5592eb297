"""Virtual staining in napari."""

from napari_virtual_paint._version import __version__

__all__ = ["__version__"]
