"""Draw one test image of some domains of a study as every model of a seed paints it (docs/study.md).

python scripts/study_pictures.py docs/recipes/study-cell-types.yaml OUT.png "compact, toxic" "spread, toxic"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from napari_virtual_paint.models import open_model
from napari_virtual_paint.study.config import StudyConfig, load_study
from napari_virtual_paint.study.units import TestUnit, painted, tested
from napari_virtual_paint.training.data.scaling import open_selected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("domains", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = load_study(args.config)
    rows = [pictures(config, domain, args.seed) for domain in args.domains]
    titles = ["brightfield", "truth", *(f"trained on\n{name}" for name in config.domains)]
    figure = Figure(figsize=(1.7 * len(titles), 1.75 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, (domain, images) in enumerate(zip(args.domains, rows, strict=True)):
        for column, image in enumerate(images):
            low, high = np.percentile(image, [1, 99.8])
            axes[row][column].imshow(image, cmap="gray", vmin=low, vmax=high)
            axes[row][column].set(xticks=[], yticks=[])
            if row == 0:
                axes[row][column].set_title(titles[column], fontsize=8)
        axes[row][0].set_ylabel(domain, fontsize=8)
    figure.savefig(args.output, dpi=90)


def pictures(config: StudyConfig, domain: str, seed: int) -> list[np.ndarray]:
    """Return brightfield, the first stain, and what each model paints of it, (Y, X) each."""
    test = TestUnit(domain, config.sizes[-1], seed)
    told = config.train_config(domain, seed, test.size)
    source = tested(told)[0]
    models = {one.domain: open_model(one.package(config)) for one in test.needs(config)}
    field = next(iter(painted(source, told, models)))
    image = np.asarray(open_selected(source, told.data)[0].data)[0]
    return [image[len(image) // 2, 0], field.truth[0], *(field.predictions[name][0] for name in config.domains)]


if __name__ == "__main__":
    main()
