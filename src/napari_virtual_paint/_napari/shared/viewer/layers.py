"""Stack <-> layers: the only place that reads pixels out of layers and builds the arguments of new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import dask.array as da
import numpy as np

from napari_virtual_paint._napari.shared.viewer.appearance import blending_for, contrast_limits
from napari_virtual_paint._napari.shared.viewer.geometry import Geometry, guess_axes, labelled_axes, valid_axes
from napari_virtual_paint.channel_colors import channel_color, is_transmitted, looks_together
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.reading.axes import likely
from napari_virtual_paint.stack import AXES, Array, Stack

KEY = "virtual_paint"  # key of a layer's metadata under which this plugin keeps what it knows: role, stain, axes, provenance ...

ERROR_MAP, UNCERTAINTY = "error map", "uncertainty"  # roles in that metadata of layers that show no sample

LARGE = 8192  # pixels a side beyond which a layer is shown from smaller copies: a texture may not be much larger
WINDOW = 2048  # pixels a side that contrast limits of an image from a file are taken from

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]


@dataclass(frozen=True, eq=False)
class LayerSource:
    """An image taken from layers."""

    stack: Stack  # the pixels, lazy where the layers are
    geometry: Geometry  # where they lie
    layers: tuple[str, ...]  # names of the layers
    handles: tuple[str, ...]  # what the command line calls each channel: its name in the file, else its position there
    path: str | None  # the file or folder that all layers came from; None if there is no such one


def our_metadata(layer: Any) -> dict[str, Any]:
    """Return a copy of this plugin's metadata on a layer (role, stain, axes, channels, provenance); empty for a foreign layer."""
    noted = layer.metadata.get(KEY)
    return dict(noted) if isinstance(noted, Mapping) else {}


def is_stain(layer: Any) -> bool:
    """Return whether a layer was painted by this plugin."""
    return our_metadata(layer).get("role") == "stain"


def image_layers(viewer: Any) -> list[Any]:
    """Return the image layers that a dock may offer as its input: all but error maps and SDs, which are no images of a sample."""
    images = [layer for layer in viewer.layers if type(layer).__name__ == "Image"]
    return [layer for layer in images if our_metadata(layer).get("role") not in (ERROR_MAP, UNCERTAINTY)]


def pixels_of(layer: Any) -> Array:
    """Return a layer's data at full resolution, numpy or dask, without reading it."""
    data = layer.data[0] if layer.multiscale else layer.data
    if type(data).__module__.partition(".")[0] == "xarray":
        data = data.data
    return data if isinstance(data, (np.ndarray, da.Array)) else da.from_array(data)


def axes_of(layer: Any, axes: str | None = None) -> str:
    """Return the letters of a layer's axes, colours left out.

    Raises `InputError` if the axes are ambiguous, or the user's letters don't fit.
    """
    if axes is not None and (len(axes) != layer.ndim or not valid_axes(axes)):
        raise InputError(f"Layer {layer.name!r} has {layer.ndim} axes, so they can't be {axes!r}; name each once, ending in YX.")
    found = axes or guess_axes(layer, our_metadata(layer).get("axes"))
    if not valid_axes(found) and set(found) <= set(AXES):
        raise InputError(
            f"Layer {layer.name!r} has the axes {', '.join(found.lower())} by its labels, which must be different and end in y, x;"
            " transpose its data, or correct the labels."
        )
    if not valid_axes(found):
        raise InputError(f"Layer {layer.name!r} has {layer.ndim} axes of unknown meaning; name them t, c, z, y, x in its axis labels.")
    return found


def stack_from_layers(layers: Sequence[Any], axes: str | None = None) -> LayerSource:
    """Take one image from layers: one layer with or without channels, or one layer per channel (or a plane).

    Parameters
    ----------
    layers
        Image layers: plain, multiscale (full resolution is taken), RGB (three channels, `rgb` set); in the order of the channels.
    axes
        What the axes of each layer's data are (letters of TCZYX); guessed from axis labels and units where None.

    Returns
    -------
    The stack, lazy where the layers are; its geometry is the first layer's.

    Raises
    ------
    InputError
        If there is no layer, one is no image, or their sizes differ.
    """
    if not layers:
        raise InputError("No image layer is chosen; open an image and choose it.")
    for layer in layers:
        if type(layer).__name__ != "Image":
            raise InputError(f"Layer {layer.name!r} is no image layer; choose an image.")
    first = layers[0]
    geometry = Geometry.of_layer(first, axes_of(first, axes))
    parts = [_tczyx(layer, axes_of(layer, axes)) for layer in layers]
    for layer, part in zip(layers, parts, strict=True):
        if _sizes(part) != _sizes(parts[0]):
            raise InputError(
                f"Layers {first.name!r} and {layer.name!r} differ in size "
                f"({_words(parts[0])} and {_words(part)}); choose layers of one image."
            )
    names = [name for layer, part in zip(layers, parts, strict=True) for name in _names(layer, part, alone=len(layers) == 1)]
    data = parts[0] if len(parts) == 1 else _concatenate(parts)
    provenance = our_metadata(first).get("provenance")
    notes = [note for layer in layers if axes is None and (note := _doubt(layer))]
    stack = Stack(
        data,
        None if None in names else tuple(str(name) for name in names),
        geometry.pixel_size(),
        geometry.time_interval(),
        _source(first),
        rgb=len(layers) == 1 and bool(first.rgb),
        provenance=provenance if isinstance(provenance, Mapping) else None,
        notes=tuple(notes),
    )
    paths = {_source(layer) for layer in layers}
    path = paths.pop() if len(paths) == 1 else None
    return LayerSource(
        stack, geometry, tuple(layer.name for layer in layers), _handles(layers, parts), path if path and Path(path).exists() else None
    )


def _doubt(layer: Any) -> str | None:
    """Return a note on a layer without axis labels whose shape makes it unlikely that its last axes are y and x."""
    if layer.rgb or our_metadata(layer).get("axes") or set(labelled_axes(layer)) != {"?"}:
        return None
    shape = pixels_of(layer).shape
    if likely(shape, guess_axes(layer))[1] is None:
        return None
    sizes, letters = " x ".join(map(str, shape)), ", ".join(guess_axes(layer).lower())
    return (
        f"Layer {layer.name!r} ({sizes}) was taken as {letters}, with images of {shape[-1]} columns; if its last axis is one of channels,"
        " transpose its data and name its axes in the axis labels."
    )


def _tczyx(layer: Any, axes: str) -> Array:
    """Return a layer's data with axes TCZYX, without copying."""
    data = pixels_of(layer)
    if layer.rgb:
        if "C" in axes:
            raise InputError(f"Layer {layer.name!r} has both colors and channels; split it into one layer per channel.")
        data, axes = data[..., :3], axes + "C"
    order = sorted(range(len(axes)), key=lambda i: AXES.index(axes[i]))
    data = data.transpose(order)
    return data[tuple(slice(None) if axis in axes else np.newaxis for axis in AXES)]


def _concatenate(parts: Sequence[Array]) -> Array:
    """Join channels lazily, even those that are in memory: choosing layers must not copy them on the GUI thread."""
    lazy = [part if isinstance(part, da.Array) else da.from_array(part, chunks=(1, 1, 1, -1, -1), name=False) for part in parts]
    return da.concatenate(lazy, axis=1)


def _sizes(part: Array) -> tuple[int, ...]:
    return (part.shape[0], *part.shape[2:])


def _words(part: Array) -> str:
    return " x ".join(str(n) for n in _sizes(part) if n > 1) + " pixels"


def _names(layer: Any, part: Array, alone: bool) -> list[str | None]:
    """Return the names of a layer's channels."""
    if layer.rgb:
        return ["Red", "Green", "Blue"]
    if part.shape[1] == 1:
        return [str(our_metadata(layer).get("channel") or layer.name)]
    noted = our_metadata(layer).get("channels")
    if noted is not None and len(noted) == part.shape[1]:
        return [str(name) for name in noted]
    return [None] * part.shape[1] if alone else [f"{layer.name} {i}" for i in range(part.shape[1])]


def _handles(layers: Sequence[Any], parts: Sequence[Array]) -> tuple[str, ...]:
    """Return what the command line calls the channels."""
    found: list[str] = []
    for layer, part in zip(layers, parts, strict=True):
        noted, count = our_metadata(layer), part.shape[1]
        if count == 1:
            found.append(str(noted.get("channel") or noted.get("index", len(found))))
        else:
            found += [str(name) for name in noted.get("channels") or range(count)]
    alike = len({name.casefold() for name in found}) < len(found) or any("," in name for name in found)
    return tuple(str(i) for i in range(len(found))) if alike else tuple(found)


def _source(layer: Any) -> str:
    path = getattr(layer.source, "path", None)
    return str(our_metadata(layer).get("source") or path or layer.name)


def layer_data_from_stack(
    stack: Stack,
    geometry: Geometry | None = None,
    *,
    names: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    limits: Sequence[tuple[float, float] | None] | None = None,
    visible: bool = True,
    coarser: Sequence[Array] = (),
) -> list[LayerData]:
    """Return one image layer per channel (or one for a colour picture), ready for a reader or `viewer.add_layer`.

    Parameters
    ----------
    stack
        The image; its arrays are handed on as views, so that painting into a numpy stack shows in the layers.
    geometry
        Where it lies; from its pixel size where None. An axis folded by painting is fitted (`Geometry.fitted`).
    names
        Of the layers; the channels' names where None.
    metadata
        Noted on every layer under `KEY`, with the channel, axes, source and provenance.
    limits
        Contrast limits of each layer; None leaves one to be taken from the middle plane (which reads it).
    visible
        Whether the layers are shown.
    coarser
        Smaller copies of the pixels, TCZYX, the largest first: napari then reads of a mosaic what is in view alone, as fine as it is shown.
    """
    place = Geometry.of_stack(stack) if geometry is None else geometry.fitted(stack)
    shared = {"axes": place.axes, "source": stack.source, **(metadata or {})}
    if stack.provenance is not None:
        shared["provenance"] = dict(stack.provenance)
    if stack.rgb:
        return [_colour_layer(stack, place, names, shared, visible)]
    labels = stack.channel_labels
    out: list[LayerData] = []
    for index, (label, look) in enumerate(zip(labels, looks_together(labels), strict=True)):
        transmitted = is_transmitted(label)
        found = limits[index] if limits is not None else contrast_limits(_middle(stack, index), transmitted)
        out.append((
            _levels([stack.data, *coarser], index, place.axes),
            {
                "name": names[index] if names is not None else label,
                "colormap": "gray" if stack.channels is None and len(labels) == 1 else channel_color(label, index).colormap,
                "blending": blending_for(label) if len(labels) > 1 or transmitted or stack.provenance else "translucent_no_depth",
                "visible": visible,
                **look._asdict(),
                "metadata": {KEY: {**shared, "channel": label if stack.channels is not None else None, "index": index}},
                **({"contrast_limits": found} if found is not None else {}),
                **({"multiscale": True} if coarser else {}),
                **place.layer_arguments(),
            },
            "image",
        ))  # fmt: skip
    return out


def label_data_from_stack(
    stack: Stack, geometry: Geometry | None = None, *, metadata: Mapping[str, Any] | None = None, visible: bool = True
) -> list[LayerData]:
    """Return one Labels layer per channel of a label image; its pixels are copied, so that they can be edited.

    Parameters
    ----------
    stack, geometry, metadata, visible
        As for `layer_data_from_stack`.
    """
    place = Geometry.of_stack(stack) if geometry is None else geometry.fitted(stack)
    shared = {"axes": place.axes, "source": stack.source, "provenance": dict(stack.provenance or {}), **(metadata or {})}
    out: list[LayerData] = []
    for index, label in enumerate(stack.channel_labels):
        pixels = np.array(_squeezed(stack.data[:, index], place.axes)).astype(np.int32)
        noted = {KEY: {**shared, "channel": label, "index": index}}
        out.append((pixels, {"name": label, "visible": visible, "metadata": noted, **place.layer_arguments()}, "labels"))
    return out


def _colour_layer(stack: Stack, place: Geometry, names: Sequence[str] | None, noted: dict[str, Any], visible: bool) -> LayerData:
    data = stack.data.transpose(0, 2, 3, 4, 1)
    t, z = data.shape[:2]
    data = data[(slice(None) if "T" in place.axes or t > 1 else 0, slice(None) if "Z" in place.axes or z > 1 else 0)]
    name = names[0] if names else "RGB"
    arguments = {"name": name, "rgb": True, "visible": visible, "metadata": {KEY: noted}, **place.layer_arguments()}
    return data, arguments, "image"


def _levels(levels: Sequence[Array], channel: int, axes: str) -> Any:
    """Return a channel with these axes: its pixels, or those of all levels of a pyramid."""
    found = [_squeezed(level[:, channel], axes) for level in levels]
    return found if len(found) > 1 else found[0]


def _squeezed(channel: Array, axes: str) -> Array:
    """Return a channel (T, Z, Y, X) with these axes in this order, a C among them of length 1; a view."""
    kept = "".join(axis for axis in "TZYX" if axis in axes)
    inner = channel[tuple(slice(None) if axis in kept else 0 for axis in "TZYX")]
    inner = inner.transpose([kept.index(axis) for axis in axes if axis != "C"])
    return inner[tuple(np.newaxis if axis == "C" else slice(None) for axis in axes)]


def _middle(stack: Stack, channel: int) -> Any:
    """Return the middle plane of the first time point (of a large lazy one the middle alone), in memory."""
    y, x = (slice(max(0, (n - WINDOW) // 2), max(0, (n - WINDOW) // 2) + WINDOW) for n in stack.shape[-2:])
    return np.asarray(stack.data[0, channel, stack.shape[2] // 2, y, x])


def visible_region(viewer: Any, geometry: Geometry) -> tuple[slice, slice] | None:
    """Return the pixels in y and x of an image that the canvas shows now (the bounding box, where the layer is turned).

    Returns
    -------
    None if the canvas shows nothing of it, is in 3D, or shows other axes than y and x.
    """
    ndim = len(geometry.axes)
    if viewer.dims.ndisplay != 2 or list(viewer.dims.displayed) != list(range(viewer.dims.ndim))[-2:]:
        return None
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / 2 / max(viewer.scene.camera.zoom, 1e-12)
    middle = np.asarray(viewer.scene.camera.center[-2:], float)
    world = np.tile(np.asarray(viewer.dims.point, float)[-ndim:], (4, 1))
    world[:, -2:] = middle + np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * half
    inverse = np.linalg.inv(geometry.to_world(viewer.layers.units))
    corners = (world @ inverse[:-1, :-1].T + inverse[:-1, -1])[:, -2:]
    low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)) + 1, geometry.shape[-2:]).astype(int)
    if np.any(high <= low):
        return None
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def view_point(viewer: Any, geometry: Geometry) -> tuple[int, int, float, float]:
    """Return the time point, z-plane, y and x (in pixels of an image) of the current view."""
    world = np.asarray(viewer.dims.point, float)[-len(geometry.axes) :].copy()
    if viewer.dims.ndisplay == 2:
        world[-2:] = viewer.scene.camera.center[-2:]
    inverse = np.linalg.inv(geometry.to_world(viewer.layers.units))
    found = dict(zip(geometry.axes, inverse[:-1, :-1] @ world + inverse[:-1, -1], strict=True))
    t, z = (round(float(found.get(axis, 0.0))) for axis in "TZ")
    return max(t, 0), max(z, 0), float(found["Y"]), float(found["X"])
