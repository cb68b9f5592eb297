"""The Stain dock tells whether the image looks like what the model learned from, and never keeps it from being painted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint._napari.stain.dock import StainDock
from napari_virtual_paint._napari.stain.domain_label import TEACH, DomainLine
from napari_virtual_paint.models import open_model
from napari_virtual_paint.models.applicability.check import DomainVerdict, summarize
from napari_virtual_paint.models.package.copying import add_domain
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.stack import Stack

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")


def field(seed: int) -> np.ndarray:
    """Return three planes (C, Y, X) with structure."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(3, 128, 128)), (0, 2, 2)) * 900 + 1000
    return (image + rng.normal(0, 3, image.shape)).astype(np.float32)


@pytest.fixture
def knowing(small_models: Path, tmp_path: Path) -> Path:
    """Return a copy of the small model that knows what it learned from."""
    model = open_model(small_models / "small")
    domain = run_to_end(summarize(model, [Stack(field(seed)[None, :, None], CHANNELS) for seed in range(3)]))
    return add_domain(small_models / "small", domain, tmp_path / "knowing.zip")


def test_the_dock_tells_before_it_paints(make_napari_viewer, qtbot, knowing: Path) -> None:
    viewer = make_napari_viewer()
    for name, plane in zip(CHANNELS, field(5), strict=True):
        viewer.add_image(plane, name=name)
    dock = StainDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    dock.open_package(knowing)
    assert dock.panel.button_paint.isEnabled()  # at once, whatever the check will say
    qtbot.waitUntil(lambda: dock.panel.domain.verdict is not None, timeout=20_000)
    assert dock.panel.domain.verdict.verdict == "inside"
    assert dock.panel.domain.isVisible()
    assert "Like what the model learned from" in dock.panel.domain.text()
    for layer in viewer.layers:
        layer.data = ndimage.gaussian_filter(layer.data, 3)
    dock.choose(blend="exact")
    qtbot.waitUntil(lambda: dock.panel.domain.verdict is not None and dock.panel.domain.verdict.verdict == "outside", timeout=20_000)
    assert "out of focus" in dock.panel.domain.text()
    qtbot.waitUntil(lambda: dock.panel.button_paint.isEnabled() and not dock._forecast.running, timeout=20_000)
    with qtbot.waitSignal(_painting(dock).finished, timeout=30_000):
        pass
    painted = next(layer for layer in viewer.layers if "predicted" in layer.name)
    told = painted.metadata["virtual_paint"]["provenance"]["domain"]
    assert told["verdict"] == "outside"
    assert "out of focus" in told["reasons"][0]


def _painting(dock: StainDock):
    """Start to paint and return the run."""
    dock.paint()
    assert dock.painting is not None
    return dock.painting


def test_a_model_without_a_summary_says_so(make_napari_viewer, qtbot, small_models: Path) -> None:
    viewer = make_napari_viewer()
    for name, plane in zip(CHANNELS, field(5), strict=True):
        viewer.add_image(plane, name=name)
    dock = StainDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    dock.open_package(small_models / "small")
    qtbot.waitUntil(lambda: not dock._forecast.running and "memory" in dock.panel.check.text(), timeout=20_000)
    assert dock.panel.domain.isVisible()
    assert dock.panel.domain.verdict is None
    assert dock.panel.domain.text() == "No domain check: A small model has no summary of its training images."


def test_teaching_is_offered_where_an_image_is_not_inside(qtbot) -> None:
    line = DomainLine()
    qtbot.addWidget(line)
    asked: list[bool] = []
    line.teach.connect(lambda: asked.append(True))
    line.show_verdict(DomainVerdict(0.5, "inside"), teachable=True)
    assert TEACH not in line.text()
    line.show_verdict(DomainVerdict(4.0, "outside", ("Far.",)))
    assert TEACH not in line.text()
    line.show_verdict(DomainVerdict(4.0, "outside", ("Far.",)), teachable=True)
    assert TEACH in line.text()
    line.linkActivated.emit("teach")
    assert asked == [True]
