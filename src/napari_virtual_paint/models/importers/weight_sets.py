"""Find the sets of weights in a checkpoint: raw and averaged ones, several networks, whatever the nesting and the prefixes of names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models.importers.recipe import State, prefixes
from napari_virtual_paint.models.package.numpy_values import NumpyArray

DEEPEST = 6  # deepest nesting that is searched
LEAST = 3  # fewest tensors of a set
AVERAGED = {"ema", "swa", "avg", "average", "averaged", "averaging", "shadow", "polyak", "teacher"}
"""Words in the names of averages over the training."""
JUDGES = {"discriminator", "disc", "critic", "d"}
"""Words in the names of networks that judge pictures and paint none."""
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Last parts of the names of what a network keeps beside its weights; many programs average the weights alone."""


@dataclass(frozen=True, eq=False)
class WeightSet:
    """One set of weights in a checkpoint."""

    name: str  # where it is: the keys of the mappings that hold it, and the prefix of its names, with dots between them; "" for the whole
    around: Mapping[str, Any]  # plain values of the file and of the mapping that holds the weights
    state: State
    averaged: bool = False  # whether it is an average over the training (EMA, SWA)
    notes: tuple[str, ...] = ()  # what was done to make it whole

    @property
    def label(self) -> str:
        """Its name for a sentence."""
        return f"{self.name or 'its own'} (averaged over the training)" if self.averaged else self.name or "its own"


def weight_sets(content: Any, anchors: Sequence[str]) -> list[WeightSet]:
    """Return the sets of weights of the networks that hold one of the anchors, in the order of the file.

    Parameters
    ----------
    content
        What the file holds.
    anchors
        Names of weights by which networks are known.
    """
    root = _plain(content) if isinstance(content, Mapping) else {}
    found: list[WeightSet] = []
    every = list(mappings(content))
    for path, around, state in every:
        parts = {prefix: None for anchor in anchors for prefix in prefixes(state, anchor)}
        for prefix in parts:
            others = [other for other in parts if other != prefix and other.startswith(prefix)]
            own = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix) and not k.startswith(tuple(others))}
            name = ".".join(filter(None, (path, prefix.strip("."))))
            averaged = _is_averaged(path, prefix, state, content)
            own.pop("n_averaged", None)
            found.append(WeightSet(name, {**root, **_plain(around)}, own, averaged))
    found += _without_dots(every, found) + _unnamed(list(_lists(content)), found)
    return _different([_completed(each, found) for each in found])


def choose(sets: Sequence[WeightSet], wanted: str) -> WeightSet:
    """Return the set of a name: the whole name, or a part of it that no other has.

    Raises `InputError` if there is none, or more than one.
    """
    key = wanted.strip().strip(".").casefold()
    exact = [each for each in sets if each.name.casefold() == key]
    if len(exact) == 1:
        return exact[0]
    near = [each for each in sets if f".{key}." in f".{each.name.casefold()}."]
    if len(near) == 1:
        return near[0]
    names = ", ".join(each.name or "its own" for each in near or sets)
    raise InputError(
        f"--weights {wanted}: {'several sets of weights have' if near else 'no set of weights has'} this name; there are {names}."
    )


def preferred(sets: Sequence[WeightSet]) -> WeightSet:
    """Return the set that is taken where nobody chose: averaged ones, with which programs paint, and no discriminator."""
    return min(sets, key=lambda each: (bool(_words(each.name) & JUDGES), not each.averaged))


def mappings(content: Any) -> Iterator[tuple[str, Mapping[str, Any], State]]:
    """Yield each mapping of names to tensors: its place, the mapping that holds it, its tensors; the outermost first, no optimizer's."""
    waiting: list[tuple[str, Any, Mapping[str, Any], int]] = [("", content, {}, 0)]
    while waiting:
        path, item, around, depth = waiting.pop(0)
        if not isinstance(item, Mapping) or "param_groups" in item:
            continue
        if len(state := tensors_of(item)) >= LEAST:
            yield path, around or item, state
        if depth < DEEPEST:
            waiting += [(_join(path, key), value, item, depth + 1) for key, value in item.items() if isinstance(value, Mapping)]


def holds_optimizer(content: Any, depth: int = 0) -> bool:
    """Return whether there is the state of an optimizer in a file."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return False
    return "param_groups" in content or any(holds_optimizer(value, depth + 1) for value in content.values())


def tensors_of(mapping: Mapping[Any, Any]) -> State:
    """Return the tensors of a mapping under their names; arrays of NumPy count."""
    out: State = {}
    for key, value in mapping.items():
        if isinstance(key, str) and isinstance(value, NumpyArray) and value.values.dtype.kind in "fiu":
            values = value.values.astype(value.values.dtype.newbyteorder("="))
            value = torch.from_numpy(values) if values.dtype.kind in "fi" or values.dtype.itemsize == 1 else None
        if isinstance(key, str) and isinstance(value, Tensor):
            out[key] = value
    return out


def _lists(content: Any) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield each list of tensors, as some programs keep averages: in the order of the network's parameters, without names."""
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    while waiting:
        path, item, depth = waiting.pop(0)
        if isinstance(item, (list, tuple)) and len(item) >= LEAST and all(isinstance(value, Tensor) for value in item):
            yield path, list(item)
        elif isinstance(item, Mapping) and "param_groups" not in item and depth <= DEEPEST:
            waiting += [(_join(path, key), value, depth + 1) for key, value in item.items() if isinstance(value, (Mapping, list, tuple))]


def _unnamed(lists: Sequence[tuple[str, list[Tensor]]], found: Sequence[WeightSet]) -> list[WeightSet]:
    """Return the lists whose shapes are those of a network's parameters, one after another, with the names of these."""
    out = []
    for path, tensors in lists:
        for each in found:
            names = [key for key in each.state if not key.endswith(BUFFERS)]
            if [each.state[key].shape for key in names] == [tensor.shape for tensor in tensors]:
                out.append(replace(each, name=path, state=dict(zip(names, tensors, strict=True)), averaged=bool(_words(path) & AVERAGED)))
                break
    return out


def _without_dots(every: Sequence[tuple[str, Mapping[str, Any], State]], found: Sequence[WeightSet]) -> list[WeightSet]:
    """Return averages whose names were stripped of their dots (``model_ema.down_path0block0weight``), under the names of the raw ones."""
    out = []
    for path, _, state in every:
        groups: dict[str, State] = {}
        for key, tensor in state.items():
            first, _, rest = key.partition(".")
            if _words(first) & AVERAGED and rest and "." not in rest:
                groups.setdefault(first, {})[rest] = tensor
        for first, group in groups.items():
            for each in found:
                short = {key.replace(".", ""): key for key in each.state}
                start = next((rest[: -len(some)] for some in short for rest in group if rest.endswith(some)), "")
                own = {short[rest[len(start) :]]: tensor for rest, tensor in group.items() if rest[len(start) :] in short}
                if len(own) >= LEAST and all(own[key].shape == each.state[key].shape for key in own):
                    out.append(replace(each, name=_join(path, first), state=own, averaged=True))
                    break
    return out


def _completed(one: WeightSet, found: Sequence[WeightSet]) -> WeightSet:
    """Return an average of the weights alone with the running statistics of the raw weights, as the programs that average so have it."""
    if not one.averaged:
        return one
    for raw in found:
        missing = raw.state.keys() - one.state.keys()
        if raw.averaged or not missing or not one.state.keys() <= raw.state.keys() or not all(key.endswith(BUFFERS) for key in missing):
            continue
        if all(raw.state[key].shape == tensor.shape for key, tensor in one.state.items()):
            note = (
                f"The averaged weights have no running means and variances of their own; those of {raw.name or 'the raw weights'} are used."
            )
            kept = {key: one.state.get(key, tensor) for key, tensor in raw.state.items()}
            return replace(one, state=kept, notes=(note,) if any(not key.endswith(BUFFERS[2]) for key in missing) else ())
    return one


def _different(found: Sequence[WeightSet]) -> list[WeightSet]:
    """Return the sets without those that hold the same numbers as one before them."""
    out: list[WeightSet] = []
    for one in found:
        if not any(_same(one.state, other.state) for other in out):
            out.append(one)
    return out


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def _is_averaged(path: str, prefix: str, state: Mapping[str, Tensor], content: Any) -> bool:
    """Return whether a set is an average, by its names and by what the programs that average leave beside it."""
    if _words(f"{path}.{prefix}") & AVERAGED or "n_averaged" in state:
        return True
    # Lightning's WeightAveraging keeps the average under the usual name and the raw weights under another.
    return path == "state_dict" and isinstance(content, Mapping) and "current_model_state" in content


def _words(name: str) -> set[str]:
    """Return the words of a name, in small letters: ``ModelEMA_state`` is model, ema and state."""
    return {word.casefold() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", re.sub(r"\d[dD]", "", name))}


def _plain(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if isinstance(key, str)}


def _join(path: str, key: Any) -> str:
    """Return the name of what lies in a mapping; Lightning's callbacks have their settings in their key, which are left out."""
    return ".".join(filter(None, (path, re.sub(r"[{(\[].*", "", str(key))[:80].strip("."))))
