"""Base of all configurations: frozen models read from YAML, with one sentence per wrong field."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.yaml_text import load_yaml

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Betas = tuple[Share, Share]  # decay rates of Adam's running averages
Id = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]  # id of a model in commands, such as neurons-phase
Title = Annotated[str, Field(min_length=5, max_length=128, pattern=r"^[A-Za-z0-9_+ ()-]+$")]
"""Display name of a model as bioimage.io allows it; checked before the training rather than after."""
Model = TypeVar("Model", bound=BaseModel)


class ConfigSection(BaseModel):
    """Base of every section of a configuration: frozen, unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)

    def changed(self, **values: Any) -> Self:
        """Return a copy with other values in some fields, as if the file had them.

        Raises `InputError` if one of them is wrong, or does not go with the rest.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return type(self).model_validate(given | values)
        except ValidationError as error:
            faults = (_explanation(item["type"], item["msg"], item.get("input")) for item in error.errors(include_url=False))
            raise InputError(f"{', '.join(values)}: {'; '.join(faults)}.") from None


class CardConfig(ConfigSection):
    """Fields for the package's card, which every configuration of a training begins with."""

    id: Id
    """Name of the package, such as neurons-phase."""
    name: Title
    description: str
    version: str = "0.1.0"
    license: str | None = "BSD-3-Clause"
    """SPDX id of the model's license; null if it is not stated."""
    authors: tuple[str, ...] = ()
    """Who made the model, for the package; nobody is named if you name none."""
    trained_on: str
    """One sentence for the card: which data, how much, whose, under which license."""
    not_for: str
    """One sentence for the card: what the model must not be used for."""


def read_as(kind: type[Model], path: Path, guide: str) -> Model:
    """Read a YAML file as a configuration.

    Parameters
    ----------
    kind
        The model that the file's fields fill.
    guide
        The documentation page that an error names.

    Raises
    ------
    InputError
        If the file can't be read, or a field is unknown, missing, wrong or given twice; the sentence names each field, its line and what is
        expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree, values = yaml.compose(text, yaml.SafeLoader), load_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the configuration can't be read ({getattr(error, 'strerror', None) or error}).") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a configuration is a list of 'field: value' lines; see {guide}.")
    if twice := _duplicate_key(tree):
        raise InputError(f"{path}: {twice}.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error, values, tree, kind)}.") from None


def _duplicate_key(tree: yaml.Node | None) -> str:
    """Return a key that occurs twice in one mapping, of which YAML would silently take the last; empty where there is none."""
    if isinstance(tree, yaml.SequenceNode):
        return next((problem for item in tree.value if (problem := _duplicate_key(item))), "")
    if not isinstance(tree, yaml.MappingNode):
        return ""
    first_lines: dict[str, int] = {}
    for key, value in tree.value:
        line = key.start_mark.line + 1
        if key.value in first_lines:
            return f"{key.value}: given twice, in lines {first_lines[key.value]} and {line}"
        first_lines[str(key.value)] = line
        if problem := _duplicate_key(value):
            return problem
    return ""


def _sentence(error: ValidationError, values: Any, tree: yaml.Node | None, kind: type[BaseModel]) -> str:
    """Return a sentence for each wrong field, with its line and what is expected."""
    found: dict[str, list[str]] = {}
    lines: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False):
        names = _names(item["loc"], values, item["type"])
        if item["type"].startswith("union_tag"):
            names.append("kind")
        field = ".".join(map(str, names)) or "the configuration"
        found.setdefault(field, [])
        line = _line(tree, names)
        lines[field] = f" (line {line})" if line else ""
        problem = _explanation(item["type"], item["msg"], item.get("input"))
        if item["type"] == "extra_forbidden":
            problem += _meant(str(names[-1]), _known(kind, names[:-1], values))
        if problem not in found[field]:
            found[field].append(problem)
    return "; ".join(f"{field}: {' or '.join(problem)}{lines[field]}" for field, problem in found.items())


def _names(place: tuple[int | str, ...], values: Any, fault: str) -> list[int | str]:
    """Remove from an error's location what is not in the file: the names of union members."""
    names: list[int | str] = []
    for position, part in enumerate(place):
        inside = part in values if isinstance(values, dict) else isinstance(part, int)
        absent = fault == "missing" and position == len(place) - 1
        # A recipe's field isn't in the file either; union members begin with a capital, or are the value of a `kind`.
        form = isinstance(part, str) and (part[:1].isupper() or (isinstance(values, dict) and values.get("kind") == part))
        if inside or absent or not form:
            names.append(part)
            values = _at(values, part)
    return names


def _at(values: Any, part: int | str) -> Any:
    """Return the value at one step of a location; None where there is none."""
    try:
        return values[part]
    except (KeyError, IndexError, TypeError):
        return None


def _line(tree: yaml.Node | None, names: list[int | str]) -> int | None:
    """Return the line, from 1, of a field or of its nearest parent; None for the whole file."""
    line = None
    for name in names:
        if isinstance(tree, yaml.MappingNode):
            found = next(((key, value) for key, value in tree.value if key.value == str(name)), None)
            if found is None:
                break
            line, tree = found[0].start_mark.line + 1, found[1]
        elif isinstance(tree, yaml.SequenceNode) and isinstance(name, int) and name < len(tree.value):
            tree = tree.value[name]
            line = tree.start_mark.line + 1
        else:
            break
    return line


def _known(kind: type[BaseModel], names: list[int | str], values: Any) -> list[str]:
    """Return the fields of a section of the configuration."""
    kinds = [kind]
    for name in names:
        values = _at(values, name)
        annotations = [one.model_fields[str(name)].annotation for one in kinds if str(name) in one.model_fields]
        kinds = [part for annotation in annotations for part in _parts(annotation)]
    chosen = _at(values, "kind")
    named = [one for one in kinds if "kind" in one.model_fields and chosen in get_args(one.model_fields["kind"].annotation)]
    return sorted({field for one in named or kinds for field in one.model_fields})


def _parts(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for inner in get_args(annotation) for part in _parts(inner)]


def _meant(name: str, known: list[str]) -> str:
    """Return a similarly spelled field as a question."""
    close = difflib.get_close_matches(name, known, 1, 0.7)
    return f", perhaps {close[0]} is meant" if close else ""


def _explanation(kind: str, message: str, value: Any) -> str:
    """Return one validation error in plain words."""
    if kind == "extra_forbidden":
        return "no such field"
    if kind in ("missing", "union_tag_not_found"):
        return "this field is required"
    if kind == "union_tag_invalid":
        return f"should be one of {message.rsplit(': ', 1)[1]}, not {_at(value, 'kind')!r}"
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    return message if kind == "value_error" or isinstance(value, dict) else f"{message}, not {value!r}"
