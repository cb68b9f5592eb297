"""A cancel is heard while a step is under way, and the network stops before its next layer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_virtual_paint.models.model import Model
from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
from napari_virtual_paint.painting import engine as engine_module
from napari_virtual_paint.painting.cancellation import cancellable, waited
from napari_virtual_paint.painting.exact import fuse
from napari_virtual_paint.stack import Stack
from random_models import model_of


class Layer(nn.Module):
    """A layer that takes until it may go on."""

    def __init__(self, number: int, log: list[int], go_on: threading.Event, entered: threading.Event) -> None:
        super().__init__()
        self.number, self.log, self.go_on, self.entered = number, log, go_on, entered

    def forward(self, x: Tensor) -> Tensor:
        self.log.append(self.number)
        self.entered.set()
        self.go_on.wait(30)
        return x + 1


def slow_network() -> tuple[nn.Sequential, list[int], threading.Event, threading.Event]:
    log: list[int] = []
    go_on, entered = threading.Event(), threading.Event()
    return nn.Sequential(*(Layer(number, log, go_on, entered) for number in range(3))), log, go_on, entered


def test_a_step_under_way_is_stopped_before_its_next_layer() -> None:
    network, log, go_on, entered = slow_network()
    closed: list[bool] = []

    def steps() -> Iterator[int]:
        try:
            yield int(network(torch.zeros(1)))
        finally:
            closed.append(True)

    work = cancellable(steps(), network, "cpu", -1)
    assert next(work) == -1, "it yields although no step is done"
    entered.wait(30)
    threading.Timer(0.05, go_on.set).start()
    work.close()
    assert (log, closed) == ([0], [True])
    assert int(network(torch.zeros(1))) == 3, "the network is as it was"


def test_steps_are_relayed_in_order_with_their_errors() -> None:
    network, _, go_on, _ = slow_network()
    go_on.set()

    def steps() -> Iterator[int]:
        yield 1
        yield int(network(torch.zeros(1)))
        raise ValueError("broken")

    seen: list[int] = []
    work = cancellable(steps(), network, "cpu", -1)
    with pytest.raises(ValueError, match="broken"):
        deque(map(seen.append, work), maxlen=0)
    assert [each for each in seen if each > 0] == [1, 3]
    assert list(cancellable(iter([1, 2]), network, "cuda", -1)) == [1, 2]


def test_a_function_is_waited_for_and_left_where_nobody_waits() -> None:
    go_on, done = threading.Event(), threading.Event()

    def function() -> str:
        go_on.wait(30)
        done.set()
        return "result"

    work = waited(function, None)
    assert next(work) is None
    work.close()
    assert not done.is_set()
    go_on.set()
    assert done.wait(30)
    assert run_to_end(waited(function, None)) == "result"
    with pytest.raises(ZeroDivisionError):
        run_to_end(waited(lambda: 1 / 0, None))


def test_a_cancel_is_heard_while_the_network_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    model, go_on, whole = model_of("FNet", dims=3, depth=1, mult_chan=2), threading.Event(), engine_module._Engine

    def load(*args: object) -> object:
        go_on.wait(30)
        return whole(*args)

    monkeypatch.setattr(engine_module, "_Engine", load)
    work = paint(model, Stack(np.zeros((1, 1, 8, 16, 16), np.float32)), PaintSettings(device="cpu"))
    assert next(work).where is None
    work.close()
    go_on.set()


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("planes", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("slab", [1.0, 2.5, 1e9])
def test_a_convolution_in_slabs_is_that_of_the_whole(channels: int, planes: int, slab: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(planes)
    conv = nn.Conv3d(channels, 5, 3, padding=1)
    x = torch.randn(1, channels, planes, 9, 11).contiguous(memory_format=torch.channels_last_3d)
    monkeypatch.setattr(fuse, "SLAB", slab * 9 * 11 * conv.weight.numel())
    with torch.inference_mode():
        np.testing.assert_allclose(fuse.SlabbedConv(conv)(x), conv(x), atol=1e-6)


def test_volumes_painted_in_slabs_are_those_painted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def painted(model: Model) -> np.ndarray:
        stack = Stack(np.random.default_rng(0).normal(1000, 60, (1, 1, 20, 24, 32)).astype(np.float32))
        return np.asarray(run_to_end(paint(model, stack, PaintSettings(device="cpu"))).stack.data)

    whole = painted(model_of("FNet", dims=3, depth=2, mult_chan=4))
    monkeypatch.setattr(fuse, "SLAB", 1.0)
    np.testing.assert_allclose(painted(model_of("FNet", dims=3, depth=2, mult_chan=4)), whole, atol=1e-5)
