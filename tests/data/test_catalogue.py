"""From a name or a path to a source: the table of kinds, and what other packages add to it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Plugin, photos
from tests.data.conftest import coco, voc

from massrl.data.catalogue import (
    absolute_spec,
    contains,
    describe_annotations,
    is_name,
    multilabel_specs,
    open_objects,
    open_source,
    source_kinds,
    validation_spec,
    without_prefix,
)
from massrl.errors import ConfigError, DataError
from massrl.registry import SOURCES

GRADIENTS = """
import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.source import digest
from massrl.data.sources.base import SourceKind
from massrl.errors import DataError


class Gradients(ObjectSource):
    def __init__(self, split):
        self.name, self.class_names = f"gradients/{split}", ("across", "down")
        self.object_names = ("left half",)
        self.labels = np.arange(24) % 2

    def __len__(self):
        return 24

    def read(self, index):
        ramp = np.linspace(0, 100 + 5 * index, 20, dtype=np.uint8)
        image = np.repeat(np.repeat(ramp[None, :, None], 20, 0), 3, 2)
        return np.ascontiguousarray(image if index % 2 else image.transpose(1, 0, 2))

    def describe(self, index):
        return f"{self.name}[{index}]"

    def fingerprint(self):
        return digest([self.name.encode()])

    def scene(self, index):
        box = np.array([[0, 0, 10, 20]], np.float32)
        none = np.zeros(1, bool)
        return Scene(image=self.read(index), boxes=box, labels=np.zeros(1, np.int64), masks=None, crowd=none)


class GradientsKind(SourceKind):
    '''Gradients that are computed.'''

    names = ("gradients",)
    objects_form = "gradients"

    def matches(self, spec):
        return self.is_name(spec)

    def open(self, spec, options):
        if options.split not in ("train", "val"):
            raise DataError(f"gradients has no part {options.split!r} ({options.flag})")
        return Gradients(options.split)

    def matches_objects(self, spec):
        return self.is_name(spec)

    def open_objects(self, spec, options, *, maps):
        return Gradients(options.split)

    def validation_spec(self, spec):
        return spec.name
"""
ROWS = {"massrl.sources": {"gradients": "my_plugin:GradientsKind"}}


def massrl(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "massrl", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_unknown_name_is_refused_with_a_suggestion() -> None:
    """Guards a bare "no such file" for a mistyped data set."""
    with pytest.raises(DataError, match=r"'cifar1O'.*did you mean 'cifar10'.*--data\.train"):
        open_source("cifar1O")
    with pytest.raises(DataError, match=r"--data\.val"):
        open_source("photos/that/are/not/there", split="val")


def test_unknown_split_is_refused_with_a_suggestion(pets: Path) -> None:
    """Guards a mistyped split that would open the training images."""
    with pytest.raises(ConfigError, match="'trian' is unknown: did you mean 'train'"):
        open_source(str(pets), split="trian")


def test_path_object_is_never_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path]
) -> None:
    """Guards a folder that has a data set's name."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "shapes" / "a.jpg")
    assert len(open_source(tmp_path / "shapes")) == 1
    assert len(open_source("./shapes")) == 1
    assert len(open_source("shapes")) == 4000


def test_name_stays_a_name_where_a_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a run on ``shapes`` against a folder of that name where it is started."""
    photos(tmp_path / "shapes", "a")
    monkeypatch.chdir(tmp_path)
    assert absolute_spec("shapes") == "shapes"
    assert absolute_spec("shapes(count=3)") == "shapes(count=3)"
    assert absolute_spec("stl10:unlabelled") == "stl10:unlabelled"
    assert absolute_spec("photos") == str(tmp_path / "photos")
    assert absolute_spec("unlabelled:photos") == f"unlabelled:{tmp_path / 'photos'}"
    assert absolute_spec("VOC2007:train") == str(tmp_path / "VOC2007:train")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("shapes", True),
        (" shapes (count=3)", True),
        ("shapes/", False),
        ("cifar10", True),
        ("cifar10:val", True),
        ("voc2012", True),
        ("labelled:cifar10", False),
        ("cifar10/train", False),
        ("set-*.tar", False),
        ("own.json", False),
    ],
)
def test_names_are_told_from_paths(spec: str, named: bool) -> None:
    """Guards a saved configuration: a path is made absolute, a name stays."""
    assert is_name(spec) == named


def test_prefix_is_taken_off() -> None:
    """Guards names of transfer sets, which come from their paths."""
    assert without_prefix("unlabelled:a/b") == "a/b"
    assert without_prefix("cifar10:val") == "cifar10:val"


def test_path_within_the_images_is_found(tmp_path: Path) -> None:
    """Guards runs whose folder would lie among the images they train on."""
    folder = photos(tmp_path / "photos", "a")
    assert not contains(str(folder), tmp_path / "runs")
    assert not contains("shapes", tmp_path / "runs")
    assert contains(f"unlabelled:{folder}", folder / "runs")


def test_validation_images_are_those_that_the_source_has(tmp_path: Path) -> None:
    """Guards evaluation without ``--data.val``: the set's own images, or none."""
    photos(tmp_path / "split" / "train", "a", "b")
    photos(tmp_path / "split" / "val", "a", "b")
    assert validation_spec(str(tmp_path / "split")) == str(tmp_path / "split")
    assert validation_spec(str(tmp_path / "split" / "val")) is None
    assert validation_spec(f"unlabelled:{tmp_path / 'split'}") is None
    assert validation_spec("cifar10:train") == "cifar10"
    assert validation_spec("shapes(count=40)") == "shapes(count=40)"
    assert validation_spec("set-*.tar") is None
    assert validation_spec(str(coco(tmp_path / "coco"))) is None
    assert validation_spec(str(voc(tmp_path / "voc"))) == str(tmp_path / "voc")
    assert validation_spec("not/there") is None


def test_only_voc_has_several_labels_an_image(tmp_path: Path) -> None:
    """Guards transfer: an accuracy of one label where the measure is mean average precision."""
    root = voc(tmp_path / "set")
    assert multilabel_specs(str(root)) == (f"{root}:train", f"{root}:test")
    assert multilabel_specs("shapes") is None
    assert multilabel_specs("cifar10") is None
    assert multilabel_specs(str(coco(tmp_path / "coco"))) is None


def test_source_without_objects_is_refused_with_what_has_them(tmp_path: Path) -> None:
    """Guards detection on a plain folder: the message lists every kind that has objects."""
    with pytest.raises(DataError, match="has no objects") as caught:
        open_objects(str(tmp_path), flag="--data.train")
    message = str(caught.value)
    assert "shapes(objects=3)" in message
    assert "COCO's layout" in message
    assert "voc2007 or voc2012" in message
    assert message.endswith("(--data.train)")


def test_kinds_that_take_any_path_are_asked_last(plugin: Plugin) -> None:
    """Guards folder layouts of other packages, which any folder of images would come before."""
    plugin(GRADIENTS, ROWS)
    names = [type(kind).__name__ for kind in source_kinds()]
    assert names[-2:] == ["GradientsKind", "FilesKind"]
    assert len(names) == len(SOURCES)


def test_source_of_another_package_opens_by_its_name(plugin: Plugin) -> None:
    """Guards the public way to add a source: an entry point, and nothing else."""
    plugin(GRADIENTS, ROWS)
    source = open_source("gradients")
    assert (source.name, len(source)) == ("gradients/train", 24)
    assert open_source("gradients", split="val").name == "gradients/val"
    assert absolute_spec("gradients") == "gradients"
    assert validation_spec("gradients:train") == "gradients"
    assert open_objects("gradients", flag="x").scene(0).boxes.tolist() == [[0, 0, 10, 20]]
    assert SOURCES.summary("gradients") == "Gradients that are computed."
    with pytest.raises(DataError, match="did you mean 'gradients'"):
        open_source("gradient")
    with pytest.raises(DataError, match=r"accepted: .*gradients \(--x\)"):
        open_objects("gradient", flag="--x")


def test_source_of_another_package_is_checked_packed_and_trained_on(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards the whole way: the shell, a run's saved configuration, its validation images, shards."""
    plugin(GRADIENTS, ROWS)
    checked = massrl("data", "check", "gradients", folder=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "gradients/train: 24 images, 24 readable" in checked.stdout
    packed = massrl("data", "pack", "gradients", "set", folder=tmp_path)
    assert "24 images packed" in packed.stdout, packed.stderr
    shards = open_source(tmp_path / "set-*.tar")
    assert shards.class_names == ("across", "down")
    trained = massrl(
        "pretrain",
        "--data.train=gradients",
        "--data.batch_size=8",
        "--data.workers=1",
        "--views.size=16",
        "--model.backbone=resnet10-tiny",
        "--model.projector.hidden=16",
        "--model.projector.out=8",
        "--train.accelerator=cpu",
        "--train.max_steps=3",
        "--train.probe_every=3",
        "--out=run",
        folder=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert "train: gradients\n" in (tmp_path / "run" / "config.yaml").read_text()
    assert "knn" in (tmp_path / "run" / "metrics.csv").read_text().partition("\n")[0]
    unknown = massrl("data", "check", "gradient", folder=tmp_path)
    assert unknown.returncode == 2
    assert "did you mean 'gradients'" in unknown.stderr
    assert "Traceback" not in unknown.stderr


@pytest.mark.parametrize(
    ("module", "target", "cause"),
    [
        ("import no_such_module", "my_plugin:Kind", "No module named 'no_such_module'"),
        ("class Kind: pass", "my_plugin:Kind", "is no SourceKind"),
    ],
)
def test_broken_source_of_another_package_is_skipped_with_one_warning(
    plugin: Plugin,
    pets: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    target: str,
    cause: str,
) -> None:
    """Guards runs on plain folders, which need nothing of a package that is broken."""
    monkeypatch.setattr("massrl.data.catalogue._skipped", set())
    plugin(module, {"massrl.sources": {"broken": target}})
    with caplog.at_level(logging.WARNING, "massrl"):
        assert len(open_source(str(pets))) == 5
        assert len(open_source(str(pets))) == 5
    (record,) = caplog.records
    assert "data source 'broken' of package my_plugin" in record.message
    assert cause in record.message


def test_table_names_each_kind_of_source_once() -> None:
    """Guards the table: every row is a kind, and no data set's name is claimed by two."""
    kinds = list(source_kinds())
    assert len(kinds) == len(SOURCES)
    names = [name for kind in kinds for name in kind.names]
    assert len(set(names)) == len(names)
    assert {"shapes", "cifar10", "voc2007"} <= set(names)
    assert [kind.is_fallback for kind in kinds] == [False] * (len(kinds) - 1) + [True]


def test_annotations_are_described_with_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards objects that vanish without a word: ``data check`` and every opening say them."""
    root = voc(tmp_path / "set")
    lines = describe_annotations(str(root), flag="IMAGES")
    left_out = "objects are left out: {} with a box of no width or height"
    assert lines == [
        "objects of set/train: 2 images, 2 objects in 2 of them",
        f"objects of set/train: 2 of 6 {left_out.format(2)}",
        "objects of set/val: 1 image, 1 object in 1 of them",
        f"objects of set/val: 1 of 3 {left_out.format(1)}",
    ]
    assert not caplog.messages
    open_objects(str(root), flag="--data.train")
    assert caplog.messages == [f"set/train: 2 of 6 {left_out.format(2)}"]
    file = coco(tmp_path / "coco")
    assert (
        describe_annotations(str(file), flag="x")[0]
        == "objects of own: 2 images, 1 object in 1 of them"
    )
    file.write_text("{}")
    (line,) = describe_annotations(str(file), flag="IMAGES")
    assert line.startswith("objects of train cannot be used: ")
    for spec in ("shapes", "voc2007", str(tmp_path)):
        assert describe_annotations(spec, flag="x") == []
