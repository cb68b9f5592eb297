"""A model's card, the channels it wants and the pre-flight line, as words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from napari_virtual_paint.runtime.text import byte_size, rough_duration

if TYPE_CHECKING:
    from napari_virtual_paint.models import Match, ModelInfo
    from napari_virtual_paint.painting import Estimate
    from napari_virtual_paint.stack import Stack

KNOWN = "The package holds a summary of its training images, so an image is compared with them before it is painted."
FAR = 1.25  # pixel sizes that differ by more than this factor are worth resampling


def summary(info: ModelInfo) -> str:
    """Return a model in two lines of HTML: what goes in and comes out, and how well it does."""
    lines = [f"{escape(inputs(info))} → <b>{escape(', '.join(info.stains))}</b>"]
    lines += [f"⚠ {escape(info.card.stopped)}."] if info.card.stopped else []
    scores = [f"{escape(stain)} {row['pcc']:.2f}" for stain, row in info.card.scores.items() if row.get("pcc") is not None]
    lines.append(f"Correlation on unseen images: {' · '.join(scores)}" if scores else "No scores on unseen images are given.")
    return "<br>".join(lines)


def listed_name(info: ModelInfo) -> str:
    """Return a model's name for a list, with a mark where its training was ended early."""
    stopped = info.card.stopped
    return f"{info.name} ({stopped[0].lower()}{stopped[1:]})" if stopped else info.name


def inputs(info: ModelInfo) -> str:
    """Return what a model paints from, as in ``3 planes of Brightfield``."""
    count = len(info.channels)
    if info.planes_as_channels and count > 1:
        where = [f"{offset:+g}" if offset else "0" for offset in info.z_offsets or ()]
        if len(where) > 4:
            where = [f"{where[0]} to {where[-1]}"]
        return f"{count} focal planes" + (f" ({', '.join(where)} µm)" if where else "")
    what = ", ".join(info.channels)
    return f"{what} stack" if info.dims == 3 else what


def cards(infos: Sequence[ModelInfo]) -> str:
    """Return the cards of all chosen models, each under its name where there are several."""
    if len(infos) == 1:
        return card(infos[0])
    return "<hr>".join(f"<h4>{escape(info.name)}</h4>{card(info)}" for info in infos)


def card(info: ModelInfo) -> str:
    """Return the whole card as HTML."""
    parts = [
        ("", f"{info.card.stopped}." if info.card.stopped else ""),
        ("", info.description),
        ("Trained on", info.card.trained_on),
        ("Held out", info.card.held_out_on),
        ("Not for", info.card.not_for),
    ]
    size = "; ".join(f"{axis} {step:g} µm" for axis, step in zip("zyx", info.pixel_size, strict=True) if step)
    parts += [
        ("Pixel size", size),
        ("Domain", KNOWN if info.domain is not None else ""),
        ("Authors", ", ".join(info.authors)),
        ("License", info.license),
        ("Version", info.version),
        ("Package", str(info.source)),
    ]
    text = [f"<p><b>{title}.</b> {escape(body)}</p>" if title else f"<p>{escape(body)}</p>" for title, body in parts if body]
    before = sum(bool(body) for _, body in parts[:5])
    warnings = [f"<p>⚠ {escape(line)}</p>" for line in info.warnings]
    return "".join((*text[:before], scores_table(info), *text[before:], *warnings))


def scores_table(info: ModelInfo) -> str:
    """Return the held-out scores as an HTML table; empty where there are none."""
    from napari_virtual_paint.metrics.metric import metric

    names = list(dict.fromkeys(name for row in info.card.scores.values() for name in row))
    if not names:
        return ""
    head = "".join(f"<th align='right'>&nbsp;{escape(metric(name).label)}</th>" for name in names)
    rows = []
    for stain, row in info.card.scores.items():
        cells = "".join(
            f"<td align='right'>&nbsp;{f'{row[name]:.3f}' if row.get(name) is not None else 'undefined'}</td>" for name in names
        )
        rows.append(f"<tr><td>{escape(stain)}</td>{cells}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def worth_resampling(info: ModelInfo, stack: Stack) -> str:
    """Return the offer to resample where the pixel sizes are known and far apart; else nothing."""
    have, want = stack.pixel_size.x, info.pixel_size.x
    if not have or not want or 1 / FAR <= have / want <= FAR:
        return ""
    return f"Resample: {have:g} → {want:g} µm per pixel"


def missing_sizes(info: ModelInfo, stack: Stack) -> str:
    """Return which pixel sizes the image lacks of those that the model was trained at, axis by axis; empty if none."""
    want = dict(zip("zyx", info.pixel_size, strict=True))
    have = dict(zip("zyx", stack.pixel_size, strict=True))
    missing = [axis for axis in "zyx"[-info.dims :] if want[axis] and not have[axis]]
    if not missing:
        return ""
    sizes = ", ".join(f"{axis} {want[axis]:g}" for axis in missing)
    return f"Pixel size along {', '.join(missing)} is not known; the model learned at {sizes} µm. Set the layer's scale and units."


def preflight(estimate: Estimate, resampled: bool) -> str:
    """Return what a painting will need, as one HTML line, and what speaks against it, a line each."""
    passes = f" for {estimate.passes} passes" if estimate.passes > 1 else ""
    lines = [
        f"About {rough_duration(estimate.seconds)}{passes} and {byte_size(estimate.memory)} of memory ({byte_size(estimate.free)} free)."
    ]
    for note in estimate.warnings:
        if not (resampled and note.startswith("Pixels are")):
            lines.append(f"{'' if ' taken' in note else '⚠ '}{escape(note)}")
    return "<br>".join(lines)


def matched(info: ModelInfo, match: Match, stack: Stack) -> str:
    """Return which channels and planes are taken, where there is nothing to choose."""
    name = "luminance" if match.luminance else stack.channel_labels[match.channels[0]]
    if match.mode == "window" and match.z is not None:
        return f"{len(match.z)} planes of {name}: {', '.join(str(z) for z in match.z)}"
    return name
