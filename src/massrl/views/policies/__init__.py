"""Augmentation policies: their building blocks, the published ones, and the user's own."""
