"""Training data: pairs found, scaled, split, stored and cut into patches."""
