"""Judges a backbone by other data sets, each by the measure that is its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from massrl.data.catalogue import find_voc
from massrl.data.sources import Source, Subset
from massrl.data.splits import balanced_subset
from massrl.data.voc import VocSource
from massrl.errors import ConfigError
from massrl.evaluate_options import EvaluateConfig, JudgeDataConfig
from massrl.evaluation.judge import TRANSFER, in_same_classes, transfer
from massrl.evaluation.multilabel import multilabel_probe
from massrl.judged import Judged
from massrl.judging import judging_sources, object_sources
from massrl.run_log import TaskProgress


def judge_transfer(
    judged: Judged, wanted: EvaluateConfig, progress: TaskProgress
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Judge by one set after the other; a set in Pascal VOC's layout has several classes an image.

    Yields:
        What an outcome is called, such as ``transfer-food101``, and its figures.

    Raises:
        ConfigError: if no set is named.
    """
    if not wanted.transfer.sets:
        raise ConfigError(
            "--task transfer needs data sets: --transfer.sets takes names such as food101, and folders"
        )
    for name, spec in _named_sets(wanted.transfer.sets).items():
        data = replace(wanted.data, train=spec, val=None)
        voc = find_voc(spec, split="train", root=data.root, download=data.download)
        if voc is not None:
            folder, part = voc
            lists = folder / "ImageSets" / "Main"
            asked = "test" if (lists / "test.txt").is_file() else "val"
            data = replace(data, train=f"{folder}:{part}", val=f"{folder}:{asked}")
            yield f"{TRANSFER}-{name}", _judge_multilabel(judged, data, wanted, progress)
            continue
        train, test, held_out = judging_sources(data, None)
        images = train, in_same_classes(train, test), held_out
        subject, about = judged.subject(images, wanted, progress)
        for outcome, item in transfer(subject, wanted, name=name):
            yield outcome, {**item, **about}


def _named_sets(specs: Sequence[str]) -> dict[str, str]:
    """The sets by short names; where two would be called alike, by all that was said of them."""
    short = [
        Path(spec.split(":")[-1 if spec.startswith("labelled:") else 0]).name for spec in specs
    ]
    return {
        spec if short.count(name) > 1 else name: spec
        for name, spec in zip(short, specs, strict=True)
    }


def _judge_multilabel(
    judged: Judged, data: JudgeDataConfig, wanted: EvaluateConfig, progress: TaskProgress
) -> dict[str, Any]:
    begin = time.perf_counter()
    train, test = object_sources(replace(data, limit=None), None, maps=False)
    assert isinstance(train, VocSource)
    names, count = train.object_names, min(data.limit or len(train), len(train))
    part = Subset(train, balanced_subset(None, count, seed=0, total=len(train)))
    subject, about = judged.subject((part, test, False), wanted, progress)
    result = multilabel_probe(
        subject.known.values,
        _image_labels(subject.train),
        subject.asked.values,
        _image_labels(subject.test),
        class_names=names,
        seed=wanted.seed,
    )
    return {
        "metric": "map11",
        "map11": result.map11,
        "per_class": result.per_class,
        "strength": result.strength,
        "holdout_map": {f"{key:g}": value for key, value in result.holdout_map.items()},
        "num_images": len(subject.test),
        "seconds": round(time.perf_counter() - begin, 2),
        **about,
    }


def _image_labels(source: Source) -> np.ndarray:
    """Which classes each image has, of a VOC set or a part of one; see ``VocSource.image_labels``."""
    if isinstance(source, Subset):
        return np.asarray(_image_labels(source.source)[source.indices])
    assert isinstance(source, VocSource)
    return source.image_labels()
