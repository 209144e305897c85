"""What is likely a mistake in a run, said before it costs hours."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from massrl.config.pretrain import Config
from massrl.data.source import Source
from massrl.errors import ImageError
from massrl.images.decode import decode
from massrl.runs.log import duration
from massrl.views.layouts import resolve_layout

logger = logging.getLogger("massrl")

_ABSURD = {"adamw": 0.02, "sgd": 5.0, "lars": 20.0}  # peak learning rates that no recipe comes near


_FEW_FOR_STATISTICS = 16  # images that a batch norm sees at a time


_LOOKED_AT = 8  # images


def sanity_warnings(config: Config, source: Source) -> list[str]:
    """One line for each thing that is accepted and yet looks like a mistake, with what to try.

    Args:
        config: a resolved configuration.
        source: the images to learn from.
    """
    method, optim = config.method, config.optim
    byol = method.name == "byol"
    seen = config.batch_size // config.train.accumulate
    found = [
        (
            config.scaled_lr > _ABSURD[optim.name],
            f"the learning rate in use is {config.scaled_lr:g}, far above what {optim.name} is used "
            f"with: a lower --optim.lr",
        ),
        (optim.lr == 0, "the learning rate is 0, so nothing will be learnt: --optim.lr"),
        (
            seen < _FEW_FOR_STATISTICS,
            f"batch norm sees {seen} images at a time, and its statistics will be noise: a larger "
            f"--data.batch_size or a lower --train.accumulate",
        ),
        (
            byol and method.target_momentum == 0,
            "the target is the online network itself (τ 0): --method.target_momentum 0.99",
        ),
        (
            byol and method.target_momentum == 1,
            "the target never moves (τ 1): --method.target_momentum 0.99",
        ),
        (
            byol and config.model.predictor.layers == 0,
            "without a predictor BYOL collapses: --model.predictor.layers 2",
        ),
        (
            _views_are_equal(config),
            "the views of an image differ in nothing: other --views.policies, --views.crop_scale or "
            "--views.flip_prob",
        ),
        (
            _images_are_equal(source),
            f"the first {_LOOKED_AT} images are all the same: --data.train",
        ),
    ]
    return [line for doubtful, line in found if doubtful]


def _views_are_equal(config: Config) -> bool:
    layout = resolve_layout(config.views)
    strategies = {*layout.policies, *filter(None, [layout.target_policy])}
    plain = strategies == {"weak"} and layout.flip_prob in (0.0, 1.0)
    one_crop = len({view.crop for view in layout.view_specs()}) == 1 or layout.crop_scale == (
        1.0,
        1.0,
    )
    return plain and one_crop and not layout.local_crops


def _images_are_equal(source: Source) -> bool:
    images: list[np.ndarray] = []
    for index in range(min(_LOOKED_AT, len(source))):
        try:
            images.append(decode(source.read(index)))
        except ImageError:  # is told when its turn comes
            continue
    return len(images) > 1 and all(np.array_equal(image, images[0]) for image in images)


def log_config(config: Config, source: Source, notes: Sequence[str]) -> None:
    """Say what a run will do, with every number in use and every choice that was made for it."""
    layout = resolve_layout(config.views)
    method, optim, train = config.method, config.optim, config.train
    labelled = f"{len(source.class_names)} classes" if source.labels is not None else "no labels"
    objective = {
        "byol": f"BYOL, τ {method.target_momentum:g} → 1",
        "simclr": f"SimCLR (InfoNCE), temperature {method.temperature:g}",
    }[method.name]
    projector, predictor = config.model.projector, config.model.predictor
    heads = f"projector {projector.layers} layers of {projector.hidden} to {projector.out}"
    if method.name == "byol":
        heads += f", predictor {predictor.layers} layers of {predictor.hidden}"
    steps = (
        f"{train.max_steps} steps"
        if train.max_steps
        else f"about {duration(train.time_budget or 0)}"
    )
    batch = (
        f"{config.batch_size} unique images = {config.device_batch_size} × {train.num_devices} "
        f"device{'s' * (train.num_devices > 1)} × {train.accumulate} accumulated"
    )
    rows = {
        "recipe": config.recipe or "none",
        "run": config.out,
        "data": f"{source.name}: {len(source):,} images, {labelled}",
        "views": f"{layout.name}: {layout.num_views} views of {config.views.size} px from "
        + ", ".join(dict.fromkeys(layout.policies))
        + "; crops of {:g}-{:g} of the area".format(*layout.crop_scale),
        "method": f"{objective}; pairs {method.pairs}, {method.reduction}; batch norm {method.batch_norm}",
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
        logger.info("%-8s %s", "chosen", note)
