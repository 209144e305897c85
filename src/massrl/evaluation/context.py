"""What tasks are given: the backbone, its images, and the means to see the images with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from massrl.config.evaluation import EvaluateConfig
from massrl.config.pretrain import Config
from massrl.data.annotated import ObjectSource
from massrl.data.loader import StepBatchSampler, build_loader, steps_per_epoch
from massrl.data.shared_memory import fitting_workers
from massrl.data.source import Normalization, Source, describe_source
from massrl.errors import ImageError
from massrl.evaluation.data import EvaluationData
from massrl.evaluation.feature_cache import cached_features
from massrl.evaluation.features import Features, extract_features, normalize_images
from massrl.runs.environment import Hardware, environment_info
from massrl.views.layouts import Layout
from massrl.views.view_maker import ViewMaker

_SMALL_SET = 2000  # images; crops of fewer are made before worker processes have started
_MAX_WORKERS = 8
# What classifiers are trained on: a random crop, flipped half the time, and nothing else.
_CROPS = Layout(name="crops", summary="", arrangement="shared", num_crops=1, policies=("weak",))


@dataclass(frozen=True, kw_only=True)
class EvaluationContext:
    """A backbone with the images it is evaluated on.

    Attributes:
        network: from normalised images to features ``(B, D)``; tasks leave it unchanged.
        about: how images are prepared for it: ``size`` in pixels, ``mean`` and ``std``.
        hardware: what there is to compute on.
        data: training and test images; ``None`` until they are known.
        run: configuration of the run that the backbone comes from, if any.
        cache_key: what its features are cached under; ``None`` for no cache.
        folder: where tasks write pictures and files; ``None`` writes none.
        suffix: end of the names of such files, which tells weights apart.
        progress: called with what is being done, how much of it is done, and how much there is.
    """

    network: nn.Module
    about: Mapping[str, Any]
    hardware: Hardware
    data: EvaluationData | None = None
    run: Config | None = None
    cache_key: str | None = None
    folder: Path | None = None
    suffix: str = ""
    progress: Callable[[str, int, int], None] = lambda what, done, total: None

    def on(self, data: EvaluationData) -> EvaluationContext:
        """Return the same backbone with these images, which are normalised as it needs them."""
        data.train.normalization = data.test.normalization = self.normalization
        return replace(self, data=data)

    @property
    def size(self) -> int:
        """Side of the images that the backbone is given, pixels."""
        return int(self.about["size"])

    @property
    def normalization(self) -> Normalization:
        """Constants that images are normalised with."""
        return Normalization(mean=tuple(self.about["mean"]), std=tuple(self.about["std"]))

    @property
    def device(self) -> torch.device:
        """Where networks are computed."""
        return torch.device("cuda" if self.hardware.has_gpu else "cpu")

    @property
    def train(self) -> Source:
        """Images that tasks are trained on; everything is selected on these alone."""
        assert self.data is not None
        return self.data.train

    @property
    def test(self) -> Source:
        """Images, of the same classes, that are only ever predicted."""
        assert self.data is not None
        return self.data.test

    @property
    def objects(self) -> tuple[ObjectSource, ObjectSource]:
        """Training and test images with the objects in them."""
        assert isinstance(self.train, ObjectSource)
        assert isinstance(self.test, ObjectSource)
        return self.train, self.test

    @property
    def num_classes(self) -> int:
        """Number of classes of the labels."""
        return len(self.train.class_names)

    @cached_property
    def train_features(self) -> Features:
        """Features of the training images."""
        return self.extract(self.network, self.train)

    @cached_property
    def test_features(self) -> Features:
        """Features of the test images."""
        return self.extract(self.network, self.test)

    def extract(self, network: nn.Module, source: Source) -> Features:
        """Return a network's features of a source, every image once and whole.

        Args:
            network: the backbone, whose features may be cached, or a network that a task has trained.
            source: the images.
        """
        compute = partial(
            extract_features,
            network,
            source,
            side=self.size,
            device=self.device,
            workers=self.hardware.cores,
            progress=partial(self.progress, f"features of {source.name}"),
        )
        if self.cache_key is None or network is not self.network:
            return compute()
        return cached_features(self.cache_key, source, side=self.size, extract=compute)

    def crops(
        self, source: Source, *, batch_size: int, epochs: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of random crops, half of them flipped; the same ones for a seed.

        Every epoch has the images in another order and drops what is less than a batch.

        Yields:
            Normalised float32 ``(B, 3, S, S)`` and the images' positions, int64 ``(B,)``.
        """
        batches = StepBatchSampler(
            len(source),
            batch_size,
            seed=seed,
            total_steps=epochs * steps_per_epoch(len(source), batch_size),
        )
        cores = self.hardware.cores
        workers = min(_MAX_WORKERS, cores - 1) if len(source) > _SMALL_SET else 0
        workers = fitting_workers(workers, batch_size * 3 * self.size**2)
        maker = ViewMaker(_CROPS, size=self.size, seed=seed)
        for batch in build_loader(source, maker, batches=batches, workers=workers):
            if batch.failures:
                raise ImageError(*batch.failures[0])
            images = normalize_images(batch.views[0], source.normalization, device=self.device)
            yield images, batch.indices

    def output(self, name: str, ending: str = "") -> Path | None:
        """Return where a task writes a file or folder of this name, ``None`` where nothing is written."""
        return None if self.folder is None else self.folder / f"{name}{self.suffix}{ending}"

    def provenance(self, config: EvaluateConfig) -> dict[str, Any]:
        """Return what is stored with every metric: configuration, data, software and hardware."""
        # Lists in place of tuples, as in the file.
        return {"config": json.loads(json.dumps(asdict(config))), **self._surroundings}

    @cached_property
    def _surroundings(self) -> dict[str, Any]:
        assert self.data is not None
        data = {
            "train": describe_source(self.train),
            "val": describe_source(self.test),
            "held_out": self.data.held_out,
            "left_out": self.data.left_out,
        }
        return {"data": data, **environment_info(self.hardware.name)}
