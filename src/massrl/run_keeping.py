"""What a run leaves in its folder beside checkpoints: its configuration, and what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from shlex import quote

from massrl.atomic import write_json, write_text
from massrl.config import Config, ViewsConfig
from massrl.config_files import config_text
from massrl.data.sources import Source
from massrl.errors import NonFiniteError
from massrl.run_folder import RunFolder
from massrl.view_maker import ViewMaker

logger = logging.getLogger("massrl")


def with_policies(
    views: ViewsConfig, change: Callable[[Sequence[str]], tuple[str, ...]]
) -> ViewsConfig:
    """The views with all strategies changed, the target's among them."""
    own, target = views.policies or (), views.target_policy
    changed = change([*own, *([target] if target else [])])
    policies, rest = changed[: len(own)], changed[len(own) :]
    return replace(views, policies=policies, target_policy=rest[0] if rest else None)


def save_config(folder: RunFolder, config: Config) -> None:
    """Write a resolved configuration into its folder, which may be moved with it."""
    rate = f"{config.scaled_lr:g} = optim.lr × data.batch_size / 256"
    views = with_policies(config.views, folder.portable)
    text = config_text(replace(config, views=views))
    write_text(folder.config, f"# peak learning rate in use: {rate}\n{text}")


def keep_plans(
    error: NonFiniteError, folder: RunFolder, source: Source, maker: ViewMaker, *, epoch: int
) -> None:
    """Write down what was learnt from when the loss was no number, for ``massrl views --replay``."""
    plans = []
    for index in error.indices:
        height, width = maker.load(source.read(index), index=index).shape[:2]
        plan = maker.plan(epoch=epoch, index=index, height=height, width=width)
        plans.append({"image": source.describe(index), **plan.to_json()})
    about = {"step": error.step, "epoch": epoch, "loss": error.loss, "indices": error.indices}
    write_json(folder.non_finite, {**about, "plans": plans})
    logger.warning(
        "its images and views are kept in %s: massrl views --replay %s --step %d shows them",
        folder.non_finite.name,
        quote(str(folder.path)),
        error.step,
    )


def what_is_left(folder: RunFolder) -> str:
    """What a run that could not go on has kept."""
    if not folder.checkpoint.is_file():
        return "no checkpoint had been made yet"
    return (
        f"the last checkpoint is kept: massrl pretrain --resume {quote(str(folder.path))} goes on"
    )
