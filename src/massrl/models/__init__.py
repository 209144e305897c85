"""Networks: backbones, the heads on top of them, and the moving-average target."""
