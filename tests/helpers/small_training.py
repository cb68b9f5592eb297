"""What the configurations of tests of training share: a small network on small simulated fields, on one thread."""

from __future__ import annotations

from typing import Any

TOY: dict[str, Any] = {
    "id": "tiny",
    "name": "Tiny model",
    "description": "Made by a test.",
    "trained_on": "Simulated fields.",
    "not_for": "Anything but this test.",
    "output": "tiny",
    "data": {"simulate": {"fields": 2, "size": 64}, "target_channels": ["DNA", "ER"]},
    "split": {"validation": {"side": "right", "fraction": 0.25}},
    "network": {"config": {"depth": 2, "width": 4}},
    "patch": [32, 32],
    "batch": 2,
    "device": "cpu",
    "threads": 1,
}
