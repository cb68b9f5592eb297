"""TIFF files: planes, colours and the metadata of the programs that write them."""
