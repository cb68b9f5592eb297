"""Remove layers from a viewer's list."""

from __future__ import annotations
