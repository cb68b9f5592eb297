"""One network on one device: predict the stains of a prepared field."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, lcm, prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_virtual_paint import device as devices
from napari_virtual_paint.errors import ModelError
from napari_virtual_paint.models import Model
from napari_virtual_paint.networks.encoder_decoder import EncoderDecoder
from napari_virtual_paint.networks.sizes import multiples, valid_sides
from napari_virtual_paint.networks.staged import StagedNetwork
from napari_virtual_paint.painting.cancellation import cancellable
from napari_virtual_paint.painting.exact.encoder_decoder import memory_format, paint_field, work
from napari_virtual_paint.painting.exact.fuse import for_painting
from napari_virtual_paint.painting.exact.global_norm import TILE, paint_stages
from napari_virtual_paint.painting.exact.receptive_field import Probe, plan_field, probe
from napari_virtual_paint.painting.exact.tile_threads import TileThreadPool
from napari_virtual_paint.painting.network_input import Finished, NetworkInput
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.painting.sliding_window import predict_patches
from napari_virtual_paint.painting.sliding_z import average, slide
from napari_virtual_paint.painting.tiles import TilePlan, clip

Floats = npt.NDArray[np.float32]
EVERYWHERE = 1 << 24  # reach in pixels of a network that normalizes over the whole field: more than any field is wide
WHOLE_UP_TO = 1 << 21  # largest field in pixels that a network of unknown structure gets whole


class Predictor:
    """A model's network, brought to a device, precision and layout.

    Parameters
    ----------
    tile
        Most pixels a side of a tile; None to choose.

    Attributes
    ----------
    used_tile
        The tile of the field painted last.
    exact
        Whether the stains painted so far equal those of the field painted whole.
    notes
        What the user should know.
    """

    def __init__(self, model: Model, settings: PaintSettings, kind: str, tile: int | None) -> None:
        self.info, self.settings, self.kind, self.tile = model.info, settings, kind, tile
        self.used_tile = 0
        self.exact = settings.blend == "exact"
        self.notes: list[str] = []
        self.network, self.probe = self._prepare(model.network)

    def _prepare(self, network: nn.Module) -> tuple[nn.Module, Probe | None]:
        """Return the network on the device, in precision and layout for painting, and its probe."""
        dtype: torch.dtype = getattr(torch, self.settings.precision)
        if self.kind != "cpu" or dtype != torch.float32:
            network = copy.deepcopy(network).to(device=self.kind, dtype=dtype)
        network = for_painting(network)
        layout = torch.channels_last if self.info.dims == 2 else torch.channels_last_3d
        if not any(weight.ndim in (4, 5) and weight.ndim != self.info.dims + 2 for weight in network.parameters()):
            network = network.to(memory_format=layout)  # type: ignore[call-overload]
        return network, probe(network, len(self.info.channels)) if isinstance(network, EncoderDecoder) else None

    def multiples(self) -> tuple[int, ...]:
        """Return what each side of a field is padded to a multiple of."""
        if valid_sides(self.network) is not None:
            return multiples(self.network)
        return tuple(max(step, 1) for step in self.info.step_size) or (1,) * self.info.dims

    def reach(self) -> int:
        """Return the receptive field in pixels around a region; a guess for networks of unknown structure."""
        if isinstance(self.network, StagedNetwork):
            return EVERYWHERE
        return self.probe.reach.field() if self.probe is not None else 64

    def halo(self, shape: Sequence[int]) -> tuple[int, int] | None:
        """Return reach and grid of a part whose stains equal those of the whole padded field ([Z,] Y, X); None where there is none."""
        grid = lcm(*self.multiples()[-2:])
        if self._patched(shape):
            return self._patch() // 2, lcm(grid, self._patch() // 2)
        return None if self.probe is None else (self.probe.reach.field(), grid)

    def window(self) -> int | None:
        """Return the fixed number of z-planes that the network takes; None where it takes any number."""
        fixed = self.info.dims == 3 and len(self.info.step_size) == 3 and self.info.step_size[0] == 0
        return self.info.min_size[0] if fixed else None

    def paint(self, field: NetworkInput, center: tuple[float, float] | None) -> Iterator[Finished]:
        """Paint a field, or slide the network's window of planes over it and average; boxes are in pixels of the padded field."""
        yield from cancellable(self._windows(field, center), self.network, self.kind, (0.0, None, None))

    def _windows(self, field: NetworkInput, center: tuple[float, float] | None) -> Iterator[Finished]:
        """Paint a field, or each window of its planes."""
        depth = self.window()
        if depth is None or field.pixels.shape[1] == depth:
            yield from self._field(field, center)
            return
        if field.shape[0] < depth:
            self._note(f"The stack has {field.shape[0]} planes, the model takes {depth}; the outermost were repeated.")
        windows = list(slide(field.pixels, depth))
        shape, original = (depth, *field.shape[1:]), (depth, *field.original[1:])
        fields = (replace(field, pixels=pixels, shape=shape, original=original) for _, pixels in windows)
        updates = ((at, *update) for at, window in enumerate(fields) for update in self._field(window, center))
        yield from average([first for first, _ in windows], depth, field.shape[0], updates, field.shape[1:])

    def _field(self, field: NetworkInput, center: tuple[float, float] | None) -> Iterator[Finished]:
        """Paint a field in the way that the network and the setting `blend` ask for."""
        if self.settings.blend != "exact":
            yield from self._patches(field, self.settings.blend)
        elif self.probe is not None:
            yield from self._levels(field, center)
        elif isinstance(self.network, StagedNetwork):
            yield from self._stages(field)
        elif not self._patched(field.whole or field.pixels.shape[1:]):
            self.used_tile = max(field.pixels.shape[-2:])
            box = tuple(slice(0, side) for side in field.shape)
            yield 1.0, box, self._predict(field.pixels)[(slice(None), *box)]
        else:
            self.exact = False
            self._note(f"Model {self.info.id} can't be split into levels, so it was painted in overlapping patches.")
            yield from self._patches(field, "gaussian")

    def _patched(self, shape: Sequence[int]) -> bool:
        """Return whether a padded field is painted in overlapping patches: by choice, or as its network is of unknown structure."""
        if self.settings.blend != "exact":
            return True
        if self.probe is not None or isinstance(self.network, StagedNetwork):
            return False
        if self.info.step_size and self.info.step_size[-1] == 0:
            return tuple(shape[-2:]) != tuple(self.info.min_size[-2:])
        return prod(shape) > WHOLE_UP_TO or (self.tile is not None and self.tile < max(shape[-2:]))

    def _patch(self) -> int:
        """Return the side of the patches."""
        multiple = self.multiples()[-1]
        fixed = self.info.step_size and self.info.step_size[-1] == 0
        side = self.info.min_size[-1] if fixed else self.tile or (256 if self.info.dims == 2 else 128)
        return max(ceil(side / (2 * multiple)) * 2 * multiple, 2 * multiple)

    def _note(self, sentence: str) -> None:
        """Note a sentence once, however many parts a field has."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _stages(self, field: NetworkInput) -> Iterator[Finished]:
        """Paint stage by stage, the statistics of each taken over the whole field."""
        assert isinstance(self.network, StagedNetwork)
        self.used_tile = self.tile or TILE
        short = [max(2 * self.network.multiple - side, 0) for side in field.pixels.shape[-2:]]
        pixels = np.pad(field.pixels, [(0, 0)] * (field.pixels.ndim - 2) + [(0, more) for more in short], mode="reflect")
        depth = tuple(slice(0, side) for side in field.shape[:-2])
        for share, box, stains in paint_stages(self.network, self._tensor(pixels), self.tile):
            kept = None if box is None else clip(box, field.shape[-2:])
            if stains is None or kept is None or any(s.stop <= s.start for s in kept):
                yield share, None, None
                continue
            yield share, (*depth, *kept), _array(stains[0])[..., : kept[0].stop - kept[0].start, : kept[1].stop - kept[1].start]

    def _levels(self, field: NetworkInput, center: tuple[float, float] | None) -> Iterator[Finished]:
        """Paint level by level."""
        assert self.probe is not None
        plan = self._plan(field)
        self.used_tile = max(plan.tile)
        middle_of_view: tuple[float, ...] | None = None
        if center is not None:
            middle = tuple(side / 2 for side in plan.shape[:-2])
            scale = [new / old for new, old in zip(field.shape[-2:], field.original[-2:], strict=True)]
            middle_of_view = (*middle, center[0] * scale[0], center[1] * scale[1])
        with TileThreadPool(self.kind, self.info.dims, steady=self.settings.steady) as pool:
            yield from self._run_levels(field, plan, pool, middle_of_view)

    def _run_levels(
        self, field: NetworkInput, plan: TilePlan, pool: TileThreadPool, center: tuple[float, ...] | None
    ) -> Iterator[Finished]:
        """Paint level by level under a tile plan."""
        assert isinstance(self.network, EncoderDecoder)
        total = work(plan)
        for done, box, stains in paint_field(self.network, plan, self._tensor(field.pixels), pool, center):
            kept = None if box is None else clip(box, field.shape)
            if box is None or stains is None or kept is None or any(s.stop <= s.start for s in kept):
                yield done / total, None, None
                continue
            inner = tuple(slice(0, s.stop - s.start) for s in kept)
            yield done / total, kept, _array(stains[0])[(slice(None), *inner)]

    def _plan(self, field: NetworkInput) -> TilePlan:
        """Choose the tile plan of a field."""
        assert self.probe is not None
        itemsize = 4 if self.settings.precision == "float32" else 2
        free = sys.maxsize if self.settings.steady else devices.resolve(self.kind).free_memory
        plan = plan_field(field.pixels.shape[1:], self.probe, self.tile, self.kind, itemsize, free)
        if field.wanted is None:
            return plan
        sides = [slice(0, side) for side in plan.shape[:-2]]
        align = 2**plan.levels
        sides += [slice(s.start // align * align, -(-s.stop // align) * align) for s in field.wanted]
        return replace(plan, wanted=tuple(sides))

    def _patches(self, field: NetworkInput, blend: str) -> Iterator[Finished]:
        """Paint in overlapping patches."""
        self.used_tile = self._patch()
        self.exact = False
        for done, where, stains in predict_patches(self._predict, field.pixels, blend, self.used_tile):
            if where is None or stains is None:
                yield done, None, None
                continue
            box = clip((*(slice(0, side) for side in field.pixels.shape[1:-2]), *where), field.shape)
            yield done, box, stains[(slice(None), *(slice(0, s.stop - s.start) for s in box))]

    def _tensor(self, pixels: Floats) -> Tensor:
        """Put pixels (C, ...) on the device as a batch of one."""
        tensor = torch.from_numpy(np.ascontiguousarray(pixels))[None]
        tensor = tensor.to(self.kind, getattr(torch, self.settings.precision))
        return tensor.contiguous(memory_format=memory_format(tensor))

    def _predict(self, pixels: Floats) -> Floats:
        """Run the whole network on pixels (C, ...)."""
        tensor = self._tensor(pixels)
        with torch.inference_mode():
            out = self.network(tensor)
        out = out[0] if isinstance(out, (tuple, list)) and len(out) == 1 else out
        wanted = (1, len(self.info.stains), *tensor.shape[2:])
        if not isinstance(out, Tensor) or tuple(out.shape) != wanted:  # a program of a package may give anything
            given = f"an output of {_text(out.shape)}" if isinstance(out, Tensor) else f"{type(out).__name__} instead of one image"
            raise ModelError(
                f"{self.info.source}: its network gives {given} for an input of {_text(tensor.shape)}, where {_text(wanted)} is described; "
                "only outputs of the input's own sides are painted."
            )
        return _array(out[0])


def _text(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)


def _array(stains: Tensor) -> Floats:
    """Bring stains to the CPU as float32."""
    return np.ascontiguousarray(stains.float().cpu().numpy())
