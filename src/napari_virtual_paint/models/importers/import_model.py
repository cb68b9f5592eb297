"""Import a model of another virtual-staining program as a package, and check it."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models.catalogue import user_folder
from napari_virtual_paint.models.check import ALONE, check_files
from napari_virtual_paint.models.importers import allen, cellpainting, pix2pixhd, viscy
from napari_virtual_paint.models.importers.programs import from_onnx, from_script
from napari_virtual_paint.models.importers.reading import form_of, read_checkpoint, refuse_odd
from napari_virtual_paint.models.importers.recipe import ImportQuestion, ImportRecipe
from napari_virtual_paint.models.importers.weight_sets import (
    WeightSet,
    choose,
    holds_optimizer,
    mappings,
    preferred,
    weight_sets,
)
from napari_virtual_paint.models.info import Card, ModelInfo
from napari_virtual_paint.models.model import open_model
from napari_virtual_paint.models.package.copying import copied
from napari_virtual_paint.models.package.files import DESCRIPTION_NAMES, FREE_GROWTH, MAX_GROWTH, MAX_TENSOR
from napari_virtual_paint.models.package.npy import read_npy
from napari_virtual_paint.models.package.rdf import stored
from napari_virtual_paint.models.package.reader import OUR_PART
from napari_virtual_paint.models.package.weights import checksum_fault
from napari_virtual_paint.models.package.writer import refuse_existing, save_model, write_package
from napari_virtual_paint.networks.sizes import valid_sides
from napari_virtual_paint.normalize import MEDIAN_IQR, MINUS_ONE_TO_ONE, ZSCORE, Step
from napari_virtual_paint.runtime.atomic_write import remove_leftovers
from napari_virtual_paint.runtime.safe_zip import entries
from napari_virtual_paint.runtime.text import one_line
from napari_virtual_paint.runtime.yaml_text import dump_yaml, load_yaml
from napari_virtual_paint.stack import PixelSize

Ask = Callable[[ImportQuestion], str]
KINDS = (allen, cellpainting, viscy, pix2pixhd)
NORMALISATIONS: dict[str, tuple[Step, ...]] = {"zscore": ZSCORE, "range": MINUS_ONE_TO_ONE, "median": MEDIAN_IQR, "none": ()}
TOLERANCE = 1e-5  # largest difference from an original's own output, max abs; of its largest value, where that is above 1
KNOWN = f"{', '.join(kind.OPENS for kind in KINDS)}, TorchScript, ONNX and bioimage.io packages are known"
VERIFIED = "The importer reproduces the original program's own output on a file of this kind to 1e-5."
NOT_VERIFIED = (
    "The importer of this kind is not verified against the original: there was no file of its program; names and numbers of weights fit."
)


@dataclass(frozen=True)
class Wishes:
    """The user's settings for an import."""

    outputs: tuple[str, ...] | None = None
    inputs: tuple[str, ...] | None = None
    """`outputs` and `inputs`: names of the stains and of the input channels, in order; None takes the default names."""
    normalise: str | None = None  # A key of `NORMALISATIONS`; None takes what the original system does
    value_range: tuple[float, float] | None = None  # the pixel values that become -1 and 1; None takes what `normalise` says
    pixel_size: PixelSize | None = None
    """Micrometres, (z, y, x) with None for what is unknown; None takes what the original system is known for."""
    weights: str | None = None  # which set of weights, where the file holds several; None takes averaged ones if there are any


@dataclass(frozen=True)
class Imported:
    """A model that was imported."""

    path: Path  # its package
    info: ModelInfo  # its metadata
    kind: str  # what the file was
    verified: bool  # whether the importer of this kind was checked against the original program
    error: float | None  # largest difference from the example beside the file; None without one
    notes: tuple[str, ...]  # what the user should know

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        found = {"package": str(self.path), "kind": self.kind, "verified": self.verified, "example_error": self.error}
        return {**found, "notes": list(self.notes), "model": self.info.to_dict()}


def import_model(
    path: str | Path,
    name: str,
    output: str | Path | None = None,
    wishes: Wishes | None = None,
    *,
    overwrite: bool = False,
    force: bool = False,
    ask: Ask | None = None,
    command: str = "",
) -> Imported:
    """Import a model of another virtual-staining system.

    The kind is recognized by the file's contents, sizes by the shapes of its weights; only TorchScript and ONNX graphs are run.
    Where an example ``NAME_io.npz`` (``input``, ``output``) lies beside the file, the network must reproduce it.

    Parameters
    ----------
    path
        The file, or a package.
    name
        Name of the model; its id is made of it.
    output
        Where the package goes: a .zip by that suffix, else a folder; None for the user's catalogue.
    overwrite
        Replace a package that is there.
    force
        Import a model that is not sound, too: one whose weights have a wrong checksum, that does not reproduce the example beside it, or
        that fails `check_model`. What is wrong is stored in the package as a warning.
    ask
        Answers the questions that a file leaves open, where the user's wishes don't; None takes their defaults.
    command
        The command line, for the card.

    Raises
    ------
    ModelError
        If the file is of no known kind, damaged, holds more than tensors, or is not sound.
    WriteError
        If the package can't be written.
    """
    path, wishes = Path(path), wishes or Wishes()
    model_id = identifier(name)
    form = form_of(path)
    target = _target(output, model_id)
    refuse_existing(target, overwrite)
    if form in ("package", "torchscript", "onnx") and wishes.weights is not None:
        raise InputError(f"{path}: --weights chooses among several sets of weights in a checkpoint; this is no checkpoint.")
    for option, names in (("--outputs", wishes.outputs), ("--inputs", wishes.inputs)):
        if names is not None and len(set(names)) != len(names):
            raise InputError(f"{path}: {option} names one of {', '.join(names)} twice.")
    if form == "package":
        return _copied(path, target, name, wishes, overwrite, force)
    faults = [fault] if (fault := checksum_fault(path, path.name)) else []
    if not force:
        _refuse(path, faults)
    recipe = recipe_of(path, None if wishes.inputs is None else len(wishes.inputs), wishes.weights, ask)
    question = question_about(recipe, wishes)
    if question is not None and ask is not None:
        wishes = answered(wishes, question, ask(question))
    recipe = _wished(path, recipe, wishes)
    example = run_example(path, recipe)
    if example is not None and not example.reproduced:
        allowed = f"max abs error {example.error:.2g}, where {example.limit:.2g} is allowed"
        faults.append(f"the example beside {path.name} is not reproduced: {allowed}")
    if not force:
        _refuse(path, faults)
    warnings = tuple(_sentence(fault) for fault in faults)
    _save(path, target, recipe, name, example, overwrite, command, warnings)
    error = None if example is None else example.error
    return Imported(target, open_model(target).info, recipe.kind, recipe.verified, error, (*_notes(recipe, example), *warnings))


def _copied(path: Path, target: Path, name: str, wishes: Wishes, overwrite: bool, force: bool) -> Imported:
    """Import a package: copied under the new name, and checked as `models check` does before it is written."""
    head = {"id": identifier(name), "name": _title(name)}
    if (wishes.normalise, wishes.value_range, wishes.pixel_size) != (None, None, None):
        raise InputError(
            f"{path}: a package states its normalization and pixel size itself; leave out --normalise, --range and --pixel-size."
        )
    copy = copied(path, head, wishes.outputs, inputs=wishes.inputs)
    rows = check_files(copy.files(path)).checks
    faults = [f"{row.name.replace(' reproduced', ' not reproduced')}: {row.detail}" for row in rows if not row.ok]
    notes = [*copy.notes, *(f"Its test output is reproduced {row.detail}." for row in rows if row.detail.startswith(ALONE))]
    if not force:
        _refuse(path, faults)
    contents = dict(copy.contents)
    if faults:
        content = load_yaml(contents["rdf.yaml"])
        config: Any = content.get("config")
        config = config if isinstance(config, dict) else {}
        ours = config.get(OUR_PART)
        ours = ours if isinstance(ours, dict) else {}
        content["config"] = {**config, OUR_PART: {**ours, **stored([_sentence(fault) for fault in faults])}}
        contents["rdf.yaml"] = dump_yaml(content).encode()
    write_package(target, contents, overwrite, checked=not force)
    return Imported(target, open_model(target).info, copy.kind, True, None, (*notes, *map(_sentence, faults)))


def _refuse(path: Path, faults: Sequence[str]) -> None:
    """Raise `ModelError` if something is wrong with a model."""
    if faults:
        text = "; ".join(fault.removeprefix(f"package: {path}: ").rstrip(".") for fault in faults[:3])
        raise ModelError(f"{path}: it is not sound: {text}; nothing was imported (--force imports it all the same, with a warning).")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def recipe_of(path: Path, inputs: int | None = None, weights: str | None = None, ask: Ask | None = None) -> ImportRecipe:
    """Return network and usage found in a foreign file.

    Parameters
    ----------
    inputs
        Number of its channels, where the user named them.
    weights
        Which weights, where the file holds several sets: a name of `WeightSet`; None takes averaged ones if there are any.
    ask
        Answers which weights, where `weights` doesn't.

    Raises
    ------
    ModelError
        If it is of no known kind.
    InputError
        If there are no weights of this name.
    """
    form = form_of(path)
    if form in ("torchscript", "onnx"):
        return from_script(path, inputs) if form == "torchscript" else from_onnx(path, inputs)
    content = read_checkpoint(path)
    sets = weight_sets(content, [anchor for kind in KINDS for anchor in kind.ANCHORS])
    found, problems = _recognised(path, sets)
    if not found:
        raise problems[0] if problems else ModelError(f"{path}: {_unknown(content)}; {KNOWN}.")
    known = [each for each, _ in found]
    chosen, note = known[0], ""
    if len(known) > 1 or weights is not None:
        usual = preferred(known)
        if weights is None and ask is not None:
            names = ", ".join(each.label for each in known)
            weights = (
                ask(ImportQuestion("--weights", f"It holds {len(known)} sets of weights: {names}. Which?", usual.name)).strip() or None
            )
        chosen = usual if weights is None else choose(known, weights)
        others = ", ".join(each.label for each in known if each is not chosen)
        note = f"Of its sets of weights, {chosen.label} was taken, not {others} (--weights NAME)." if others else ""
    recipe = next(recipe for each, recipe in found if each is chosen)
    refuse_odd(path, chosen.state, path.stat().st_size)
    return replace(recipe, facts=(*recipe.facts, *chosen.notes, *((note,) if note else ())))


def _recognised(path: Path, sets: Sequence[WeightSet]) -> tuple[list[tuple[WeightSet, ImportRecipe]], list[ModelError]]:
    """Return the sets whose network is known, and what is wrong with those that look like a network that is."""
    found: list[tuple[WeightSet, ImportRecipe]] = []
    problems: list[ModelError] = []
    for each in sets:
        try:
            recipe = next(filter(None, (kind.recognise(path, each.around, each.state) for kind in KINDS)), None)
        except ModelError as error:
            problems.append(error)
            continue
        if recipe is not None:
            found.append((each, recipe))
    return found, problems


def _unknown(content: Any) -> str:
    """Return what a file holds that is no known network."""
    first = next((state for _, _, state in mappings(content)), None)
    if first is not None:
        return f"its weights ({', '.join(list(first)[:2])}, ...) are of no kind known here"
    if holds_optimizer(content):
        return "it holds the state of an optimizer alone, no weights"
    return "it holds no named tensors, so it is no model"


def question_about(recipe: ImportRecipe, wishes: Wishes) -> ImportQuestion | None:
    """Return the question that neither the file nor the user's wishes answer; None if there is none."""
    asked = recipe.question
    if asked is None:
        return None
    given = {"--outputs": wishes.outputs, "--range": wishes.value_range or wishes.normalise, "--normalise": wishes.normalise}
    return asked if given[asked.option] is None else None


def answered(wishes: Wishes, question: ImportQuestion, answer: str) -> Wishes:
    """Return the wishes with an answer; an empty one takes the default.

    Raises `InputError` if the answer is none.
    """
    answer = answer.strip()
    if not answer or answer == question.default:
        return wishes
    if question.option == "--outputs":
        return replace(wishes, outputs=tuple(part.strip() for part in answer.split(",") if part.strip()))
    if question.option == "--range":
        return replace(wishes, value_range=parse_range(answer))
    return replace(wishes, normalise=answer)


def parse_range(text: str) -> tuple[float, float]:
    """Return two numbers with a comma between them, the smaller one first.

    Raises `InputError` if they are none.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not (low < high and np.isfinite([low, high]).all()):
        raise InputError(f"A range is two numbers, the smaller one first, such as 0,255, not {text!r}.")
    return low, high


def identifier(name: str) -> str:
    """Return the id of a model of this name: small letters, digits and hyphens.

    Raises `InputError` if the name has no letter or digit.
    """
    out = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:100].strip("-")
    if not out:
        raise InputError(f"A model's name needs a letter or a digit; {name!r} has none.")
    return out


def _title(name: str) -> str:
    """Return a name as the specification wants it: 5 to 128 letters, digits, spaces and a few marks."""
    out = " ".join(re.sub(r"[^A-Za-z0-9_+\-() ]+", " ", name).split())[:110]
    return out if len(out) >= 5 else f"{out} (imported)"


def _target(output: str | Path | None, model_id: str) -> Path:
    """Return where the package goes; a folder that holds other things gets it inside, an empty one becomes it."""
    if output is None:
        remove_leftovers(user_folder())  # of an import that was killed, whatever its name
        return user_folder() / f"{model_id}.zip"
    target = Path(output)
    if not target.is_dir() or any((target / name).is_file() for name in DESCRIPTION_NAMES):
        return target
    return target / model_id if any(target.iterdir()) else target


def _wished(path: Path, recipe: ImportRecipe, wishes: Wishes) -> ImportRecipe:
    """Return the recipe with the user's settings in place of the defaults."""
    for what, wish, own in (("--outputs", wishes.outputs, recipe.stains), ("--inputs", wishes.inputs, recipe.channels)):
        if wish is not None and len(wish) != len(own):
            noun = "stains" if what == "--outputs" else "input channels"
            raise InputError(f"{path}: this model has {len(own)} {noun}; {what} names {len(wish)} ({', '.join(wish)}).")
    steps = recipe.preprocessing
    if wishes.normalise is not None:
        if wishes.normalise not in NORMALISATIONS:
            raise InputError(f"A normalization is one of {', '.join(NORMALISATIONS)}, not {wishes.normalise!r}.")
        steps = NORMALISATIONS[wishes.normalise]
    if wishes.value_range is not None:
        low, high = wishes.value_range
        gain = 2.0 / (high - low)
        steps = (Step("scale_linear", True, {"gain": gain, "offset": -1.0 - low * gain}),)
    renamed = wishes.inputs is not None
    return replace(
        recipe,
        stains=wishes.outputs or recipe.stains,
        channels=wishes.inputs or recipe.channels,
        preprocessing=steps,
        pixel_size=wishes.pixel_size or recipe.pixel_size,
        # Channels of the user's own names are whatever these say, not planes of one light.
        planes_as_channels=recipe.planes_as_channels and not renamed,
        z_offsets=None if renamed else recipe.z_offsets,
    )


@dataclass(frozen=True)
class ExampleResult:
    """How an imported network does on the example beside its file."""

    error: float  # largest difference from the output there
    limit: float  # largest difference that counts as rounding

    @property
    def reproduced(self) -> bool:
        """Whether the output is that of the original program."""
        return self.error <= self.limit  # which is False for an error that is no number


def run_example(path: Path, recipe: ImportRecipe) -> ExampleResult | None:
    """Run the example beside a file; None without one.

    Raises `ModelError` if the example does not fit the network.
    """
    example = path.with_name(f"{path.stem}_io.npz")
    if not example.is_file():
        return None
    try:
        given, wanted = (np.ascontiguousarray(array, np.float32) for array in _arrays(example, ("input", "output")))
        with torch.inference_mode():
            found = recipe.network(torch.from_numpy(given)).numpy()
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ModelError(f"{example}: the example beside the model can't be run ({one_line(error)}); move it away.") from error
    if found.shape != wanted.shape:
        raise ModelError(f"{example}: the example beside the model has an output of {wanted.shape}, the network gives {found.shape}.")
    return ExampleResult(float(np.abs(found - wanted).max()), TOLERANCE * max(1.0, float(np.abs(wanted).max())))


def _arrays(path: Path, names: Sequence[str]) -> list[npt.NDArray[Any]]:
    """Return arrays of an .npz of unknown origin; raise `ValueError` or an error of zipfile if it is none."""
    if path.stat().st_size > MAX_TENSOR:
        raise ValueError("it is larger than an example needs to be")
    entries(path, growth=MAX_GROWTH, free=FREE_GROWTH)
    with zipfile.ZipFile(path) as archive:
        return [read_npy(archive.read(f"{name}.npy")) for name in names]


def _notes(recipe: ImportRecipe, example: ExampleResult | None) -> tuple[str, ...]:
    """Return notes on an import for the user."""
    notes = list(recipe.facts)
    if example is not None and example.reproduced:
        notes.append(f"The example beside the file is reproduced: max abs error {example.error:.2g}.")
    if not recipe.verified and recipe.program is None:
        notes.append(NOT_VERIFIED)
    return tuple(notes)


def _save(
    path: Path,
    target: Path,
    recipe: ImportRecipe,
    name: str,
    example: ExampleResult | None,
    overwrite: bool,
    command: str,
    warnings: Sequence[str],
) -> None:
    """Write the package; the weights stay float32."""
    checked = "The program is the original's own." if recipe.program else VERIFIED if recipe.verified else NOT_VERIFIED
    if example is not None:
        right = "reproduces" if example.reproduced else "does NOT reproduce"
        checked += f" This file {right} the example beside it: max abs error {example.error:.2g}."
    card = Card(
        trained_on=f"Not stated: imported from {path.name}, {recipe.kind}. {' '.join(recipe.facts)}",
        held_out_on=f"nothing was scored here. {checked}",
        not_for="Images of another kind than it was trained on, which its file does not tell.",
        made_with=command or f"virtual-paint models import {path.name} --name {name!r}",
    )
    save_model(
        target,
        recipe.network,
        id=identifier(name),
        name=_title(name),
        description=f"{recipe.kind}, imported: {', '.join(recipe.channels)} to {', '.join(recipe.stains)}."[:1000],
        version="1.0.0",
        architecture=recipe.architecture,
        config=recipe.config,
        channels=recipe.channels,
        stains=recipe.stains,
        dims=recipe.dims,
        test_input=_test_image(recipe),
        card=card,
        planes_as_channels=recipe.planes_as_channels,
        z_offsets=recipe.z_offsets,
        pixel_size=recipe.pixel_size,
        preprocessing=recipe.preprocessing,
        license=None,
        authors=(),
        half=False,
        overwrite=overwrite,
        program=recipe.program,
        warnings=warnings,
    )


def _test_image(recipe: ImportRecipe) -> npt.NDArray[np.float32]:
    """Return a made-up raw image whose sides suit the network.

    Its values lie evenly about their mean, so that the median is the middle of the quartiles and programs that know the specification
    alone get the same numbers.
    """
    valid = recipe.program.sides if recipe.program else valid_sides(recipe.network)
    if valid is None:
        name = type(recipe.network).__name__
        raise TypeError(
            f"{name} is neither an EncoderDecoder nor a StagedNetwork, so the sides of its input are not known; see CONTRIBUTING.md"
        )
    sides = []
    for wanted, (smallest, step) in zip((16, 64, 64)[-len(valid) :], valid, strict=True):
        sides.append(max(2 * step, -(-wanted // step) * step) if step else smallest)
    random = np.random.default_rng(0)
    out = np.empty((len(recipe.channels), *sides), np.float32)
    for channel in out:
        half = np.abs(random.normal(0.0, 90.0, -(-channel.size // 2)))
        values = np.concatenate([1000.0 + half, 1000.0 - half])[: channel.size]
        channel[...] = random.permutation(values).reshape(channel.shape)
    return out
