"""Closed choices of the configuration: every accepted value once, with what it means.

Open choices, which other packages may extend, are tables of ``massrl.registry``.
"""

from __future__ import annotations

ACCELERATORS = {"auto": "a GPU where there is one", "cpu": "", "gpu": ""}
BATCH_NORMS = {
    "per-view": "one forward pass per view, as published",
    "joint": "one forward pass over all views together",
}
CACHES = {
    "auto": "`memory` where all decoded images fit",
    "memory": "all images, decoded, in memory",
    "none": "images are decoded each time they are used",
}
DETECTION_HEADS = {
    "fpn": "a feature pyramid over all stages",
    "c4": "the last stage as the head of every region",
}
EXECUTORS = {
    "auto": "`device` where that is a GPU",
    "cpu": "the loader's worker processes, one image at a time",
    "device": "the training device, one batch at a time",
}
MEMORIES = {
    "joint": "keep the activations of all views",
    "streamed": "keep those of one view at a time; the gradients are the same. Free for BYOL, whose "
    "default it is; SimCLR computes every view twice",
}
ON_ERROR = {"stop": "end with an error", "skip": "leave the image out, counted and reported"}
PAIRS = {
    "all": "all views of an image",
    "cross-policy": "views of different policies",
    "within-policy": "views of the same policy",
    "cross-crop": "views of different crops",
    "directional": "each policy's view with the first policy's view of the same crop, and the first "
    "policy's views with each other",
    "paired": "views 1 and 2, 3 and 4, …",
}
PRECISIONS = {"32-true": "", "bf16-mixed": "", "16-mixed": ""}
REDUCTIONS = {
    "mean": "mean over the pairs, times 2, so that two views give BYOL's loss",
    "sum": "sum over the pairs",
}
SEGMENTATION_HEADS = {"fcn": "a fully convolutional network", "deeplab": "DeepLabv3"}
SEMI_PROTOCOLS = {
    "short": "two learning rates, 30 epochs",
    "byol": "five learning rates, 30 and 50 epochs",
}
STEMS = {
    "auto": "`small` for views below 64 px, else `standard`",
    "standard": "the network's own",
    "small": "3×3 convolution, no pooling",
    "small-pad2": "`small` with padding 2, as solo-learn's",
    "small-no-relu": "`small` with no ReLU before the first block, as lightly's",
}
TARGET_REDUCTIONS = {
    "each": "each of the target's views that it is paired with",
    "mean": "the mean of these",
}
TARGET_STATISTICS = {"own": "its own running statistics", "online": "the online network's"}
