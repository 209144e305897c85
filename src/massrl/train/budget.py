"""Plan the steps of a run with a time budget, and say what a run is too short for."""

from __future__ import annotations

import copy
import logging
import math
import statistics
from dataclasses import replace

from massrl.config.pretrain import Config
from massrl.data.loader import steps_per_epoch
from massrl.data.source import Source
from massrl.distributed import World, alone
from massrl.errors import counted
from massrl.evaluation.online_knn import Measure, OnlineKnn
from massrl.methods.base import Method
from massrl.runs.log import duration
from massrl.train.callbacks.time_limit import TOLERANCE, TimeBudget
from massrl.train.resolve import asked_warmup, make_schedule, probe_interval
from massrl.train.session import make_loader
from massrl.train.timing import ENDLESS, make_step, time_steps
from massrl.views.view_maker import ViewMaker

logger = logging.getLogger("massrl")

_ESTIMATE_SHARE = 0.08  # of a time budget, spent on timing steps
_LONGEST_ESTIMATE = 30.0  # seconds


def plan_steps(
    config: Config,
    method: Method,
    source: Source,
    maker: ViewMaker,
    *,
    world: World,
    budget: TimeBudget,
    measure: Measure | None,
) -> tuple[Config, TimeBudget]:
    """Turn ``train.time_budget`` into ``train.max_steps`` by timing a few steps on a copy of the networks.

    With several processes the main one times its own part of the batches alone.

    Args:
        config: a resolved configuration; its ``max_steps`` is kept where fewer than fit into the budget.
        method: the networks; not changed.
        source: the training images.
        maker: makes the views of an image.
        world: ranks of this process.
        budget: the run's, which this takes its own time from, too.
        measure: the run's probe.

    Returns:
        The configuration with ``max_steps`` and no budget, so that it repeats the run on any machine; and
        the budget with its ``closing``.
    """
    endless = replace(config, train=replace(config.train, max_steps=ENDLESS))
    copied = copy.deepcopy(method)
    step = make_step(endless, copied, source, maker)
    loader = make_loader(endless, source, maker, start_step=0, world=world)
    at_most = min(_LONGEST_ESTIMATE, _ESTIMATE_SHARE * budget.seconds)
    with alone():
        times = time_steps(step, loader, at_most=at_most)
        seconds = statistics.fmean(times)
        per_epoch = steps_per_epoch(len(source), config.batch_size)
        every = probe_interval(config, per_epoch) if measure is not None else 0
        probe = 0.0
        if every and isinstance(measure, OnlineKnn):
            probe = measure.estimate_seconds(copied.backbone)
    budget = replace(budget, closing=probe)
    # A schedule that is cut off is worse than a run that is somewhat shorter than its budget.
    left = budget.left - TOLERANCE / 2 * budget.seconds
    steps = fitting_steps(left, seconds=seconds, probe=probe, every=every)
    asked = config.train.max_steps
    steps = min(steps, asked or steps)
    probes = f", a k-NN probe takes about {probe:.1f} s" if probe else ""
    first = f"; the first of it and {counted(asked, 'step')} ends the run" if asked else ""
    logger.info(
        f"--train.max_steps {steps}: {len(times)} steps took {seconds:.3f} s each{probes}, and "
        f"{duration(budget.seconds - budget.used)} of the time budget of {duration(budget.seconds)} are left"
        f"{first}"
    )
    train = replace(config.train, max_steps=steps, time_budget=None, epochs=None)
    return replace(config, train=train), budget


def fitting_steps(left: float, *, seconds: float, probe: float, every: int) -> int:
    """Return how many steps fit into the time that is left, at least 1.

    Args:
        left: seconds, without those of the probe after the last step.
        seconds: of a step.
        probe: seconds of a probe.
        every: steps from one probe to the next, 0 for none.

    Example:
        >>> fitting_steps(10.0, seconds=1.0, probe=2.0, every=3)  # twice 3 + 2
        6
    """
    if not every:
        return max(1, math.floor(left / seconds))
    rounds, rest = divmod(max(0.0, left), every * seconds + probe)
    return max(1, int(rounds) * every + min(every, math.floor(rest / seconds)))


def length_warnings(config: Config, num_images: int) -> list[str]:
    """Return one line for each thing that a run of ``train.max_steps`` is too short for.

    Args:
        config: a resolved configuration with ``max_steps``.
        num_images: of the training images.
    """
    per_epoch, total = steps_per_epoch(num_images, config.batch_size), config.train.max_steps or 1
    asked, used = asked_warmup(config, per_epoch), make_schedule(config, per_epoch).warmup_steps
    longer = "a longer run is set by --train.time_budget, --train.epochs or --train.max_steps"
    found = {
        f"{counted(total, 'step')}, but an epoch has {per_epoch:,}, so {1 - total / per_epoch:.0%} of the "
        f"images are never seen: {longer}": total < per_epoch,
        f"{counted(total, 'step')}, but the warm-up alone has {asked:,} (--optim.warmup_epochs "
        f"{config.optim.warmup_epochs:g}): it is shortened to {used:,}; {longer}": total <= asked,
    }
    return [text for text, applies in found.items() if applies]
