"""A checkpoint in, scores out: bits per byte on held-out text, and tasks from local files."""
