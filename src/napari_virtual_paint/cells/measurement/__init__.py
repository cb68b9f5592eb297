"""Measurement of cells: segmentation, crops and CellProfiler features."""
