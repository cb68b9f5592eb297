"""`virtual-paint models rank`: order the models by how well they suit an image."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_virtual_paint.cli._options import MODEL, Subparsers, add_axes, add_json, read_image
from napari_virtual_paint.cli._output import ProgressBar, print_notes, print_result
from napari_virtual_paint.runtime.generators import run_to_end

if TYPE_CHECKING:
    from napari_virtual_paint.models.ranking import RankedModel


def add_rank(actions: Subparsers) -> None:
    """Add ``models rank``."""
    parser = actions.add_parser(
        "rank",
        help="order the models by how well they suit an image",
        description="Order the bundled models, your own and those named with -m by how well they suit an image: by channels and planes, "
        "by how far it is from the training images (see `virtual-paint domain`), and by the scores on held-out images.",
    )
    parser.add_argument("image", metavar="IMAGE", help="an image of any readable format")
    parser.add_argument("-m", "--model", action="append", default=[], metavar="MODEL", help=f"a further model: {MODEL}; may be repeated")
    parser.add_argument("--resample", action="store_true", help="compare at each model's pixel size, as `predict --resample` paints")
    add_axes(parser)
    add_json(parser)
    parser.set_defaults(func=run_rank)


def run_rank(args: argparse.Namespace) -> int:
    """Rank the models and print them, the best first."""
    from napari_virtual_paint.models import open_model
    from napari_virtual_paint.models.catalogue import scan
    from napari_virtual_paint.painting import PaintSettings
    from napari_virtual_paint.painting.domain_check import rank_by_domain

    further = {name: open_model(name) for name in args.model}
    stack = read_image(args.image, args.axes)
    infos, problems = scan()
    print_notes(problems)
    models = {str(info.source): open_model(info.source) for info in infos} | {str(model.info.source): model for model in further.values()}
    with ProgressBar("Comparing with the training images") as progress:
        ranked = run_to_end(rank_by_domain(models, stack, PaintSettings(resample=args.resample)), progress.show)
    print_result({"models": [_entry(one) for one in ranked]}, _text(ranked), as_json=args.json)
    return 0


def _entry(one: RankedModel) -> dict[str, Any]:
    """Return what ``--json`` prints of a model."""
    verdict = one.verdict
    return {
        "id": one.info.id,
        "fits": one.fits,
        "verdict": None if verdict is None else verdict.verdict,
        "distance": None if verdict is None else verdict.distance,
        "score": one.score,
        "reason": one.reason,
        "source": str(one.info.source),
    }


def _text(ranked: list[RankedModel]) -> str:
    """Return a line or two for each model."""
    lines = []
    for number, one in enumerate(ranked, start=1):
        said = [f"{one.verdict.verdict} ({one.verdict.distance:.1f})"] if one.verdict is not None else [] if one.fits else ["does not fit"]
        said += [] if one.score is None else [f"correlation on unseen images {one.score:.2f}"]
        lines += [f"{number}. {one.info.id}: {', '.join(said)}".rstrip(": "), f"   {one.reason}"]
    return "\n".join(lines)
