"""Evaluation tasks, one per module; ``massrl.registry.TASKS`` lists them."""
