"""Judges a backbone, wherever it comes from, and writes down what came of it."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import nn

from massrl.atomic import write_json
from massrl.config import Config
from massrl.config_files import load_config
from massrl.data.check import drop_broken
from massrl.data.objects import ObjectSource
from massrl.data.sources import Normalization, Source
from massrl.data.voc import VocSource, is_voc
from massrl.errors import ConfigError, DataError
from massrl.evaluate_options import EvaluateConfig, JudgeDataConfig
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.evaluation.judge import (
    ALL,
    LOOK,
    TASKS,
    TRANSFER,
    chosen_tasks,
    in_same_classes,
    judge,
    transfer,
)
from massrl.evaluation.judge_objects import OBJECT_TASKS, judge_objects
from massrl.evaluation.multilabel import multilabel_probe
from massrl.evaluation.subject import Subject
from massrl.exchange.named import is_offered
from massrl.judged import make_subject, network_to_judge
from massrl.judging import judging_sources, object_sources, way_round_broken_images
from massrl.looking import STRATEGIES, look
from massrl.run_folder import RunFolder
from massrl.run_log import TaskProgress, circumstances, describe_source
from massrl.train.resolve import Machine, this_machine
from massrl.views.sheet import save_picture

logger = logging.getLogger("massrl")


def judge_backbone(
    backbone: str | Path | nn.Module, wanted: EvaluateConfig, *, console: Console
) -> dict[str, Any]:
    """Judge a backbone and write what came of it; see ``massrl.evaluate``."""
    from massrl.run_report import report_run

    tasks = chosen_tasks(wanted.task)
    name = None if isinstance(backbone, nn.Module) else str(backbone)
    run = RunFolder(name) if name is not None and Path(name).is_dir() else None
    config = load_config(run.config) if run is not None and run.config.is_file() else None
    network, about = network_to_judge(backbone, config, untrained=wanted.untrained)
    judged = _Judged(network, about, network_fingerprint(network), config, this_machine())
    path = results_path(name or "", wanted) if name is not None or wanted.out else None
    figures: dict[str, Any] = {}
    with TaskProgress(console) as progress, way_round_broken_images():
        images, objects = _open(tasks, wanted, config)
        if images is not None:
            figures |= _judge_images(judged, images, wanted, path, progress)
        if TRANSFER in tasks and (wanted.transfer.sets or ALL not in wanted.task):
            figures |= _judge_transfer(judged, wanted, progress)
        for task, parts in objects.items():
            figures[task] = _judge_objects(task, judged, parts, wanted, path, progress)
    results: dict[str, Any] = {
        "backbone": {
            "name": name,
            "fingerprint": judged.fingerprint,
            "untrained": wanted.untrained,
            **about,
        },
        "run": config.to_dict() if config is not None else None,
        "tasks": figures,
    }
    if path is not None:
        results["tasks"] = {**_earlier(path, judged.fingerprint), **figures}
        write_json(path, results)
        report_run(RunFolder(path.parent))
    return results


class _Judged(NamedTuple):
    network: nn.Module
    about: dict[str, Any]
    fingerprint: str
    config: Config | None
    machine: Machine

    @property
    def normalization(self) -> Normalization:
        """What its images are normalised by."""
        return Normalization(mean=tuple(self.about["mean"]), std=tuple(self.about["std"]))

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return torch.device("cuda" if self.machine.has_gpu else "cpu")


Images = tuple[Source, Source, bool]  # to learn from, to predict, whether these were held out
Objects = tuple[ObjectSource, ObjectSource]


def _open(
    tasks: list[str], wanted: EvaluateConfig, run: Config | None
) -> tuple[Images | None, dict[str, Objects]]:
    """The images that the tasks need; of ``all`` tasks those fall away that the images do not allow."""
    images: Images | None = None
    objects: dict[str, Objects] = {}
    faults = []
    if any(task in (*TASKS, LOOK) for task in tasks):
        try:
            train, test, held_out = judging_sources(wanted.data, run)
            images = train, in_same_classes(train, test), held_out
        except DataError as error:
            faults.append(error)
    for task in filter(OBJECT_TASKS.__contains__, tasks):
        try:
            objects[task] = object_sources(wanted.data, run, maps=task == "segment")
        except DataError as error:
            faults.append(error)
    nothing = images is None and not objects and not wanted.transfer.sets
    if faults and (ALL not in wanted.task or nothing):
        raise faults[0]
    return images, objects


def _judge_images(
    judged: _Judged,
    images: Images,
    wanted: EvaluateConfig,
    path: Path | None,
    progress: TaskProgress,
) -> dict[str, Any]:
    train, test, held_out = images
    left_out = 0
    if wanted.data.on_error == "skip":
        (train, broken), (test, more) = map(drop_broken, (train, test))
        left_out = broken + more
        logger.warning("%d broken images are left out", left_out)
    train.normalization = test.normalization = judged.normalization
    subject = _subject(judged, train, test, wanted, progress)
    figures = judge(subject, wanted)
    if LOOK in chosen_tasks(wanted.task):
        figures[LOOK] = _look(judged, subject, wanted, path)
    data = {"held_out": held_out, "left_out": left_out}
    return {
        name: {**item, **_circumstances(judged, wanted, train, test, **data)}
        for name, item in figures.items()
    }


def _look(
    judged: _Judged, subject: Subject, wanted: EvaluateConfig, path: Path | None
) -> dict[str, Any]:
    begin = time.perf_counter()
    views = judged.config.views if judged.config is not None else None
    word = "-untrained" if wanted.untrained else ""
    seen = look(
        subject,
        wanted.look,
        None if path is None else path.with_name(f"look{word}"),
        side=judged.about["size"],
        policies=(views.policies if views is not None else None) or STRATEGIES,
        fill=(views.fill if views is not None else None) or 0,
        seed=wanted.seed,
    )
    return {**seen, "seconds": round(time.perf_counter() - begin, 2)}


def _judge_transfer(
    judged: _Judged, wanted: EvaluateConfig, progress: TaskProgress
) -> dict[str, Any]:
    """Judge by one set after the other; a set in Pascal VOC's layout has several classes an image."""
    if not wanted.transfer.sets:
        raise ConfigError(
            "--task transfer needs data sets: --transfer.sets takes names such as food101, and folders"
        )
    figures: dict[str, Any] = {}
    for spec in wanted.transfer.sets:
        name = Path(spec.partition(":")[0]).name
        data = replace(wanted.data, train=spec, val=None, limit=None)
        if is_voc(Path(spec.rpartition(":")[0] or spec).expanduser()) or is_voc(Path(spec)):
            figures[f"{TRANSFER}-{name}"] = _judge_multilabel(judged, data, wanted, progress)
            continue
        train, test, held_out = judging_sources(data, None)
        test = in_same_classes(train, test)
        train.normalization = test.normalization = judged.normalization
        subject = _subject(judged, train, test, wanted, progress)
        about = _circumstances(judged, wanted, train, test, held_out=held_out)
        for outcome, item in transfer(subject, wanted, name=name):
            figures[outcome] = {**item, **about}
    return figures


def _judge_multilabel(
    judged: _Judged, data: JudgeDataConfig, wanted: EvaluateConfig, progress: TaskProgress
) -> dict[str, Any]:
    begin = time.perf_counter()
    folder = str(data.train).rpartition(":")[0] or str(data.train)
    parts = object_sources(replace(data, val=f"{folder}:test"), None, maps=False)
    train, test = parts
    assert isinstance(train, VocSource)
    assert isinstance(test, VocSource)
    train.normalization = test.normalization = judged.normalization
    subject = _subject(judged, train, test, wanted, progress)
    result = multilabel_probe(
        subject.known.values,
        train.image_labels(),
        subject.asked.values,
        test.image_labels(),
        class_names=train.object_names,
        seed=wanted.seed,
    )
    return {
        "metric": "map11",
        "map11": result.map11,
        "per_class": result.per_class,
        "strength": result.strength,
        "holdout_map": {f"{key:g}": value for key, value in result.holdout_map.items()},
        "num_images": len(test),
        "seconds": round(time.perf_counter() - begin, 2),
        **_circumstances(judged, wanted, train, test),
    }


def _subject(
    judged: _Judged, train: Source, test: Source, wanted: EvaluateConfig, progress: TaskProgress
) -> Subject:
    return make_subject(
        judged.network,
        train,
        test,
        side=judged.about["size"],
        machine=judged.machine,
        fingerprint=judged.fingerprint if wanted.cache else None,
        progress=progress,
    )


def _judge_objects(
    task: str,
    judged: _Judged,
    parts: Objects,
    wanted: EvaluateConfig,
    path: Path | None,
    progress: TaskProgress,
) -> dict[str, Any]:
    train, test = parts
    outcome = judge_objects(
        task,
        judged.network,
        train,
        test,
        wanted,
        normalization=judged.normalization,
        device=judged.device,
        progress=progress,
    )
    figures = dict(outcome.figures)
    if outcome.picture is not None and path is not None:
        word = "-untrained" if wanted.untrained else ""
        figures["picture"] = f"{task}{word}.png"
        save_picture(outcome.picture, path.with_name(figures["picture"]))
    return {**figures, **_circumstances(judged, wanted, train, test)}


def _circumstances(
    judged: _Judged, wanted: EvaluateConfig, train: Source, test: Source, **data: Any
) -> dict[str, Any]:
    """What a figure rests on."""
    return {
        "config": json.loads(
            json.dumps(asdict(wanted))
        ),  # lists, as whoever reads the file sees them
        "data": {"train": describe_source(train), "val": describe_source(test), **data},
        **circumstances(judged.machine.name),
    }


def _earlier(path: Path, fingerprint: str) -> dict[str, Any]:
    """Figures of the same weights that were there already; those of others would be lies."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        same = before["backbone"]["fingerprint"] == fingerprint
        return dict(before["tasks"]) if same else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def results_path(backbone: str | Path, config: EvaluateConfig) -> Path:
    """Where an evaluation's figures go.

    Into ``config.out``, else into the run folder, or one beside the file, or one of the name's own.
    """
    name = "results-untrained.json" if config.untrained else "results.json"
    if config.out:
        return Path(config.out).expanduser() / name
    path = Path(str(backbone))
    if is_offered(str(backbone)):
        return Path("runs") / str(backbone).replace(":", "-") / name
    return (path if path.is_dir() else path.with_name(f"{path.stem}-results")) / name
