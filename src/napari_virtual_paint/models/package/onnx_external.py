"""Weights that an ONNX file keeps in other files: found without opening any, and put into the graph from the package alone.

Left to onnxruntime, a graph that comes as bytes would read them from the folder that a program happens to run in, or from any path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from napari_virtual_paint.models.package.files import is_local
from napari_virtual_paint.runtime.extras import require
from napari_virtual_paint.runtime.text import one_line

MARK = b"location"  # the key under which each such tensor names its file: a file without these letters has none
LARGEST = 2**31 - 1  # bytes that a protocol buffer, and so an ONNX file, may have


def external_files(data: bytes) -> list[str]:
    """Return the names of the files that an ONNX file keeps weights in, as it names them; none are opened.

    Raises `ValueError` if the file is damaged; the message completes a sentence that begins with its name.
    """
    if MARK not in data:
        return []
    return list(dict.fromkeys(_place(tensor)[0] for tensor in _external(_parsed(data))))


def embedded(data: bytes, read: Callable[[str], bytes]) -> bytes:
    """Return an ONNX file with all weights in it.

    Parameters
    ----------
    read
        Returns the bytes of a file, named relative to the ONNX file; it must refuse what lies outside of the package. Names that lead out
        of their folder are refused before.

    Raises
    ------
    ValueError
        If a name leads out of the folder, a place is not in its file, or all of it is too large for one file; the message completes a
        sentence that begins with the name of the file.
    """
    if not external_files(data):
        return data
    model = _parsed(data)
    contents: dict[str, bytes] = {}
    total = len(data)
    for tensor in _external(model):
        name, offset, length = _place(tensor)
        if not is_local(name):
            raise ValueError(f"keeps weights in {name}, outside of the package, which is never read")
        plain = str(PurePosixPath(name))
        if plain not in contents:
            contents[plain] = read(plain)
        whole = contents[plain]
        length = len(whole) - offset if length is None else length
        if offset < 0 or length < 0 or offset + length > len(whole):
            raise ValueError(f"keeps {tensor.name} at a place that {name} doesn't have; download both again")
        total += length
        if total > LARGEST:
            raise ValueError("and the files that it keeps weights in are larger together than 2 GB, which is not read")
        tensor.raw_data = whole[offset : offset + length]
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    out: bytes = model.SerializeToString()
    return out


def _parsed(data: bytes) -> Any:
    """Return an ONNX file as the library's value; no other file is opened."""
    onnx = require("onnx", extra="onnx", purpose="ONNX with weights in other files")
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # the protocol buffer's own classes
        raise ValueError(f"is no ONNX file or is damaged ({one_line(error)})") from error


def _external(model: Any) -> Iterator[Any]:
    """Yield each tensor of a model, in whatever part of it, whose numbers lie in another file."""
    training = chain.from_iterable((info.initialization, info.algorithm) for info in model.training_info)
    functions = chain.from_iterable(function.node for function in model.functions)
    tensors = chain(_of_graph(model.graph), chain.from_iterable(map(_of_graph, training)), _of_nodes(functions))
    return (tensor for tensor in tensors if tensor.data_location == 1 or len(tensor.external_data))


def _of_graph(graph: Any) -> Iterator[Any]:
    """Yield the tensors of a graph and of the graphs in it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    """Yield the tensors in the attributes of nodes."""
    for attribute in chain.from_iterable(node.attribute for node in nodes):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g,) if attribute.HasField("g") else ():
            yield from _of_graph(graph)
        for graph in attribute.graphs:
            yield from _of_graph(graph)


def _place(tensor: Any) -> tuple[str, int, int | None]:
    """Return the file of a tensor's numbers, where they begin in it, and how many bytes they are (None: to its end)."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        length = entries.get("length")
        return entries.get("location", ""), int(entries.get("offset") or 0), None if not length else int(length)
    except ValueError as error:
        raise ValueError(f"keeps {tensor.name} at a place that is no number") from error
