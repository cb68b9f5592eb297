"""Run a training from its configuration to its package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_virtual_paint.cells.cellprofiler_names import parse
from napari_virtual_paint.cells.cp2image.config import OURS, CellTrainConfig, Features
from napari_virtual_paint.cells.cp2image.contour_training import ContourTraining
from napari_virtual_paint.cells.cp2image.data import CropSet, choose_features, load_cells, split
from napari_virtual_paint.cells.cp2image.evaluate import CellEvaluation, RequestedCells, compare
from napari_virtual_paint.cells.cp2image.frechet import train_reader
from napari_virtual_paint.cells.cp2image.handles import calibrate
from napari_virtual_paint.cells.cp2image.model import describe_cell_model
from napari_virtual_paint.cells.cp2image.module import CHECKPOINT, CURVE, GanTraining, Tensors, fit
from napari_virtual_paint.cells.cp2image.package import CellPackageDraft, check_replaced, save_cell_model
from napari_virtual_paint.cells.cp2image.pairs import how_measured
from napari_virtual_paint.cells.cp2image.sample import Sample
from napari_virtual_paint.cells.measurement.isolate import cell_alone, own_masks
from napari_virtual_paint.cells.rotation import Turning
from napari_virtual_paint.cells.transform import Floats, Transform
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models.package.files import open_files
from napari_virtual_paint.networks.outlines import fit_outlines
from napari_virtual_paint.runtime.atomic_write import remove_leftovers
from napari_virtual_paint.runtime.outputs import check_outputs, check_own_folder
from napari_virtual_paint.runtime.progress import Progress

CALIBRATED = 256  # number of training cells on which what is drawn is measured
ORIENTATION = "Nuclei_AreaShape_Orientation"  # orientation of the frame that our generator draws in
SCORED = ("frechet", "spectrum")  # measures beside the correlations that a training takes; the others take minutes
SHOWN = 256  # number of held-out cells whose pixel loss is in the curve
REFIT = "refit"  # subfolder of the run folder for checkpoint and curve of the network trained on all cells
PERCENTILES = (0.5, 99.5)  # percentiles of the training crops for the gray levels that the network's 0 and 1 stand for, on a fixed scale


@dataclass(frozen=True, eq=False)
class TrainingCells:
    """Cells ready for training."""

    cells: CropSet
    held_out: npt.NDArray[np.bool_]  # (n,), cells that are scored and never trained on
    features: tuple[str, ...]
    transform: Transform
    low: Floats
    high: Floats  # `features`, `transform`, `low` and `high`: as in the package
    per_crop: bool
    masks: npt.NDArray[np.bool_] | None = None  # (n, d, d); the cell's own pixels. None to show each crop unmasked.
    outlined: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None = None
    """Pixels of nucleus and cell, (n, d, d) each, for a network that takes outlines."""

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """Cells (n,) that may be trained on: not held out, and with a nucleus if outlines are taken."""
        return ~self.held_out if self.outlined is None else ~self.held_out & self.outlined[0].any(axis=(1, 2))

    def crops(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Return crops in the images' gray levels, as the model should generate them."""
        crops = self.cells.crops[rows].astype(np.float32)
        return crops if self.masks is None else cell_alone(crops, self.masks[rows], self.low)

    def tensors(self, rows: npt.NDArray[np.int64], turns: bool = False) -> Tensors:
        """Return cells as the networks take them, if wanted with the features of their rotated and mirrored versions."""
        values = self.cells.table.iloc[rows][list(self.features)].to_numpy(np.float64)
        crops = self.crops(rows)
        if self.per_crop:
            crops /= np.maximum(crops.max(axis=(2, 3), keepdims=True), 1e-6)
        else:
            crops = (crops - self.low[:, None, None]) / (self.high - self.low)[:, None, None]
        augmented: tuple[torch.Tensor, ...] = ()
        if turns:
            turning = Turning.of(self.features)
            sides = (values, turning.mirrored(values))
            augmented = tuple(torch.from_numpy(self.transform.apply(turning.turned(side, 90 * k))) for side in sides for k in range(4))
        features = torch.from_numpy(self.transform.apply(values))
        outlines = nuclei = None
        if self.outlined is not None:
            nuclei, whole = (torch.from_numpy(masks[rows]) for masks in self.outlined)
            outlines = fit_outlines(nuclei, whole)
        return Tensors(features, torch.from_numpy(np.ascontiguousarray(crops, np.float32)), augmented, outlines, nuclei)


def prepare(config: CellTrainConfig, cells: CropSet) -> TrainingCells:
    """Split by well or montage, choose the features, and fit the scales to the training cells only."""
    held_out = split(cells.groups, config.held_out, config.seed)
    train = cells.table[~held_out]
    features = choose_features(train, config.data.channels, config.features)
    alone = alone_of(config, cells)
    if alone:  # nothing in the picture of a cell alone shows its neighbors
        features = tuple(name for name in features if parse(name).group != "Neighbors") or features
    rules = rules_of(config, features)
    if rules.frame is not None and rules.frame not in features:
        raise InputError(f"features.frame: {rules.frame} is none of the {len(features)} features that are taken.")
    transform = Transform.of(train[list(features)].to_numpy(np.float64), features, rules.clip, rules.polar, rules.frame)
    crops = cells.crops[~held_out]
    if config.scale == "crop":
        low = np.zeros(crops.shape[1], np.float32)
        high = np.median(crops.max(axis=(2, 3)), axis=0).astype(np.float32)
    else:
        low, high = np.percentile(crops.astype(np.float32), PERCENTILES, axis=(0, 2, 3)).astype(np.float32)
    masks = outlined = None
    if alone or config.generator.architecture == OURS:
        outlined = segmented(config, cells, np.arange(len(cells)), cells.crops) if cells.masks is None else cells.masks
        masks = outlined[1] if alone else None
    if config.generator.architecture != OURS:
        outlined = None
    elif outlined is not None and 2 * outlined[0][~held_out].any(axis=(1, 2)).sum() < (~held_out).sum():
        raise InputError(
            "No nucleus is found in most crops, and ContourPainter draws a cell from its nucleus outwards; check data.nuclei, "
            "or set generator.architecture to CellPainter."
        )
    span = np.maximum(high, low + 1e-3)
    return TrainingCells(cells, held_out, features, transform, low, span, config.scale == "crop", masks, outlined)


def rules_of(config: CellTrainConfig, features: Sequence[str]) -> Features:
    """Return the rules for the features; our generator draws in the nucleus's own frame wherever its orientation is known."""
    rules = config.features
    if config.generator.architecture != OURS or ORIENTATION not in features:
        return rules
    return rules.model_copy(update={"polar": True, "frame": rules.frame or ORIENTATION})


def segmented(
    config: CellTrainConfig, cells: CropSet, rows: npt.NDArray[np.int64], crops: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the pixels of nucleus and cell of crops of some cells, segmented as `evaluate` does."""
    how = requested_cells(cells, rows)
    options: dict[str, Any] = {"scale": how.scale, "pixel_size": how.pixel_size, "thresholds": how.thresholds}
    return own_masks(crops, config.data.channels, config.data.nuclei, **options)


def begin(config: CellTrainConfig, ready: TrainingCells, data: Tensors) -> GanTraining | ContourTraining:
    """Return the initial state of a training.

    Raises `InputError` if the networks' settings don't fit.
    """
    if config.generator.architecture != OURS:
        return GanTraining.start(config, ready.transform.width, len(config.data.channels))
    own = {"turn": int(ready.transform.frame >= 0), "alone": int(alone_of(config, ready.cells))}
    settings = {**config.generator.config, **{name: 1 for name, value in own.items() if value}}
    generator = config.generator.model_copy(update={"config": settings})
    return ContourTraining.start(config.model_copy(update={"generator": generator}), ready.transform.names(ready.features), data)


def finish(config: CellTrainConfig, ready: TrainingCells, run: GanTraining | ContourTraining, data: Tensors) -> str:
    """Correct what our generator meets by construction, by what is measured on cells that it draws; return the corrections in words."""
    if not isinstance(run, ContourTraining):
        return ""
    network, rng = run.final_generator, np.random.default_rng([config.seed, 0xCA11])
    known = np.flatnonzero(ready.trained)
    rows = np.sort(rng.permutation(known)[:CALIBRATED])
    features = ready.tensors(rows).features
    noise = torch.from_numpy(rng.standard_normal((len(rows), network.noise), np.float32))
    span, low = (ready.high - ready.low)[:, None, None], ready.low[:, None, None]

    def moved(values: torch.Tensor, column: int, number: int) -> torch.Tensor:
        others = np.random.default_rng([config.seed, 0xCA12, number]).integers(0, len(values), len(values))
        columns = torch.full((len(values),), column)
        return run.counterfactuals.moved(values, columns, values[torch.from_numpy(others), column], True)

    def masks(crops: torch.Tensor) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        return segmented(config, ready.cells, rows, np.maximum(crops.numpy() * span + low, 0))

    notes = calibrate(network, features, moved, masks, noise)
    return "; ".join(notes)


def alone_of(config: CellTrainConfig, cells: CropSet) -> bool:
    """Return whether each cell is trained alone: as configured, else where its own pixels are known from the whole image."""
    return cells.masks is not None if config.alone is None else config.alone


def train(config: CellTrainConfig, command: str = "", workers: int = 1) -> Iterator[Progress | tuple[Path, CellEvaluation]]:
    """Train as configured and write the package; an interrupted run resumes from its last epoch.

    Parameters
    ----------
    config
        From `config.load_config`.
    command
        The command that started the run, for the card.
    workers
        Worker processes for measuring the held-out cells.

    Yields
    ------
    Progress
        The message says what is being done, or is a record of the curve.
    tuple
        Last: the package and its scores on the held-out cells.

    Raises
    ------
    InputError
        If data or settings don't fit, or the run folder belongs to another configuration.
    """
    assert config.run is not None
    check_outputs([config.output, config.run], [config.data.images, config.data.table])
    check_own_folder(config.run, _is_run, what="`cells train`")
    check_replaced(config.output, config.id)
    remove_leftovers(config.run)
    cells = None
    for item in load_cells(config):
        if isinstance(item, CropSet):
            cells = item
        else:
            yield item
    assert cells is not None
    ready = prepare(config, cells)
    inside, outside = np.flatnonzero(ready.trained), np.flatnonzero(ready.held_out)
    data = ready.tensors(inside, config.turns)
    shown = ready.tensors(np.sort(np.random.default_rng(config.seed).permutation(outside)[:SHOWN]))
    message = f"{len(inside)} cells to train on, {len(outside)} held out, {len(ready.features)} features."
    run = begin(config, ready, data)
    yield Progress(0, config.steps, message)
    yield from fit(run, data, shown, config.run)
    yield Progress(config.steps, config.steps, finish(config, ready, run, data))
    reader = None
    readable, reader_scale = readable_cells(config, ready, np.flatnonzero(~ready.held_out))
    for step in train_reader(readable.features, readable.crops):
        if isinstance(step, Progress):
            yield replace(step, message="Training the network of the Fréchet distance." if step.done == 1 else "")
        else:
            reader = step
    draft = replace(draft_of(config, ready, run, reader, command), reader_scale=reader_scale)
    path = save_cell_model(config.run / "unscored.zip", draft, overwrite=True)
    found = None
    model = describe_cell_model(open_files(path))
    for part in compare(
        model, requested_cells(cells, outside), network="cells", nuclei=config.data.nuclei, workers=workers, measures=SCORED
    ):
        if isinstance(part, CellEvaluation):
            found = part
        else:
            yield part
    assert found is not None
    if config.refit:
        yield Progress(0, 1, f"Once more, with all {len(cells)} cells.")
        whole = replace(ready, held_out=np.zeros_like(ready.held_out))
        every = whole.tensors(np.flatnonzero(whole.trained), config.turns)
        run = begin(again(config, ready), whole, every)
        yield from fit(run, every, shown, config.run / REFIT)
        yield Progress(config.steps, config.steps, finish(config, whole, run, every))
        draft = replace(draft_of(config, ready, run, reader, command, refitted=True), reader_scale=reader_scale)
    scored = replace(draft, card={**draft.card, "scores": scores_of(found)})
    yield save_cell_model(config.output, scored, overwrite=True), found


def readable_cells(config: CellTrainConfig, ready: TrainingCells, rows: npt.NDArray[np.int64]) -> tuple[Tensors, Floats]:
    """Return what the network of the Fréchet distance is trained on, and the gray levels (C, 2) that are 0 and 1 to it.

    All features that the cells have, and one scale: both depend on the cells alone and not on what a model takes, so models trained on the
    same cells are judged by the same network.
    """
    table = ready.cells.table.iloc[rows]
    values = table[list(choose_features(table, config.data.channels, Features()))].to_numpy(np.float64)
    crops = ready.crops(rows)
    low, high = np.percentile(crops, PERCENTILES, axis=(0, 2, 3)).astype(np.float32)
    high = np.maximum(high, low + 1e-3)
    crops = (crops - low[:, None, None]) / (high - low)[:, None, None]
    features = torch.from_numpy(Transform.fit(values).apply(values))
    return Tensors(features, torch.from_numpy(np.ascontiguousarray(crops, np.float32))), np.stack([low, high], axis=1)


def _is_run(folder: Path) -> bool:
    """Return whether `cells train`, of whatever version, wrote a folder."""
    names = {each.name for each in folder.iterdir()}
    return bool(names & {CHECKPOINT, CURVE, REFIT}) or all(name.startswith((".", "cells-", "unscored")) for name in names)


def again(config: CellTrainConfig, ready: TrainingCells) -> CellTrainConfig:
    """Return the settings of the run over all cells, held-out ones included: as many passes over them."""
    steps = round(config.steps * len(ready.held_out) / int((~ready.held_out).sum()))
    return config.model_copy(update={"steps": steps})


def requested_cells(cells: CropSet, rows: npt.NDArray[np.int64]) -> RequestedCells:
    """Return cells of the run as `evaluate` takes them."""
    table = cells.table.iloc[rows].reset_index(drop=True)
    scale, _, thresholds = how_measured(table)
    masks = None if cells.masks is None else cells.masks[1][rows]
    return RequestedCells(table, cells.crops[rows], scale, cells.pixel_size, thresholds, masks=masks)


def scores_of(found: CellEvaluation) -> dict[str, float]:
    """Return the scores of a card."""
    figures = found.to_dict()
    return {name: float(figures[name]) for name in ("cells", "features", "share_above_0.5", "median_correlation", "fid")}


def draft_of(
    config: CellTrainConfig,
    ready: TrainingCells,
    run: GanTraining | ContourTraining,
    reader: torch.nn.Module | None,
    command: str,
    refitted: bool = False,
) -> CellPackageDraft:
    """Assemble a package from a network trained on the training cells or on all of them; its card has no scores yet."""
    cells, out = ready.cells, ready.held_out
    known = np.ones(len(out), bool) if refitted else ~out
    rows = np.sort(np.random.default_rng([config.seed, 0xCE11]).permutation(np.flatnonzero(known))[: config.population])
    left_out = (
        f"The scores are those of a network trained without these; the one in the package was then trained anew on all {len(out)} cells, "
        "as many times over."
        if refitted
        else "None of them was trained on."
    )
    card: dict[str, Any] = {
        "trained_on": f"{config.trained_on} {int(known.sum())} cells{_count(cells, known)}, "
        f"{len(ready.features)} features, {run.config.steps} steps of {config.batch} cells.",
        "held_out_on": f"{int(out.sum())} cells{_count(cells, out)}. {left_out} The Fréchet distance is taken "
        "in a small network trained to read the features off the other cells, so it compares with no published one.",
        "scores": {},
        "not_for": config.not_for,
        "made_with": command,
    }
    table = cells.table.iloc[rows]
    metadata = {name: tuple(table[name].tolist()) for name in table.columns if name.startswith("Metadata_")}
    places = [name for name in ("Nuclei_Location_Center_Y", "Nuclei_Location_Center_X") if name in table]
    metadata |= {name: tuple(float(value) for value in table[name]) for name in places if name not in ready.features}
    return CellPackageDraft(
        id=config.id,
        name=config.name,
        version=config.version,
        description=config.description,
        license=config.license,
        authors=config.authors,
        card=card,
        features=ready.features,
        channels=config.data.channels,
        size=config.data.size,
        pixel_size=cells.pixel_size,
        architecture=config.generator.architecture,
        config=run.config.generator.config,
        transform=ready.transform,
        low=ready.low,
        high=ready.high,
        network=run.final_generator.eval(),
        reader=reader,
        sample=Sample(table[list(ready.features)].to_numpy(np.float32), ready.crops(rows), metadata),
        alone=alone_of(config, cells),
        nuclei=config.data.nuclei if config.data.nuclei in config.data.channels else None,
        names=cells.names,
    )


def _count(cells: CropSet, chosen: npt.NDArray[np.bool_]) -> str:
    """Return the wells, montages or images of some cells in words."""
    if cells.kind == "cell":
        return " of one image, which was split by cell, so the crops of neighbors overlap"
    names = sorted(set(cells.groups[chosen]))
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f" of {len(names)} {' or '.join(kind + 's' * (len(names) > 1) for kind in cells.kind.split(' or '))} ({shown})"
