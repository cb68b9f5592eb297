"""Single cells: CellProfiler tables, CP2Image (Ji et al. 2024), walks through feature space."""
