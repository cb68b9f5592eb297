"""A mosaic of the fields of a well: their places and the reduced pixels."""

from __future__ import annotations
