"""Judging a frozen backbone: features, k-NN, linear probe, and signs of collapse."""
