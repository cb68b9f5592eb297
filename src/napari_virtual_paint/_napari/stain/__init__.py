"""The Stain dock: choose layers and a model, preview, paint."""
