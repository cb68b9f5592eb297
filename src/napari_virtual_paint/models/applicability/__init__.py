"""Domain of applicability: how far an image lies from the images that a model was trained on."""
