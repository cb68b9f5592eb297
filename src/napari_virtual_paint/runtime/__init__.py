"""Infrastructure that knows no image: progress, files written atomically, locks, worker processes, scratch memory."""
