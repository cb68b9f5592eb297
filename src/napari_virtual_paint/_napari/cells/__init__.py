"""The Cells dock: draw single cells from CellProfiler features."""
