"""Preview, Paint and Cancel in turn, in a viewer that draws: in a process of its own, since what is tested for ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "paint_rounds.py"


@pytest.mark.timeout(600)  # a window that draws, on a machine that may have other work
def test_preview_paint_and_cancel_in_turn() -> None:
    """Two rounds on each of three images, one by calls and one by clicks; by its defaults the script is the long trial."""
    images = ["pyramid:96", "plane:48", "series:32"]
    command = [sys.executable, str(SCRIPT), "--rounds", "2", "--model", "jurkat-brightfield", "--longest", "0.1", "--images", *images]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.stdout.splitlines()[-1:] == ["alive"], done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 4
