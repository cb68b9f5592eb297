"""Models: bioimage.io 0.5 packages opened, listed, checked, matched to an image and written. Importing this does not import torch."""

from napari_virtual_paint.models.catalogue import list_models, scan, user_folder
from napari_virtual_paint.models.check import CheckReport, CheckRow, check_model
from napari_virtual_paint.models.info import Card, ModelInfo
from napari_virtual_paint.models.matching import Match, match
from napari_virtual_paint.models.model import Model, open_model, open_models
from napari_virtual_paint.models.package.writer import save_model

__all__ = [
    "Card",
    "CheckReport",
    "CheckRow",
    "Match",
    "Model",
    "ModelInfo",
    "check_model",
    "list_models",
    "match",
    "open_model",
    "open_models",
    "save_model",
    "scan",
    "user_folder",
]
