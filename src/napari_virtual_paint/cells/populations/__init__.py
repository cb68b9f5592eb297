"""Populations of cells: statistics, walks through feature space, galleries."""
