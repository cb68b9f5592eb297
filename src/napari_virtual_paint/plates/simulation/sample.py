"""The sample plate: 24 small simulated wells, of which half are painted and one can't be read; made once, into the cache."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from napari_virtual_paint.downloads.transfer import cache_folder
from napari_virtual_paint.models import open_model
from napari_virtual_paint.models.catalogue import DEFAULT
from napari_virtual_paint.painting.settings import PaintSettings
from napari_virtual_paint.plates.job.job import job_folder
from napari_virtual_paint.plates.job.rows import load_rows
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.paint import paint_plate
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.plates.simulation.simulate import simulate_plate
from napari_virtual_paint.runtime.generators import relay
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.writing.api import as_write_errors

DESIGN = PlateDesign(shape=(4, 6), size=256, seed=24)
PAINTED = "A1:B6"  # wells that are painted
DAMAGED = "B/4/0"  # the field whose pixels are damaged


def make_sample_plate(
    folder: Path | str | None = None, design: PlateDesign = DESIGN, model: str = DEFAULT
) -> Generator[Progress, None, Path]:
    """Simulate the sample plate and paint a part of it, where that is not done yet; the same pixels on every machine.

    A plain generator, which can be closed at each ``yield``; the next call goes on.

    Parameters
    ----------
    folder
        Where it is kept; by default in the cache of downloads.
    design
        The plate.
    model
        Id or path of the model that paints.

    Yields
    ------
    Progress
        Fields simulated and painted.

    Returns
    -------
    Path
        The painted plate, beside the plate that it is painted from.

    Raises
    ------
    ModelError
        If there is no such model.
    WriteError
        If the plate can't be written.
    """
    folder = cache_folder() / "samples" / "plate" if folder is None else Path(folder)
    path = folder / "sample-plate.zarr"
    network = open_model(model)
    output = folder / f"sample-plate_{network.info.id}.zarr"
    count = len(design.all_fields)
    yield from relay(simulate_plate(design, path), lambda step: Progress(step.done, 2 * count, "Simulating a plate"))
    _damage(path)
    plate = open_plate(path)
    some = plate.select(PAINTED)
    if not {field.key for field in some.fields} <= {field.key for field in load_rows(job_folder(output))}:
        share = count / len(some.fields)
        steps = paint_plate(some, network, output, PaintSettings(device="cpu"))
        yield from relay(steps, lambda step: Progress(count + share * step.done, 2 * count, "Painting a part of it"))
    return output


def _damage(path: Path) -> None:
    """Overwrite the pixels of a well, so that it fails when it is painted, as files of a bad copy do."""
    with as_write_errors(path):
        for file in path.joinpath(DAMAGED).glob("[0-9]*/c/**/*"):
            if file.is_file():
                file.write_bytes(b"damaged")
