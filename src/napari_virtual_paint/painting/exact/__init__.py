"""Exact tiling: a field painted in tiles equals the field painted whole, to float rounding."""
