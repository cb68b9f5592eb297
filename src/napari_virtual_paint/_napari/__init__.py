"""Everything that napari and Qt see; nothing outside this folder imports them."""
