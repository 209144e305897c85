"""Augmentation policies: what they are made of, the published ones, and their catalogue."""
