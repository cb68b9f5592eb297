"""Units of a study, each written atomically: a training, and a test of one seed's models on one domain."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models.channel_names import differ, find_names, is_generic
from napari_virtual_paint.runtime.atomic_write import write_text
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.json_file import read_object
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.stain_names import Synonyms
from napari_virtual_paint.study.config import OWN, StudyConfig, StudyLevel, count_of, largest, training_key
from napari_virtual_paint.training.config.data import Band, Rectangle
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.channel_order import ChannelOrder, order_of
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.scaling import open_selected
from napari_virtual_paint.training.data.source import PairSource, Subset
from napari_virtual_paint.training.data.split import held_out, region
from napari_virtual_paint.training.run_folder.watch import CHECKPOINT, CURVE, PREVIEW

if TYPE_CHECKING:
    from napari_virtual_paint.evaluation.context import Context, FieldImages
    from napari_virtual_paint.evaluation.level import Level
    from napari_virtual_paint.models import Model
    from napari_virtual_paint.painting import PaintSettings

BOOTSTRAP = 100  # bootstrap samples of the levels' own intervals, which a study doesn't show: its spread is that over seeds
Says = Generator[float, None, None]  # yields the completed share of a unit; each yield is a place to cancel


@dataclass(frozen=True)
class TrainingUnit:
    """One model: domain, number of images, seed."""

    domain: str
    size: int | str
    seed: int

    @property
    def key(self) -> str:
        """Base name of its files."""
        return training_key(self.domain, self.size, self.seed)

    def result(self, config: StudyConfig) -> Path:
        """Return the file that marks it as done."""
        return config.output / "trainings" / f"{self.key}.json"

    def is_done(self, config: StudyConfig) -> bool:
        """Return whether it is done, by this run or an earlier one."""
        return self.result(config).is_file() and self.package(config).exists()

    def package(self, config: StudyConfig) -> Path:
        """Return the trained model."""
        return config.output / "models" / f"{self.key}.zip"

    def run(self, config: StudyConfig) -> Says:
        """Train; an interrupted training resumes from its last epoch."""
        from napari_virtual_paint.training import train

        yield 0.0
        began, training = time.monotonic(), config.train_config(self.domain, self.seed, self.size)
        training.output.parent.mkdir(parents=True, exist_ok=True)
        package = train(training, command="virtual-paint study")
        assert training.run is not None
        curve = (training.run / CURVE).read_text("utf-8").splitlines()
        for spent in (CHECKPOINT, PREVIEW):  # the package has the weights
            (training.run / spent).unlink(missing_ok=True)
        values = {"domain": self.domain, "size": self.size, "seed": self.seed, "package": package.name, "steps": training.steps}
        _save(self.result(config), {**values, "epochs": len(curve) - 1, "seconds": round(time.monotonic() - began, 1)})
        yield 1.0


@dataclass(frozen=True)
class TestUnit:
    """All models of a seed and a size on one domain's held-out images: the truth is measured once for all of them."""

    __test__ = False  # pytest would take it for one of its own
    domain: str
    size: int | str
    seed: int

    @property
    def key(self) -> str:
        """Base name of its files."""
        return training_key(self.domain, self.size, self.seed)

    def result(self, config: StudyConfig, level: StudyLevel) -> Path:
        """Return the file of one level's scores."""
        return config.output / "tests" / f"{self.key}.{level}.json"

    def levels(self, config: StudyConfig) -> tuple[StudyLevel, ...]:
        """Return the requested levels: all at the largest size, only the first at smaller ones, which make the curve."""
        return config.levels if self.size == largest(config.sizes) else config.levels[:1]

    def missing(self, config: StudyConfig) -> tuple[StudyLevel, ...]:
        """Return the levels still to do."""
        return tuple(level for level in self.levels(config) if not self.result(config, level).is_file())

    def is_done(self, config: StudyConfig) -> bool:
        """Return whether every level is done."""
        return not self.missing(config)

    def needs(self, config: StudyConfig) -> tuple[TrainingUnit, ...]:
        """Return the models to compare, the baseline first."""
        baseline = self.domain if config.baseline == OWN else config.baseline
        order = (baseline, *(name for name in config.domains if name != baseline))
        return tuple(TrainingUnit(name, self.size, self.seed) for name in order)

    def run(self, config: StudyConfig) -> Says:
        """Predict the domain's held-out images with every model and evaluate them on the missing levels."""
        from napari_virtual_paint.models import open_model

        began = time.monotonic()
        levels = {name: find_level(name) for name in self.missing(config)}
        models = {one.domain: open_model(one.package(config)) for one in self.needs(config)}
        training = config.train_config(self.domain, self.seed, self.size)
        sources = tested(training)
        tables: dict[str, dict[str, list[Any]]] = {name: {} for name in levels}
        context = _context(config, tuple(models), training, sources)
        sampled = config.judging.fields_for_features(self.domain, len(sources))
        order = order_of(*open_selected(first_of(training), training.data))
        for number, source in enumerate(sources):
            field_levels = [name for name in levels if name != "features" or number < sampled]
            for images in painted(source, training, models, order) if field_levels else ():
                for name in field_levels:
                    yield (number + 0.5) / len(sources)
                    for table, rows in levels[name].field(images, context).items():
                        tables[name].setdefault(table, []).append(rows)
            yield (number + 1) / len(sources)
        for name, level in levels.items():
            evaluated = sampled if name == "features" else len(sources)
            yield from self._write(config, level, tables[name], replace(context, fields=context.fields[:evaluated]), began)

    def _write(self, config: StudyConfig, level: Level, tables: Mapping[str, list[Any]], context: Context, began: float) -> Says:
        """Compute a level's scores and write them."""
        import pandas as pd

        steps = level.summary({name: pd.concat(rows, ignore_index=True) for name, rows in tables.items()}, context)
        findings = yield from relay(steps, lambda _: 1.0)
        sections = {context.predictions[0]: findings.section, **findings.others}
        rows = [
            {"train": name, "stain": stain, "metric": metric, "value": value}
            for name, section in sections.items()
            for stain, metric, value in flat(section)
        ]
        values = {"test": self.domain, "size": self.size, "seed": self.seed, "level": level.name, "fields": len(context.fields)}
        more = {"notes": list(findings.notes), "seconds": round(time.monotonic() - began, 1)}
        _save(self.result(config, level.name), {**values, "rows": rows, **more})  # type: ignore[arg-type]


Unit = TrainingUnit | TestUnit


def all_units(config: StudyConfig) -> list[Unit]:
    """Return the units of a study seed by seed, so that early results give whole matrices, the largest size first."""
    sizes = sorted(config.sizes, key=count_of, reverse=True)
    found: list[Unit] = []
    for size in sizes:
        for seed in config.seeds:
            found += [TrainingUnit(name, size, seed) for name in config.domains]
            found += [TestUnit(name, size, seed) for name in config.domains]
    return found


def find_level(name: StudyLevel) -> Level:
    """Return an evaluation level by name."""
    module = importlib.import_module(f"napari_virtual_paint.evaluation.{name}.level")
    level: Level = getattr(module, name.upper())
    return level


def tested(config: TrainConfig) -> list[PairSource]:
    """Return the test images of a domain: those of the training's test part.

    Raises `InputError` if there is none.
    """
    sources = find(config.data)
    if isinstance(config.split.test, Band | Rectangle) and not any(source.split for source in sources):
        return sources
    names = held_out(sources, config.split, config.seed)["test"]
    found = [source for source in sources if source.name in names]
    if not found:
        raise InputError(f"{config.id}: nothing is held out to test on; set split.test, or the column split of the table.")
    return found


def check_apart(config: StudyConfig) -> dict[str, dict[str, int]]:
    """Check that no test image is trained on, in any domain; return the number of images of each domain.

    Raises `InputError` if two domains share an image that one of them tests on, there are too few images, or a domain's images can't be
    found.
    """
    counts: dict[str, dict[str, int]] = {}
    tested_on: dict[str, tuple[dict[object, str], set[object]]] = {}
    for name in config.domains:
        training = config.train_config(name, 0, "all")
        sources = find(training.data)
        parts = held_out(sources, training.split, 0)
        whole_images = not isinstance(training.split.test, Band | Rectangle)
        held = parts["test"] | parts["validation"]
        numbers: dict[Subset, int] = {"train": len([s for s in sources if s.name not in held])}
        numbers |= {"validation": len(parts["validation"]), "test": len(tested(training))}
        counts[name] = {str(part): count for part, count in numbers.items()}
        most = max((size for size in config.sizes if isinstance(size, int)), default=0)
        if most > numbers["train"]:
            raise InputError(f"domains.{name}: sizes asks for {most} images, but only {numbers['train']} are left to train on.")
        trained = {_identity(s): s.name for s in sources if not whole_images or s.name not in parts["test"]}
        tested_on[name] = (trained, {_identity(s) for s in tested(training)})
    for name, (trained, _) in tested_on.items():
        for other, (_, held_there) in tested_on.items():
            shared = next((label for identity, label in trained.items() if identity in held_there), None)
            if shared is not None and name != other:
                raise InputError(
                    f"domains: {shared} is trained on in {name!r} and tested on in {other!r}; part the images so that no domain is tested"
                    " on what another one learns from."
                )
    _check_names(config)
    return counts


def _check_names(config: StudyConfig) -> None:
    """Raise an `InputError` where the stains of two domains can't be paired by name: no model of one could be tested on the other."""
    known: dict[str, tuple[str, ...]] = {}
    for name in config.domains:
        training = config.train_config(name, 0, "all")
        source = first_of(training)
        if source.settings is None:
            _, target = open_selected(source, training.data)
            known[name] = training.data.stains or target.channel_labels
            for other, stains in known.items():
                label = f"domains: the stains of {other} ({', '.join(stains)}) and of {name}"
                channel_places(stains, known[name], label, training.data.names)


def channel_places(wanted: Sequence[str], names: Sequence[str], label: str, synonyms: Synonyms | None) -> tuple[int, ...]:
    """Return the places of channels among others by their names; in order where one side has no names.

    Parameters
    ----------
    label
        What they are, for the error.

    Raises
    ------
    InputError
        If they can't be paired.
    """
    places = [place for place in find_names(wanted, names, synonyms) if place is not None]
    if len(places) == len(wanted):
        return tuple(places)
    unnamed = any(all(is_generic(name) for name in side) for side in (wanted, names))
    if len(wanted) == len(names) and (unnamed or (len(names) == 1 and not differ(wanted[0], names[0], synonyms))):
        return tuple(range(len(wanted)))
    raise InputError(
        f"{label} ({', '.join(names)}) can't be paired by name; name them alike, or list other names of one stain in synonyms."
    )


def first_of(config: TrainConfig) -> PairSource:
    """Return the first image of a domain, whose channels the others follow."""
    return find(config.data)[0]


def _identity(source: PairSource) -> object:
    """Return what identifies an image across domains."""
    return source.settings or (source.input, source.target)


def painted(
    source: PairSource, config: TrainConfig, models: Mapping[str, Model], order: ChannelOrder | None = None
) -> Iterator[FieldImages]:
    """Predict one image with every model; yield a field per time point, cropped to the held-out part.

    Channels and stains of image and models pair by name.

    Parameters
    ----------
    order
        The channels of the domain's first image, which those of all others follow; None for one image alone.
    """
    from napari_virtual_paint.evaluation.context import FieldImages
    from napari_virtual_paint.evaluation.scale import IntensityScale
    from napari_virtual_paint.painting import PaintSettings

    image, target = (stack.compute() for stack in open_selected(source, config.data, order))
    names = config.data.stains or (target.channel_labels if order is None else order.stains)
    settings = PaintSettings(device=config.device, resample=config.data.resample is not None, steady=True)
    rule = config.split.test
    at = region(rule, target.shape[3:]) if isinstance(rule, Band | Rectangle) and source.split is None else (slice(None), slice(None))
    stains = {name: _painted_stains(model, image, names, settings, config) for name, model in models.items()}
    truth = np.asarray(target.data)
    for name, each in stains.items():
        if each.shape != truth.shape:
            raise InputError(f"{source.target}: the model of {name} paints {each.shape[1:]} (CZYX) where the truth has {truth.shape[1:]}.")
    for t in range(truth.shape[0]):
        cut = (t, slice(None), 0 if truth.shape[2] == 1 else slice(None), *at)
        yield FieldImages(
            key=source.name + (f"/t{t}" if truth.shape[0] > 1 else ""),
            well=source.metadata.get("well", ""),
            stains=names,
            pixel_size=target.pixel_size.y,
            truth=truth[cut].astype(np.float32),
            predictions={name: each[cut].astype(np.float32) for name, each in stains.items()},
            scale=IntensityScale(),
        )


def _painted_stains(model: Model, image: Stack, stains: Sequence[str], settings: PaintSettings, config: TrainConfig) -> npt.NDArray[Any]:
    """Return the stains (TCZYX) that a model paints of an image, in an order given by their names."""
    from napari_virtual_paint.painting import paint, run_to_end

    info, synonyms = model.info, config.data.names
    channels = tuple(range(image.shape[1]))
    if not info.planes_as_channels:
        label = f"{info.id}: its inputs ({', '.join(info.channels)}) and the channels of the image"
        channels = channel_places(info.channels, image.channel_labels, label, synonyms)
    painting = run_to_end(paint(model, image, replace(settings, channels=channels)))
    places = channel_places(stains, info.stains, f"{info.id}: the true stains ({', '.join(stains)}) and those that it paints", synonyms)
    return np.asarray(painting.stack.data)[:, list(places)]


def _context(config: StudyConfig, models: tuple[str, ...], training: TrainConfig, sources: Sequence[PairSource]) -> Context:
    """Return the context of the levels."""
    import pandas as pd

    from napari_virtual_paint.evaluation.context import ROLES, Context, EvaluationSettings

    judging = config.judging
    settings = EvaluationSettings(
        segmenter=judging.segmenter, nuclei=judging.nuclei, cells=judging.cells, gamma=judging.gamma, bootstrap=BOOTSTRAP, workers=1
    )
    _, target = open_selected(first_of(training), training.data)
    wells = pd.DataFrame(index=pd.Index([], name="well"))
    stains = training.data.stains or target.channel_labels
    return Context(models, stains, wells, dict.fromkeys(ROLES), settings=settings, fields=tuple(source.name for source in sources))


def flat(section: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield stain (or object; empty for all), metric and value of every number in a level's section.

    Parts named ``by_...`` are not stains: they group the metrics of all.
    """
    for name, value in section.items():
        if not isinstance(value, Mapping):
            if _is_number(value):
                yield "", name, float(value)
            continue
        parts = name.startswith("by_")
        for metric, number in _numbers(value, f"{name}_" if parts else ""):
            yield "" if parts else name, metric, number


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}_")
        elif _is_number(value):
            yield f"{prefix}{name}", float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))


def _save(path: Path, values: Mapping[str, Any]) -> None:
    """Write a unit's result atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, indent=1, default=str))


def load_result(path: Path) -> dict[str, Any]:
    """Read a unit's result.

    Raises `VirtualPaintError` if it is damaged.
    """
    if (found := read_object(path)) is None:
        raise VirtualPaintError(f"{path}: this result can't be read; delete the file, and the same command makes it again.")
    return found
