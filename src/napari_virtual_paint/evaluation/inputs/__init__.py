"""Inputs of an evaluation: images, folders and plates, paired by field and stain."""
