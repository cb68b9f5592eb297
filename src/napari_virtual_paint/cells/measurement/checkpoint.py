"""Rows of images that are measured already, kept beside a table until it is whole: a run that was killed goes on from there."""

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

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = "settings.json"
SUFFIX = ".part"


def beside(table: Path) -> Path:
    """Return the folder in which the rows of a table are kept until it is whole."""
    return table.with_name(table.name + SUFFIX)


class MeasurementCheckpoint:
    """A folder with a Parquet file for each image that is measured.

    Parameters
    ----------
    folder
        Made with the first rows; what other settings left there is removed.
    settings
        All that the rows depend on but the image itself; plain values, as JSON holds them.

    Attributes
    ----------
    note
        What a reader should be told, or empty.

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
        known = _read(folder / SETTINGS)
        if known is None:
            raise WriteError(folder, "something else is where the rows of finished images are to be kept; move it, or name another table")
        other = sorted(key for key in {*known, *self._settings} if known.get(key) != self._settings.get(key))
        if other:
            self.remove()
            self.note = f"{folder.name} was left by a run with another {' and '.join(other)}; all images are measured afresh."

    def read(self, image: Path, files: Iterable[Path] = ()) -> pd.DataFrame | None:
        """Return the rows of an image as they were kept; None where it, or a file that goes with it, is new or another one now."""
        import pandas as pd

        path = self._path(image, files)
        if not path.is_file():
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError):  # a disk that failed: it is measured again
            return None

    def known(self, image: Path, files: Iterable[Path] = ()) -> bool:
        """Return whether an image's rows are kept."""
        return self._path(image, files).is_file()

    def keep(self, table: pd.DataFrame, image: Path, files: Iterable[Path] = ()) -> None:
        """Keep the rows of an image, whole or not at all.

        Raises
        ------
        WriteError
            If they can't be written.
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
        """Remove the folder: its table is written, or its settings are others."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, image: Path, files: Iterable[Path]) -> Path:
        stamps = [[str(path.resolve()), *_stamps(path)] for path in (image, *files)]
        return self.folder / f"{hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:32]}.parquet"


def _read(path: Path) -> dict[str, Any] | None:
    """Return the settings that a folder was begun with; None where it is none of ours."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _stamps(path: Path) -> list[list[Any]]:
    """Return name, size and time of change of the files that an image is made of: itself, those of a folder, or those of a pattern."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        files = sorted(file for file in path.parent.glob(path.name) if file.is_file())
    return [[file.name, (known := file.stat()).st_size, known.st_mtime_ns] for file in files]
