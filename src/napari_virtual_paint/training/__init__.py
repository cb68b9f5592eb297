"""Training on pairs of unstained and stained images."""
