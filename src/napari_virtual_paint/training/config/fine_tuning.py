"""Configuration of fine-tuning: how the model of `start` is taught further."""

from __future__ import annotations

from napari_virtual_paint.training.config.yaml_errors import ConfigSection, Share


class FineTuning(ConfigSection):
    """Teach the model of `start` further, instead of taking its weights as they are for another training.

    Stains that it does not paint get rows of their own in its last layer; the card has its scores before and after.
    """

    fit_head: bool = True
    """Before the first step, take the statistics of batch normalization from the new images, and fit the last layer, where it is a 1 x 1
    convolution, to the stains by least squares."""
    replay: Share = 0.0
    """Share of the patches that are cut from the test image in its package, with its own painting of it as the target; for the stains that
    it paints already."""
    curve: bool = False
    """Train on half of the images (of one image: of its area) too, to tell from the scores whether more images would help."""
