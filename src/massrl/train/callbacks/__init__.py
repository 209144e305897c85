"""Per-step callbacks of the training loop."""
