"""Downloads: resumable transfers, verified files, a cache of remote images."""
