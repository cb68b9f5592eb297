"""Write plates as OME-Zarr HCS: metadata and pixels."""
