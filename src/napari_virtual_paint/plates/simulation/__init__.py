"""Simulated plates, written in the layouts of several instruments."""
