"""What a training would replace: its own run folder and earlier package, and nothing else."""

from __future__ import annotations

from napari_virtual_paint.models.package.earlier import check_replaced_package
from napari_virtual_paint.runtime.outputs import check_outputs, check_own_folder
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.run_folder.watch import TAUGHT, is_run_folder


def check_run_outputs(config: TrainConfig) -> None:
    """Check before hours of training that package and run folder replace nothing that is not theirs.

    Raises `InputError` if they would replace an input, another model or a folder of something else.
    """
    assert config.run is not None
    own = {str(config.run / name) for name in TAUGHT}  # the table of pairs that a fine-tuning wrote there itself
    check_outputs([config.output, config.run], [source for source in config.data.sources() if source not in own])
    check_own_folder(config.run, is_run_folder, what="a training")
    check_replaced_package(config.output, config.id)
