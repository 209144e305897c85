"""Image operations: one module for each, or for a small family, with everything about it."""
