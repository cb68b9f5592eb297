"""Split pairs into training and held-out parts: whole images, wells, plates or treatments, or a region of each image."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.training.config.data import Band, Rectangle, Split
from napari_virtual_paint.training.data.source import PairSource, Subset

Mask = npt.NDArray[np.bool_]
HELD: tuple[Subset, ...] = ("test", "validation")  # the held-out parts, in the order in which they are chosen


def held_out(sources: Sequence[PairSource], split: Split, seed: int) -> dict[Subset, set[str]]:
    """Choose the images that are held out whole: by the table, by pattern, or a seeded fraction.

    Parameters
    ----------
    sources
        All pairs of the run.
    split
        The rules. A fraction refers to images, or to the values of ``split.by``; images of one well always stay together.
    seed
        Seed of fractions where the split has none of its own.

    Returns
    -------
    dict
        Part -> names of the images.

    Raises
    ------
    InputError
        If a rule holds nothing out, or the column it names is unknown.
    """
    chosen: dict[Subset, set[str]] = {"train": set(), "validation": set(), "test": set()}
    if any(source.split for source in sources):
        for source in sources:
            chosen[source.split or "train"].add(source.name)
        return chosen
    by = split.by.casefold() if split.by else None
    groups = _groups(sources, by)
    free = list(dict.fromkeys(groups.values()))
    count = len(free)
    order = [free[index] for index in np.random.default_rng([seed if split.seed is None else split.seed, 1]).permutation(count)]
    for part in HELD:
        rule = split.test if part == "test" else split.validation
        if isinstance(rule, float):
            if len(order) < 2:
                nouns = _plural(by or ("well" if any(source.well for source in sources) else "image"))
                raise InputError(f"split.{part}: a fraction of the {nouns} needs 2 {nouns} or more; hold out a region of each instead.")
            # At least one group is held out, and at least one is left to train on.
            taken = [order.pop() for _ in range(min(max(1, round(rule * count)), len(order) - 1))]
        elif isinstance(rule, tuple):
            taken = _matching(sources, groups, rule, part, by)
            order = [group for group in order if group not in taken]
        else:
            continue
        by_group = not isinstance(rule, tuple) or by is not None
        chosen[part] |= {source.name for source in sources if (groups[source.name] if by_group else source.name) in taken}
    return chosen


def trained_on(sources: Sequence[PairSource], images: Mapping[Subset, set[str]], split: Split, seed: int) -> list[PairSource]:
    """Return the pairs of a run: all that are held out, and as many others as ``split.train`` asks for.

    Parameters
    ----------
    images
        Result of `held_out`.

    Raises
    ------
    InputError
        If regions of each image are held out, or there are fewer images.
    """
    if split.train is None:
        return list(sources)
    if any(isinstance(rule, Band | Rectangle) for rule in (split.validation, split.test)):
        raise InputError("split.train: a number of images goes with whole images held out, not with a region of each.")
    held = images["test"] | images["validation"]
    free = [source.name for source in sources if source.name not in held]
    if len(free) < split.train:
        raise InputError(f"split.train asks for {split.train} images, but only {len(free)} are left to train on.")
    # Another stream than that of `held_out`; as prefixes of one permutation, smaller draws are subsets of larger ones.
    order = np.random.default_rng([seed if split.seed is None else split.seed, 2]).permutation(len(free))
    drawn = {free[index] for index in order[: split.train]}
    return [source for source in sources if source.name in held or source.name in drawn]


def _groups(sources: Sequence[PairSource], by: str | None) -> dict[str, str]:
    """Return the groups that stay together: image name -> group name."""
    if by is None or by == "image":
        # Fields of one well share the cells' state, stain and edge effects: scores on one beside a training field mean little.
        return {source.name: (by is None and source.well) or source.name for source in sources}
    if by != "well" and not any(by in source.metadata for source in sources):
        raise InputError(f"split.by: no image has the column {by}; {_known_columns(sources)}.")
    if by == "well" and not any(source.well for source in sources):
        raise InputError(f"split.by: no image has the column well; {_known_columns(sources)}.")
    return {source.name: (source.well if by == "well" else source.metadata.get(by)) or "unknown" for source in sources}


def _known_columns(sources: Sequence[PairSource]) -> str:
    """Return a sentence with the columns that are known."""
    known = dict.fromkeys(key for source in sources for key in source.metadata)
    return f"known are {', '.join(known)}" if known else "nothing is known of them: list them in a table (data.csv) with such a column"


def _matching(sources: Sequence[PairSource], groups: Mapping[str, str], patterns: Sequence[str], part: Subset, by: str | None) -> list[str]:
    """Return the images or groups that match any pattern; a well also matches without its plate."""

    def names(source: PairSource) -> tuple[str, ...]:
        if by is None:
            return (source.name,)
        group = groups[source.name]
        return (group, source.metadata.get("well", group)) if by == "well" else (group,)

    taken = {
        names(source)[0]: None for source in sources for name in names(source) if any(fnmatch.fnmatch(name, each) for each in patterns)
    }
    if not taken:
        groups_present = list(dict.fromkeys(names(source)[0] for source in sources))
        noun = "image" if by is None else by
        raise InputError(f"split.{part}: no {noun} matches {', '.join(patterns)}; there are {', '.join(groups_present[:8])}.")
    return list(taken)


def _plural(by: str) -> str:
    return by if by.endswith("s") else f"{'batche' if by == 'batch' else by}s"


def leaks(sources: Sequence[PairSource], images: Mapping[Subset, set[str]]) -> list[str]:
    """Return the wells with both training and held-out images."""
    held = images["test"] | images["validation"]
    wells = [{source.well for source in sources if (source.name in held) == is_held and source.well} for is_held in (True, False)]
    return sorted(well for well in wells[0] & wells[1] if well)


def parts_of(item: PairSource, usable: Mask, split: Split, images: Mapping[Subset, set[str]]) -> dict[Subset, Mask]:
    """Split the pixels (Y, X) of one image into parts. The test part takes precedence over validation."""
    left = usable.copy()
    parts: dict[Subset, Mask] = {}
    by_table = item.split is not None
    for part in HELD:
        rule = split.test if part == "test" else split.validation
        if item.name in images[part]:
            taken = left.copy()
        elif isinstance(rule, Band | Rectangle) and not by_table:
            taken = np.zeros_like(left)
            taken[region(rule, left.shape)] = True
            taken &= left
        else:
            taken = np.zeros_like(left)
        parts[part] = taken
        left &= ~taken
    parts["train"] = left
    return parts


def region(rule: Band | Rectangle, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of a region of an image (Y, X)."""
    if isinstance(rule, Band):
        low, high = (0.0, rule.fraction) if rule.side in ("left", "top") else (1 - rule.fraction, 1.0)
        rule = Rectangle(x=(low, high)) if rule.side in ("left", "right") else Rectangle(y=(low, high))
    (y0, y1), (x0, x1) = rule.y, rule.x
    height, width = shape
    return slice(round(y0 * height), round(y1 * height)), slice(round(x0 * width), round(x1 * width))
