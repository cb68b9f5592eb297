"""Measure how busy other programs keep the cores, for estimates of time that hold on this machine at this moment."""

from __future__ import annotations

import time

WORK = 0.03  # seconds of one core's time that are measured: several turns of the system's scheduler
LONGEST = 1.0  # seconds after which the measurement ends, however little it has got


def slowdown(work: float = WORK) -> float:
    """Return how many seconds a second of one core's time takes now: 1 on an idle machine, more where other programs share the cores.

    Computes for a moment, and compares the time that passed with the time that this thread got.
    """
    began, worked = time.perf_counter(), time.thread_time()
    spent = passed = 0.0
    while spent < work and passed < LONGEST:
        sum(range(1000))
        spent, passed = time.thread_time() - worked, time.perf_counter() - began
    return max(passed / spent, 1.0) if spent > 0 else 1.0
