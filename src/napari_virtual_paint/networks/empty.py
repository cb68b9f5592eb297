"""Build networks without memory for their weights: to compare names and shapes, to count, or to fill them from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_DRAWING = frozenset(
    (
        *(getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")),
        *(getattr(torch.Tensor, name) for name in ("fill_", "normal_", "uniform_", "zero_")),
    )
)
"""What gives a weight its first values. On the device ``meta`` some of it runs in Python, and imports two seconds' worth of torch."""


class _LeaveWeights(TorchFunctionMode):
    """Gives weights no first values."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, unless it draws or sets values in place."""
        if func in _DRAWING:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def empty_weights() -> Iterator[None]:
    """Build networks in this context on the device ``meta``, without memory for their weights and without first values."""
    with torch.device("meta"), _LeaveWeights():
        yield
