"""CP2Image (Ji et al. 2024): data, training, packages and evaluation."""
