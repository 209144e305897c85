"""Data: sources of images, their splits, loading them as batches of views, checking and packing."""
