"""LARS of BYOL in NumPy, one tensor at a time, as deepmind-research's optimizers.py writes it."""

from __future__ import annotations

import numpy as np


class Lars:
    """Independent of massrl.optim.lars: plain loops, float64."""

    def __init__(self, weights: list[np.ndarray], adapt: list[bool]) -> None:
        self.weights = [np.array(weight, dtype=np.float64) for weight in weights]
        self.adapt = adapt
        self.traces = [np.zeros_like(weight) for weight in self.weights]

    def step(
        self,
        gradients: list[np.ndarray | None],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        trust: float,
        clip: bool = False,
    ) -> None:
        """Change the weights in place; a gradient of None leaves weight and trace alone."""
        for i, gradient in enumerate(gradients):
            if gradient is None:
                continue
            update = np.asarray(gradient, dtype=np.float64)
            if self.adapt[i]:
                update = update + weight_decay * self.weights[i]
                weight_norm = np.sqrt((self.weights[i] ** 2).sum())
                update_norm = np.sqrt((update**2).sum())
                if weight_norm > 0 and update_norm > 0:
                    ratio = trust * weight_norm / update_norm
                    update = update * (min(ratio / lr, 1.0) if clip else ratio)
            self.traces[i] = momentum * self.traces[i] + update
            self.weights[i] = self.weights[i] - lr * self.traces[i]
