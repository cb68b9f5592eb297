"""Simulate plates, in the layouts of several instruments."""
