"""The specification's own library (bioimageio.spec): validate a description and bring version 0.4 to 0.5, without the network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.files import PackageFiles
from napari_virtual_paint.models.package.processing_steps import StepError
from napari_virtual_paint.models.package.steps_of_04 import converted_steps
from napari_virtual_paint.runtime.text import one_line


def spec_errors(content: Mapping[str, Any]) -> list[str]:
    """Return what the specification's own library finds wrong with a description.

    It gets the description alone and no file: where it may open files, it also asks the network for every address, and leaves covers
    that it draws in the system's folder for temporary files. Files, their SHA-256 and the test tensors are checked by `models.check`.

    Parameters
    ----------
    content
        The description as plain values.
    """
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description
    from loguru import logger

    context = ValidationContext(perform_io_checks=False, disable_cache=True, log_warnings=False, root=Path())
    logger.disable("bioimageio.spec")  # its findings are returned as errors
    try:
        description = build_description(_offline(content), context=context)
    except ValueError as error:  # the library trips over some faults (a version that is none) when it wants to report them
        return _direct_errors(_offline(content)) or [one_line(error)]
    except (Exception, RecursionError) as error:  # noqa: BLE001 - a library's own fault on odd input is a finding, not the end
        return [f"the specification's library can't read it ({one_line(error)})"]
    finally:
        logger.enable("bioimageio.spec")
    return _sentences(description.validation_summary.errors) or ["it is not valid"] if isinstance(description, InvalidDescr) else []


def _direct_errors(content: Mapping[str, Any]) -> list[str]:
    """Return the errors of a description, from the library's model without its report."""
    from bioimageio.spec import ValidationContext
    from bioimageio.spec.model.v0_5 import ModelDescr
    from pydantic import ValidationError

    ready = {**content, "format_version": ModelDescr.implemented_format_version}
    if isinstance(ready.get("documentation"), str):
        ready["documentation"] = {"source": ready["documentation"]}
    try:
        with ValidationContext(perform_io_checks=False, disable_cache=True, log_warnings=False):
            ModelDescr.model_validate(ready)
    except ValidationError as error:
        return [_sentence(item["loc"], item["msg"]) for item in error.errors()]
    return []


def _sentences(errors: Sequence[Any]) -> list[str]:
    return [_sentence(item.loc, item.msg) for item in errors]


def _sentence(where: Sequence[int | str], what: str) -> str:
    return f"{'.'.join(str(part) for part in where)}: {one_line(ValueError(what))}"


def _offline(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description without the one field that the library looks up on the network even without I/O checks."""
    inputs = content.get("inputs")
    if not isinstance(inputs, list):
        return dict(content)
    kept = [{key: value for key, value in item.items() if key != "output_of"} if isinstance(item, dict) else item for item in inputs]
    return {**content, "inputs": kept}


def converted(files: PackageFiles, content: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return a description of version 0.4 as one of 0.5, by the library's converter, which gets no file and fetches nothing.

    Parameters
    ----------
    notes
        Gets what the user should know.
    """
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description, dump_description

    steps: dict[str, list[list[dict[str, Any]]]] = {}
    plain = {key: value for key, value in content.items() if key != "parent"}  # the one part that is looked up on the network
    for which, key in (("inputs", "preprocessing"), ("outputs", "postprocessing")):
        tensors = (
            [tensor for tensor in content.get(which) or () if isinstance(tensor, dict)] if isinstance(content.get(which), list) else []
        )
        try:
            steps[which] = [converted_steps(tensor.get(key), tensor.get("axes"), notes) for tensor in tensors]
        except StepError as error:
            raise files.fail(f"it {error}") from error
        plain[which] = [{name: value for name, value in tensor.items() if name != key} for tensor in tensors]
    context = ValidationContext(perform_io_checks=False, disable_cache=True, log_warnings=False, root=Path())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the size of channels may be wrong, which the test tensors show
            found = build_description(plain, context=context, format_version="latest")
        if isinstance(found, InvalidDescr):
            problem = next((f"{'.'.join(map(str, item.loc))}: {item.msg}" for item in found.validation_summary.errors), "unknown")
            raise files.fail(f"its description of version 0.4 can't be converted to 0.5 ({one_line(ValueError(problem))})")
        out = dict(_tidy(dump_description(found, exclude_unset=False)))
    except ModelError:
        raise
    except Exception as error:
        raise files.fail(f"its description of version 0.4 can't be converted to 0.5 ({one_line(error)})") from error
    for which, key in (("inputs", "preprocessing"), ("outputs", "postprocessing")):
        for tensor, own in zip(out[which], steps[which], strict=True):
            tensor[key] = [*own, {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
    return out


def _tidy(content: Any) -> Any:
    """Return a dumped description without what is empty."""
    if isinstance(content, Mapping):
        return {str(key): _tidy(value) for key, value in content.items() if value is not None}
    if isinstance(content, (list, tuple)):
        return [_tidy(value) for value in content]
    return content
