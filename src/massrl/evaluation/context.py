"""The network that is judged, and the means by which tasks see images with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from shlex import quote
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from massrl.config.evaluation import EvaluateConfig
from massrl.config.pretrain import Config
from massrl.data.check import drop_broken
from massrl.data.loader import StepBatchSampler, build_loader, steps_per_epoch
from massrl.data.source import Normalization, Source, describe_source
from massrl.errors import ConfigError, ImageError
from massrl.evaluation.feature_cache import cached_features
from massrl.evaluation.features import Features, extract_features, normalised
from massrl.models.backbones import is_users_code
from massrl.runs.environment import Hardware, environment_info
from massrl.runs.log import TaskProgress
from massrl.views.layouts import Layout
from massrl.views.view_maker import ViewMaker
from massrl.weights.load import load_backbone

logger = logging.getLogger("massrl")

_FEW_IMAGES = 2000  # below, crops are made before workers have started


_MOST_WORKERS = 8


# What classifiers learn from: a random crop, mirrored half the time, and nothing else.
_CROPS = Layout(name="crops", summary="", arrangement="shared", num_crops=1, policies=("weak",))


def open_network(
    backbone: str | Path | nn.Module, run: Config | None, *, random_init: bool
) -> tuple[nn.Module, dict[str, Any]]:
    """The network, and how its images are to be prepared; says so where its run is not complete."""
    if isinstance(backbone, nn.Module):
        about = getattr(backbone, "about", None)
        if not isinstance(about, dict) or random_init:
            raise ConfigError(
                "a module to judge is one from massrl.load_backbone, which says how images are prepared "
                "for it; load_backbone(…, random_init=True) gives the untrained one"
            )
        return backbone, about
    network = load_backbone(backbone, random_init=random_init)
    about = cast(dict[str, Any], network.about)
    total = run.train.max_steps if run is not None else None
    if total and about["step"] < total and not random_init:
        logger.warning(
            "the run is not complete: its weights after step %d of %d are judged; "
            "massrl pretrain --resume %s completes it",
            about["step"],
            total,
            quote(str(backbone)),
        )
    return network, about


# To learn from, to predict, and whether the latter were held out of the former.
Images = tuple[Source, Source, bool]


@dataclass(frozen=True)
class EvaluatedBackbone:
    """What is judged, and on what machine.

    Attributes:
        network: the backbone.
        about: how its images are prepared, as a backbone's file says it.
        fingerprint: of its weights.
        config: of the run that it comes from, if any.
        machine: what there is to compute on.
    """

    network: nn.Module
    about: dict[str, Any]
    fingerprint: str
    config: Config | None
    machine: Hardware

    @property
    def normalization(self) -> Normalization:
        """What its images are normalised by."""
        return Normalization(mean=tuple(self.about["mean"]), std=tuple(self.about["std"]))

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return torch.device("cuda" if self.machine.has_gpu else "cpu")

    def subject(
        self, images: Images, wanted: EvaluateConfig, progress: TaskProgress
    ) -> tuple[EvaluationContext, dict[str, Any]]:
        """The backbone with labelled images, and what figures on them rest on.

        Broken images are left out and counted where ``data.on_error`` says so.
        """
        train, test, held_out = images
        left_out = 0
        if wanted.data.on_error == "skip":
            (train, broken), (test, more) = map(drop_broken, (train, test))
            left_out = broken + more
            if left_out:
                logger.warning("%d broken images are left out", left_out)
        train.normalization = test.normalization = self.normalization
        kept = wanted.cache and not is_users_code(self.about["backbone"])
        subject = make_context(
            self.network,
            train,
            test,
            side=self.about["size"],
            machine=self.machine,
            fingerprint=self.fingerprint if kept else None,
            progress=progress,
        )
        return subject, self.provenance(wanted, train, test, held_out=held_out, left_out=left_out)

    def provenance(
        self, wanted: EvaluateConfig, train: Source, test: Source, **data: Any
    ) -> dict[str, Any]:
        """What a figure rests on, as ``results.json`` has it."""
        return {
            # Lists in place of tuples, as whoever reads the file sees them.
            "config": json.loads(json.dumps(asdict(wanted))),
            "data": {"train": describe_source(train), "val": describe_source(test), **data},
            **environment_info(self.machine.name),
        }


def make_context(
    network: nn.Module,
    train: Source,
    test: Source,
    *,
    side: int,
    machine: Hardware,
    fingerprint: str | None = None,
    progress: TaskProgress,
) -> EvaluationContext:
    """A backbone with its images, and the means to see them.

    Args:
        network: the backbone.
        train: labelled images to learn from.
        test: labelled images of the same classes to predict.
        side: side of the images that it is given, pixels.
        machine: what there is to compute on.
        fingerprint: of the backbone, to keep its features by; ``None`` keeps none.
        progress: shows how far it is.
    """
    device = torch.device("cuda" if machine.has_gpu else "cpu")

    def extract(module: nn.Module, source: Source) -> Features:
        def compute() -> Features:
            said = partial(progress, f"features of {source.name}")
            return extract_features(
                module, source, side=side, device=device, workers=machine.cores, progress=said
            )

        if fingerprint is None or module is not network:  # a network that a task has trained
            return compute()
        return cached_features(fingerprint, source, side=side, extract=compute)

    def crops(
        source: Source, *, batch_size: int, epochs: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        batches = StepBatchSampler(
            len(source),
            batch_size,
            seed=seed,
            total_steps=epochs * steps_per_epoch(len(source), batch_size),
        )
        workers = min(_MOST_WORKERS, machine.cores - 1) if len(source) > _FEW_IMAGES else 0
        maker = ViewMaker(_CROPS, size=side, seed=seed)
        for batch in build_loader(source, maker, batches=batches, workers=workers):
            if batch.failures:
                raise ImageError(*batch.failures[0])
            yield normalised(batch.views[0], source.normalization, device=device), batch.indices

    return EvaluationContext(
        network=network,
        train=train,
        test=test,
        extract=extract,
        crops=crops,
        device=device,
        progress=progress,
    )


class Crops(Protocol):
    """Makes random crops of a source's images, half of them mirrored; the same ones for a seed."""

    def __call__(
        self, source: Source, *, batch_size: int, epochs: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised float32 ``(B, 3, S, S)`` and the images' positions, int64 ``(B,)``.

        Every epoch sees the images in another order, and leaves out what is less than a batch.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EvaluationContext:
    """A backbone, and the images it is judged by.

    Attributes:
        network: from normalised images to features ``(B, D)``; tasks leave it as it is.
        train: labelled images that tasks learn from; every choice is made on these alone.
        test: labelled images, of the same classes, that are only ever predicted.
        extract: features of a source, every image once and whole.
        crops: random crops, for the tasks that train.
        device: where networks are trained.
        progress: called with what is done, how much of it, and how much there is.
    """

    network: nn.Module
    train: Source
    test: Source
    extract: Callable[[nn.Module, Source], Features]
    crops: Crops
    device: torch.device
    progress: Callable[[str, int, int], None] = lambda what, done, total: None

    @cached_property
    def train_features(self) -> Features:
        """Features of the images to learn from."""
        return self.extract(self.network, self.train)

    @cached_property
    def test_features(self) -> Features:
        """Features of the images to predict."""
        return self.extract(self.network, self.test)

    @property
    def num_classes(self) -> int:
        """Classes of both."""
        return len(self.train.class_names)
