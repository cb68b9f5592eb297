"""Infrastructure that knows no image: progress, files written atomically, locks, worker processes, scratch memory."""

from napari_virtual_paint.runtime.generators import run_to_end

__all__ = ["run_to_end"]
