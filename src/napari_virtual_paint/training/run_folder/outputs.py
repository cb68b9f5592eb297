"""What a training would replace: its own run folder and earlier package, and nothing else."""

from __future__ import annotations

from napari_virtual_paint.models.package.earlier import check_replaced_package
from napari_virtual_paint.runtime.outputs import check_outputs, check_own_folder
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.run_folder.watch import is_run_folder


def check_run_outputs(config: TrainConfig) -> None:
    """Check before hours of training that package and run folder replace nothing that is not theirs.

    Raises `InputError` if they would replace an input, another model or a folder of something else.
    """
    assert config.run is not None
    check_outputs([config.output, config.run], config.data.sources())
    check_own_folder(config.run, is_run_folder, what="a training")
    check_replaced_package(config.output, config.id)
