"""Print how what is measured on generated cells follows the feature that is swept: gain and Spearman's correlation, medians over cells.

    python scripts/cells_sweeps.py simulated-cells [--cells 50] [--features NAME ...]

By default nucleus area, orientation and intensity, cytoplasm area and a texture, each over ten percentiles of the model's own cells, once
with correlated features following, once with all others as they are (as in the paper). The gain is the slope of the measured against the
requested values: 1 is what was asked for, 0 a picture that doesn't change. `virtual-paint cells evaluate` does it for held-out cells.
"""

from __future__ import annotations

import argparse

from napari_virtual_paint.cells.cp2image.feature_response import CELLS, Response, responses, swept_features
from napari_virtual_paint.cells.cp2image.model import open_cell_model
from napari_virtual_paint.cli._output import table
from napari_virtual_paint.runtime.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="id, or path of a package")
    parser.add_argument("--cells", type=int, default=CELLS, help="cells that are swept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    model = open_cell_model(arguments.model)
    features = arguments.features or swept_features(model, getattr(model, "nuclei", None))[0]
    found: list[tuple[Response, ...]] = []
    for follow in (True, False):
        for item in responses(model, features, cells=arguments.cells, follow=follow, seed=arguments.seed):
            if not isinstance(item, Progress):
                found.append(item)
    rows = [
        (led.feature, f"{led.gain:.2f}", f"{led.median:.2f}", f"{alone.gain:.2f}", f"{alone.median:.2f}")
        for led, alone in zip(*found, strict=True)
    ]
    print(table(("feature", "follow: gain", "Spearman", "alone: gain", "Spearman"), rows))


if __name__ == "__main__":
    main()
