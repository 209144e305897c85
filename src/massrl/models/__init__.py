"""Networks: backbones, projector and predictor heads, and the moving-average target."""
