"""The Plate dock: open a plate, go from well to well, paint it."""
