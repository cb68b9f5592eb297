"""Fixtures of the GUI tests: a small model, a place of its own for what is remembered, and no worker, thread or widget left behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from napari_virtual_paint.models import Card, save_model
from napari_virtual_paint.stack import PixelSize

CHANNELS = ("Brightfield -4 um", "Brightfield 0 um", "Brightfield +4 um")
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")


@pytest.fixture(scope="session")
def small_models(tmp_path_factory) -> Path:
    """Return a folder of two small models with random weights: three planes to five stains, and a volume to two."""
    import torch

    from napari_virtual_paint.networks import build

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    card = Card("nothing: its weights are random", "nothing", {"DNA": {"pcc": 0.5, "ssim": 0.25}}, "anything but tests")
    shared = {"description": "Random weights, for tests.", "version": "0.1.0", "card": card, "authors": ["The developers"]}
    config = {"in_channels": 3, "out_channels": 5, "depth": 3, "width": 4}
    save_model(
        folder / "small",
        build("UNet", config).eval(),
        id="small",
        name="A small model",
        architecture="UNet",
        config=config,
        channels=CHANNELS,
        stains=STAINS,
        dims=2,
        test_input=np.random.default_rng(0).random((3, 32, 32), np.float32),
        planes_as_channels=True,
        z_offsets=(-4, 0, 4),
        pixel_size=PixelSize(None, 0.65, 0.65),
        **shared,
    )
    config = {"dims": 3, "in_channels": 1, "out_channels": 2, "depth": 2, "mult_chan": 4}
    save_model(
        folder / "small-3d",
        build("FNet", config).eval(),
        id="small-3d",
        name="A small model of volumes",
        architecture="FNet",
        config=config,
        channels=("Brightfield",),
        stains=("DNA", "Membrane"),
        dims=3,
        test_input=np.random.default_rng(0).random((1, 16, 32, 32), np.float32),
        **shared,
    )
    return folder


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    """Keep what the docks remember, and napari's settings, away from the user's own."""
    monkeypatch.setattr("napari_virtual_paint._napari.shared.preferences.answers_file", lambda: tmp_path / "answers" / "channels.json")
    monkeypatch.setattr("napari.settings._CFG_PATH", str(tmp_path / "settings" / "settings.yaml"))
    from napari import settings

    settings._clear_plugin_settings_cache()
    yield
    settings._clear_plugin_settings_cache()


@pytest.fixture
def offered(small_models, tmp_path, monkeypatch) -> Path:
    """Offer the small models, and no other, in the docks."""
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(small_models))
    monkeypatch.setattr("napari_virtual_paint.models.catalogue.bundled_folder", lambda: tmp_path / "none")
    return small_models


@pytest.fixture(autouse=True, scope="session")
def _manifests_parsed_once() -> Iterator[None]:
    """Parse each plugin's manifest once; npe2 parses all of them twice for each viewer, which takes longer than the viewer."""
    from npe2 import PluginManifest

    parse = cache(PluginManifest.from_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "from_file", staticmethod(lambda path: parse(str(path)).model_copy(deep=True)))
        yield


@pytest.fixture(autouse=True)
def _collected():
    """Collect what a test leaves at its end, on this thread."""
    yield
    gc.collect()
    gc.freeze()  # what is left after a test stays (modules, mostly), so the next collection need not look at it


@pytest.fixture(autouse=True)
def _clean(_collected, qtbot):
    """Fail a test that leaves a job, a busy worker or a thread of its own."""
    from qtpy.QtCore import QThreadPool

    from napari_virtual_paint._napari.shared import jobs

    before = set(threading.enumerate())
    yield
    qtbot.waitUntil(lambda: not jobs.LIVE, timeout=30_000)
    assert QThreadPool.globalInstance().waitForDone(30_000)
    left = [
        thread for thread in set(threading.enumerate()) - before if thread.is_alive() and not isinstance(thread, threading._DummyThread)
    ]
    assert not [thread for thread in left if thread.name.startswith("napari-virtual-paint")]
