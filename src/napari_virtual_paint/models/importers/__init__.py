"""Models of other virtual-staining systems, brought into packages of this one. Importing this imports torch."""

from napari_virtual_paint.models.importers.import_model import Imported, Wishes, import_model, parse_range
from napari_virtual_paint.models.importers.recipe import ImportQuestion

__all__ = ["ImportQuestion", "Imported", "Wishes", "import_model", "parse_range"]
