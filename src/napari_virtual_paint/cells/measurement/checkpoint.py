"""Rows of already measured images, stored beside a table until it is complete, so that a killed run can resume."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtual_paint._version import __version__
from napari_virtual_paint.errors import WriteError
from napari_virtual_paint.runtime.atomic_write import replacing
from napari_virtual_paint.runtime.json_file import read_object

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = "settings.json"
SUFFIX = ".part"


def checkpoint_folder(table: Path) -> Path:
    """Return the folder that stores a table's rows until it is complete."""
    return table.with_name(table.name + SUFFIX)


class MeasurementCheckpoint:
    """A folder with one Parquet file per measured image.

    Parameters
    ----------
    folder
        Created with the first rows; rows of other settings are removed.
    settings
        Everything the rows depend on except the image itself, as plain JSON values.

    Attributes
    ----------
    note
        A note for the reader, or empty.

    Raises
    ------
    WriteError
        If something else is there.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.note = folder, ""
        self._settings = json.loads(json.dumps({**settings, "version": __version__}))
        if not folder.exists():
            return
        known = read_object(folder / SETTINGS)
        if known is None:
            raise WriteError(folder, "something else is where the rows of finished images are to be kept; move it, or name another table")
        other = sorted(key for key in {*known, *self._settings} if known.get(key) != self._settings.get(key))
        if other:
            self.remove()
            self.note = f"{folder.name} was left by a run with another {' and '.join(other)}; all images are measured afresh."

    def read(self, image: Path, files: Iterable[Path] = ()) -> pd.DataFrame | None:
        """Return the stored rows of an image; None where it, or a file that belongs to it, is new or has changed."""
        import pandas as pd

        path = self._path(image, files)
        if not path.is_file():
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError):  # a disk that failed: it is measured again
            return None

    def known(self, image: Path, files: Iterable[Path] = ()) -> bool:
        """Return whether an image's rows are stored."""
        return self._path(image, files).is_file()

    def keep(self, table: pd.DataFrame, image: Path, files: Iterable[Path] = ()) -> None:
        """Store the rows of an image atomically.

        Raises `WriteError` if they can't be written.
        """
        if not self.folder.is_dir():
            try:
                self.folder.mkdir()
                (self.folder / SETTINGS).write_text(json.dumps(self._settings, indent=2), encoding="utf-8")
            except OSError as error:
                raise WriteError(
                    self.folder, f"it can't be made ({error.strerror}); name a table in a folder that you may write to"
                ) from None
        with replacing(self._path(image, files), overwrite=True) as path:
            table.to_parquet(path, index=False)

    def remove(self) -> None:
        """Remove the folder, once its table is written or its settings changed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, image: Path, files: Iterable[Path]) -> Path:
        stamps = [[str(path.resolve()), *_stamps(path)] for path in (image, *files)]
        return self.folder / f"{hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:32]}.parquet"


def _stamps(path: Path) -> list[list[Any]]:
    """Return name, size and modification time of an image's files: itself, those of a folder, or those of a pattern."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        files = sorted(file for file in path.parent.glob(path.name) if file.is_file())
    return [[file.name, (known := file.stat()).st_size, known.st_mtime_ns] for file in files]
