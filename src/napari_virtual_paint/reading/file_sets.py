"""The other files of an image that is spread over several: those that its OME-XML names."""

from __future__ import annotations

import re
from pathlib import Path

from napari_virtual_paint.reading.silence import mute_logs

LARGEST = 64 * 2**20  # bytes of XML that are searched
NAMED = re.compile(r"""FileName\s*=\s*(?:"([^"]+)"|'([^']+)')""")


def files_of_set(path: str | Path) -> list[Path]:
    """Return the files that the OME-XML of a TIFF, or of a companion file, names beside it; none if it is no such file or is damaged.

    Only names are read, no pixel, and nothing is opened but the file itself.
    """
    try:
        file = Path(path).expanduser()
        if not file.is_file():
            return []
        name = file.name.casefold()
        xml = ""
        if name.endswith((".tif", ".tiff")):
            import tifffile

            with mute_logs(), tifffile.TiffFile(file) as tif:
                xml = str(tif.pages.first.description)[:LARGEST]
        elif name.endswith((".ome", ".xml")):
            with file.open(encoding="utf-8", errors="replace") as text:
                xml = text.read(LARGEST)
        names = {double or single for double, single in NAMED.findall(xml)}
        return [file.parent / each for each in sorted(names) if "\0" not in each]
    except Exception:  # noqa: BLE001 - whatever is wrong with it is said when it is read
        return []
