"""Painting: from an image and a model to stains, in pieces, exactly."""

from napari_virtual_paint.painting.engine import paint, run_to_end
from napari_virtual_paint.painting.forecast import estimate
from napari_virtual_paint.painting.settings import Estimate, Painting, PaintSettings, Piece, Report

__all__ = ["Estimate", "PaintSettings", "Painting", "Piece", "Report", "estimate", "paint", "run_to_end"]
