"""A map of points, such as cells in PCA or UMAP coordinates."""

from __future__ import annotations
