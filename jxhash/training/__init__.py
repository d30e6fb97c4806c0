"""The engine that trains every method, its checkpoints and its record of progress."""
