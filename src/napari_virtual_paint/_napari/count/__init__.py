"""The Count dock: find, look at, correct, count and save nuclei and cells."""
