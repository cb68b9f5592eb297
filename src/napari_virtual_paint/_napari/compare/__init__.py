"""The Compare dock: scores of predicted against true stains, side by side, error maps."""
