"""Checks of training pairs before a run: shifts, saturation, mixed-up channels."""
