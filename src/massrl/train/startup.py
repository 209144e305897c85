"""Log a run's settings and warn of likely mistakes before it starts."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from massrl.config.pretrain import Config
from massrl.data.source import Source
from massrl.errors import ImageError, counted
from massrl.images.reading import read_pixels
from massrl.methods.base import Method
from massrl.registry import OBJECTIVES, OPTIMIZERS
from massrl.runs.log import duration
from massrl.views.layouts import Layout

logger = logging.getLogger("massrl")

_FEW_FOR_BATCH_NORM = 16  # images of a forward pass
_NUM_COMPARED = 8  # images


def sanity_warnings(config: Config, source: Source, *, layout: Layout) -> list[str]:
    """Return one line, with a suggestion, for each valid setting that is likely a mistake.

    Args:
        config: a resolved configuration.
        source: the training images.
        layout: of the views.
    """
    optim = config.optim
    objective: type[Method] = OBJECTIVES.load_call(config.method.name)
    largest_lr = getattr(OPTIMIZERS.load_call(optim.name), "largest_lr", math.inf)
    images = config.batch_size // config.train.accumulate
    found = {
        f"the scaled learning rate is {config.scaled_lr:g}, far above the usual range of {optim.name}: "
        f"lower --optim.lr": config.scaled_lr > largest_lr,
        "the learning rate is 0, so nothing will be learned: --optim.lr": optim.lr == 0,
        f"batch norm statistics of {counted(images, 'image')} at a time are noisy: raise "
        f"--data.batch_size or lower --train.accumulate": images < _FEW_FOR_BATCH_NORM,
        "the views of an image are identical: change --views.policies, --views.crop_scale or "
        "--views.flip_prob": _views_are_equal(layout),
        f"the first {_NUM_COMPARED} images are identical: check --data.train": _images_are_equal(
            source
        ),
    }
    return [
        *(text for text, applies in found.items() if applies),
        *objective.sanity_warnings(config.method, config.model),
    ]


def _views_are_equal(layout: Layout) -> bool:
    policies = {*layout.policies, *filter(None, [layout.target_policy])}
    plain = policies == {"weak"} and layout.flip_prob in (0.0, 1.0)
    one_crop = len({view.crop for view in layout.view_specs()}) == 1 or layout.crop_scale == (
        1.0,
        1.0,
    )
    return plain and one_crop and not layout.local_crops


def _images_are_equal(source: Source) -> bool:
    images: list[np.ndarray] = []
    for index in range(min(_NUM_COMPARED, len(source))):
        try:
            images.append(read_pixels(source, index))
        except ImageError:  # reported during training
            continue
    return len(images) > 1 and all(np.array_equal(image, images[0]) for image in images)


def log_config(config: Config, source: Source, notes: Sequence[str], *, layout: Layout) -> None:
    """Log the resolved settings of a run, and a line for each selected value."""
    method, optim, train = config.method, config.optim, config.train
    labelled = (
        counted(len(source.class_names), "class") if source.labels is not None else "no labels"
    )
    objective: type[Method] = OBJECTIVES.load_call(method.name)
    projector = config.model.projector
    heads = (
        f"projector {counted(projector.layers, 'layer')} of {projector.hidden} to {projector.out}"
    )
    steps = (
        counted(train.max_steps, "step")
        if train.max_steps
        else f"about {duration(train.time_budget or 0)}"
    )
    batch = (
        f"{counted(config.batch_size, 'unique image')} = {config.device_batch_size} × "
        f"{counted(train.num_devices, 'device')} × {train.accumulate} accumulated"
    )
    rows = {
        "recipe": config.recipe or "none",
        "run": config.out,
        "data": f"{source.name}: {counted(len(source), 'image')}, {labelled}",
        "views": f"{layout.name}: {counted(layout.num_views, 'view')} of {config.views.size} px from "
        + ", ".join(dict.fromkeys(layout.policies))
        + "; crops of {:g}-{:g} of the area".format(*layout.crop_scale),
        "method": f"{objective.describe(method, config.model)}; pairs {method.pairs}, "
        f"{method.reduction}; batch norm {method.batch_norm}",
        "model": f"{config.model.backbone}, stem {config.model.stem}; {heads}",
        "batch": batch,
        "lr": f"{config.scaled_lr:g} = {optim.lr:g} × {config.batch_size} / 256, {optim.name}, "
        f"weight decay {optim.weight_decay:g}",
        "train": f"{steps} on {train.accelerator}, {train.precision}, {train.memory} memory, "
        f"seed {train.seed}",
    }
    for name, text in rows.items():
        logger.info("%-8s %s", name, text)
    for note in notes:
        logger.info("%-8s %s", "selected", note)
