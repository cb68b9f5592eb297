"""CellProfiler tables: found, joined and read lazily."""
