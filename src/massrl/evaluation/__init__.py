"""Evaluation of a backbone: tasks, their images and features, metrics, and measures of collapse."""
