"""Judges a backbone, wherever it comes from, and writes down what came of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
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
from massrl.data.objects import ObjectSource, limited
from massrl.data.sources import Normalization, Source, Subset
from massrl.data.splits import balanced_subset
from massrl.data.voc import VocSource, is_voc
from massrl.errors import ConfigError, DataError, MassrlError
from massrl.evaluate_options import EvaluateConfig, JudgeDataConfig
from massrl.evaluation.dense import Stages
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.evaluation.judge import (
    ALL,
    LOOK,
    TASKS,
    TRANSFER,
    chosen_tasks,
    in_same_classes,
    judge_each,
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
    results: dict[str, Any] = {
        "backbone": {
            "name": name,
            "fingerprint": judged.fingerprint,
            "untrained": wanted.untrained,
            **about,
        },
        "run": config.to_dict() if config is not None else None,
        "tasks": {} if path is None else _earlier(path, judged.fingerprint),
    }
    with TaskProgress(console) as progress, way_round_broken_images():
        images, objects = _open(tasks, wanted, judged)
        for outcome, figures in _outcomes(judged, images, objects, wanted, path, progress):
            results["tasks"].pop(outcome, None)
            results["tasks"][outcome] = figures
            if path is not None:  # after every task: the next one may end all
                write_json(path, results)
    if path is not None:
        report_run(RunFolder(path.parent))
    return results


class _Judged(NamedTuple):
    network: nn.Module
    about: dict[str, Any]
    fingerprint: str
    config: Config | None
    machine: Machine

    @property
    def is_users_code(self) -> bool:
        """Whether the network is ``module:function``, which no weight tells from a changed one."""
        return ":" in str(self.about["backbone"]).removeprefix("timm:")

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


def _outcomes(
    judged: _Judged,
    images: Images | None,
    objects: dict[str, Objects],
    wanted: EvaluateConfig,
    path: Path | None,
    progress: TaskProgress,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task's figures as they come; of ``all`` tasks one that fails costs itself alone."""
    if images is not None:
        yield from _judge_images(judged, images, wanted, path, progress)
    if TRANSFER in chosen_tasks(wanted.task) and (wanted.transfer.sets or ALL not in wanted.task):
        yield from _judge_transfer(judged, wanted, progress)
    for task, parts in objects.items():
        try:
            yield task, _judge_objects(task, judged, parts, wanted, path, progress)
        except MassrlError as error:
            if ALL not in wanted.task:
                raise
            logger.warning("%s is left out: %s", task, error)


def _open(
    tasks: list[str], wanted: EvaluateConfig, judged: _Judged
) -> tuple[Images | None, dict[str, Objects]]:
    """The images that the tasks need; of ``all`` tasks those fall away that the images do not allow."""
    images: Images | None = None
    objects: dict[str, Objects] = {}
    faults = []
    run = judged.config
    if ALL not in wanted.task and any(task in OBJECT_TASKS for task in tasks):
        Stages(judged.network)  # refuses what has none, before anything is computed
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
) -> Iterator[tuple[str, dict[str, Any]]]:
    train, test, held_out = images
    left_out = 0
    if wanted.data.on_error == "skip":
        (train, broken), (test, more) = map(drop_broken, (train, test))
        left_out = broken + more
        logger.warning("%d broken images are left out", left_out)
    train.normalization = test.normalization = judged.normalization
    subject = _subject(judged, train, test, wanted, progress)
    data = {"held_out": held_out, "left_out": left_out}
    about = _circumstances(judged, wanted, train, test, **data)
    for name, item in judge_each(subject, wanted):
        yield name, {**item, **about}
    if LOOK in chosen_tasks(wanted.task):
        yield LOOK, {**_look(judged, subject, wanted, path), **about}


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
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Judge by one set after the other; a set in Pascal VOC's layout has several classes an image."""
    if not wanted.transfer.sets:
        raise ConfigError(
            "--task transfer needs data sets: --transfer.sets takes names such as food101, and folders"
        )
    for name, spec in _named_sets(wanted.transfer.sets).items():
        data = replace(wanted.data, train=spec, val=None)
        if is_voc(Path(spec.rpartition(":")[0] or spec).expanduser()) or is_voc(Path(spec)):
            yield f"{TRANSFER}-{name}", _judge_multilabel(judged, data, wanted, progress)
            continue
        train, test, held_out = judging_sources(data, None)
        test = in_same_classes(train, test)
        left_out = 0
        if wanted.data.on_error == "skip":
            (train, broken), (test, more) = map(drop_broken, (train, test))
            left_out = broken + more
        train.normalization = test.normalization = judged.normalization
        subject = _subject(judged, train, test, wanted, progress)
        about = _circumstances(judged, wanted, train, test, held_out=held_out, left_out=left_out)
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
    judged: _Judged, data: JudgeDataConfig, wanted: EvaluateConfig, progress: TaskProgress
) -> dict[str, Any]:
    begin = time.perf_counter()
    folder = str(data.train).rpartition(":")[0] or str(data.train)
    whole, test = object_sources(replace(data, val=f"{folder}:test", limit=None), None, maps=False)
    assert isinstance(whole, VocSource)
    assert isinstance(test, VocSource)
    count = min(data.limit or len(whole), len(whole))
    indices = balanced_subset(None, count, seed=0, total=len(whole))
    train = Subset(whole, indices)
    train.normalization = test.normalization = judged.normalization
    subject = _subject(judged, train, test, wanted, progress)
    result = multilabel_probe(
        subject.known.values,
        whole.image_labels()[indices],
        subject.asked.values,
        test.image_labels(),
        class_names=whole.object_names,
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
        fingerprint=judged.fingerprint if wanted.cache and not judged.is_users_code else None,
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
    if wanted.data.on_error == "skip":
        train, test = map(_without_broken, parts)
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


def _without_broken(source: ObjectSource) -> ObjectSource:
    kept, _ = drop_broken(source)
    return (
        limited(source, kept.indices) if kept is not source and isinstance(kept, Subset) else source
    )


def _circumstances(
    judged: _Judged, wanted: EvaluateConfig, train: Source, test: Source, **data: Any
) -> dict[str, Any]:
    """What a figure rests on."""
    return {
        # Lists in place of tuples, as whoever reads the file sees them.
        "config": json.loads(json.dumps(asdict(wanted))),
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
