"""The specification's own library (bioimageio.spec): validate a description and bring version 0.4 to 0.5, without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models.package.files import PackageFiles
from napari_virtual_paint.runtime.text import one_line


def spec_errors(content: Mapping[str, Any], root: Path | None = None) -> list[str]:
    """Return what the specification's own library finds wrong with a description; no network, and without a root no file.

    Parameters
    ----------
    content
        The description as plain values.
    root
        The folder of the package, where its files and test tensors are to be read too.
    """
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description
    from loguru import logger

    context = ValidationContext(perform_io_checks=root is not None, disable_cache=True, log_warnings=False, root=root or Path())
    logger.disable("bioimageio.spec")  # its findings are returned as errors
    try:
        description = build_description(_offline(content), context=context)
    except ValueError as error:  # the library trips over some faults (a version that is none) when it wants to report them
        return _direct_errors(_offline(content)) or [one_line(error)]
    except Exception as error:  # noqa: BLE001 - a library's own fault on odd input is a finding, not the end
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


def converted(files: PackageFiles, content: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[str, Any]:
    """Return a description of version 0.4 as one of 0.5; its files are laid out in a folder for the library, which fetches nothing."""
    import tempfile

    from bioimageio.spec import InvalidDescr, ValidationContext, build_description, dump_description

    plain = {key: value for key, value in content.items() if key != "parent"}  # the one part that is looked up on the network
    with tempfile.TemporaryDirectory(prefix="virtual-paint-") as work:
        for name, data in contents.items():
            place = Path(work, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        context = ValidationContext(perform_io_checks=False, disable_cache=True, log_warnings=False, root=Path(work))
        try:
            found = build_description(plain, context=context, format_version="latest")
            if isinstance(found, InvalidDescr):
                problem = next((f"{'.'.join(map(str, item.loc))}: {item.msg}" for item in found.validation_summary.errors), "unknown")
                raise files.fail(f"its description of version 0.4 can't be converted to 0.5 ({one_line(ValueError(problem))})")
            out = dump_description(found, exclude_unset=False)
        except ModelError:
            raise
        except Exception as error:
            raise files.fail(f"its description of version 0.4 can't be converted to 0.5 ({one_line(error)})") from error
    return dict(_tidy(out))


def _tidy(content: Any) -> Any:
    """Return a dumped description without what is empty."""
    if isinstance(content, Mapping):
        return {str(key): _tidy(value) for key, value in content.items() if value is not None}
    if isinstance(content, (list, tuple)):
        return [_tidy(value) for value in content]
    return content
