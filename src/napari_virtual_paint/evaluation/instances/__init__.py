"""Level "instances": nuclei and cells matched between prediction and truth."""
