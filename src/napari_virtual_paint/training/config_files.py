"""What every configuration is made of: frozen parts, read from a YAML file, with one sentence for each field that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_virtual_paint.errors import InputError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Id = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
"""What a model is called for in commands, such as neurons-phase."""
Title = Annotated[str, Field(min_length=5, max_length=128, pattern=r"^[A-Za-z0-9_+ ()-]+$")]
"""A model's name for people, as bioimage.io packages may have one: told before the training, which is long, and not behind it."""
Model = TypeVar("Model", bound=BaseModel)


class Part(BaseModel):
    """Base of every part of the configuration: frozen, and a field that isn't known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def read_as(kind: type[Model], path: Path, guide: str) -> Model:
    """Read a YAML file as a part of a configuration.

    Parameters
    ----------
    kind
        What the file's fields make.
    path
        A YAML file.
    guide
        The page that an error names.

    Raises
    ------
    InputError
        If the file can't be read, or a field is unknown, missing or wrong; the sentence names each field and what is expected.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the configuration can't be read ({getattr(error, 'strerror', None) or error}).") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a configuration is a list of 'field: value' lines; see {guide}.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}.") from None


def _sentence(error: ValidationError) -> str:
    """Name every wrong field once, with what is expected."""
    told: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_context=False):
        # Capitals begin the names of a field's forms, which are no part of the file.
        names = [str(part) for part in item["loc"] if isinstance(part, int) or part[:1].islower()]
        field = ".".join(names) or "the configuration"
        told.setdefault(field, [])
        words = _words(item["type"], item["msg"], item.get("input"))
        if words not in told[field]:
            told[field].append(words)
    return "; ".join(f"{field}: {' or '.join(words)}" for field, words in told.items())


def _words(kind: str, message: str, given: Any) -> str:
    """Say one fault in plain words."""
    if kind == "extra_forbidden":
        return "no such field"
    if kind == "missing":
        return "this field is required"
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    return message if kind == "value_error" or isinstance(given, dict) else f"{message}, not {given!r}"
