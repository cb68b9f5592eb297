"""The run folder: what a training writes, and how others watch and steer it."""
