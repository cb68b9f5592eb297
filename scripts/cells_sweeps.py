"""Print how what is measured on drawn cells follows the feature that is swept: Spearman's correlation, median over cells.

    python scripts/cells_sweeps.py simulated-cells [--cells 50] [--features NAME ...]

By default nucleus area, orientation and intensity and cytoplasm area, each over ten percentiles of the model's own cells, once with all
other features as they are (as in the paper), once with those that hang together with it following.
"""

from __future__ import annotations

import argparse

from napari_virtual_paint.cells.cp2image.feature_response import SWEPT, Response, responses
from napari_virtual_paint.cells.cp2image.model import open_cell_model
from napari_virtual_paint.cli._output import table
from napari_virtual_paint.runtime.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="id, or path of a package")
    parser.add_argument("--cells", type=int, default=50, help="cells that are swept")
    parser.add_argument("--features", nargs="+", metavar="NAME", default=list(SWEPT))
    arguments = parser.parse_args()
    model = open_cell_model(arguments.model)
    found: list[tuple[Response, ...]] = []
    for follow in (False, True):
        for item in responses(model, arguments.features, cells=arguments.cells, follow=follow):
            if not isinstance(item, Progress):
                found.append(item)
    rows = [(alone.feature, f"{alone.median:.2f}", f"{led.median:.2f}") for alone, led in zip(*found, strict=True)]
    print(table(("feature", "alone", "others follow"), rows))


if __name__ == "__main__":
    main()
