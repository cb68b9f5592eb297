"""Level "features": CellProfiler features of matched cells."""
