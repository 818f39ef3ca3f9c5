"""One training run: its settings, its directory, its state on disk, the loop, and how it is stopped."""
