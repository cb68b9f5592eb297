"""``python -m napari_virtual_paint.cli`` is ``virtual-paint``, also where the program's own folder is on no path."""

import sys

from napari_virtual_paint.cli import main

if __name__ == "__main__":
    sys.exit(main())
