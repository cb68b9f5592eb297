"""Studies of generalization: train on each domain, test on each (Tonks 2024). Importing it does not import torch."""

from __future__ import annotations

from napari_virtual_paint.study.config import StudyConfig, load_study
from napari_virtual_paint.study.run import StudyResult, study

__all__ = ["StudyConfig", "StudyResult", "load_study", "study"]
