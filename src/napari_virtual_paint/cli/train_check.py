"""`virtual-paint train CONFIG.yaml --check`: whether the pairs are fit to learn from."""

from __future__ import annotations

import argparse

from napari_virtual_paint.cli._output import ProgressBar, emit
from napari_virtual_paint.runtime.generators import run_to_end


def run(args: argparse.Namespace) -> int:
    """Look at every pair and print what was found; the code is 0 whatever that is."""
    from napari_virtual_paint.training import load_config
    from napari_virtual_paint.training.pair_checks.check import check_pairs

    config = load_config(args.config)
    with ProgressBar("looking at pairs") as progress:
        report = run_to_end(check_pairs(config), lambda step: progress.update(step.done, step.total))
    emit(report.to_json(), "\n".join(report.sentences(most=len(report.pairs))), as_json=args.json)
    return 0
