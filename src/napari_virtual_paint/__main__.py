"""The command line as ``python -m napari_virtual_paint``, where the folder of `virtual-paint` is not on the search path."""

from __future__ import annotations

import sys

from napari_virtual_paint.cli import main

if __name__ == "__main__":
    sys.exit(main())
