"""Plates: open one in any layout, paint it whole, stop, go on, and grow past one machine."""
