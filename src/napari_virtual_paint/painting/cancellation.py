"""Hear a cancel within a moment, however long a step of the work takes.

A generator is cancelled at its yields only. On a busy CPU one tile of a volume takes seconds, and so does loading a network. Such steps
therefore run on a thread of their own while the generator yields, and a network that is not wanted any more stops before its next layer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from napari_virtual_paint.runtime import generators
from napari_virtual_paint.runtime.generators import POLL

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - no fault
    """Raised inside a network that is not wanted any more."""


def waited(function: Callable[[], T], idle: Any) -> Generator[Any, None, T]:
    """Call a function on a thread of its own, and yield `idle` while it works; return its result.

    Where the generator is closed before, the thread goes on to the function's end, and the result is dropped.
    """
    return (yield from generators.waited(function, idle, _thread()))


def cancellable(steps: Iterator[T], network: nn.Module, kind: str, idle: T) -> Iterator[T]:
    """Relay the steps of a network, and yield `idle` while one is computed; a step under way is stopped where this is closed.

    Parameters
    ----------
    steps
        A generator that runs the network.
    network
        The network, which no one else may run meanwhile.
    kind
        Kind of device; on others than a CPU, whose steps are short, nothing is changed.
    """
    if kind != "cpu":
        yield from steps
        return
    stop, end = threading.Event(), object()
    hooks = [module.register_forward_pre_hook(partial(_check, stop)) for module in _leaves(network)]
    pool = _thread()
    try:
        while True:
            future: Future[Any] = pool.submit(next, steps, end)
            yield from _idle(future, idle)
            found = future.result()
            if found is end:
                return
            yield found
    finally:
        stop.set()
        pool.shutdown(wait=True)
        for hook in hooks:
            hook.remove()
        if isinstance(steps, Generator):
            steps.close()


def _idle(future: Future[Any], idle: T) -> Iterator[T]:
    """Yield while a thread works."""
    while not wait([future], timeout=POLL).done:
        yield idle


def _thread() -> ThreadPoolExecutor:
    """Return a pool of one thread, with as many threads of torch's own as this one has."""
    return ThreadPoolExecutor(1, "paint-step", initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),))


def _leaves(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a network; none of a program, which takes no hooks."""
    modules = list(network.modules())
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        return []
    return [module for module in modules if not list(module.children())]


def _check(stop: threading.Event, _module: nn.Module, _inputs: Any) -> None:
    if stop.is_set():
        raise Stopped
