"""Plates as OME-Zarr HCS: metadata and pixels."""
