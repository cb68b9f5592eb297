"""Plain facts of a layer: whether its pixels can be compared, its shape, scale and role."""

from __future__ import annotations
