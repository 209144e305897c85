"""Which labelled images a backbone is judged by."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import photos
from torch import nn

from massrl.config.evaluation import EvaluationDataConfig
from massrl.config.parser import make_config
from massrl.config.sections import DataConfig
from massrl.data.build import training_source
from massrl.data.catalogue import open_source
from massrl.data.pack import pack
from massrl.distributed import World
from massrl.errors import DataError
from massrl.evaluation.data import align_labels, evaluation_sources, validation_source
from massrl.evaluation.features import Features
from massrl.evaluation.online_knn import make_probe


def test_folder_given_as_labelled_has_no_validation_part_by_its_prefix(tmp_path: Path) -> None:
    """Guards ``labelled:DIR`` against being taken for a data set called labelled."""
    folder = photos(tmp_path / "photos", "a", "b")
    assert validation_source(DataConfig(train=f"labelled:{folder}")) is None
    assert validation_source(DataConfig(train=f"unlabelled:{folder}")) is None


def test_divided_folder_is_judged_by_its_own_part(tmp_path: Path) -> None:
    """Guards against holding out of train/ while val/ lies beside it."""
    photos(tmp_path / "split" / "train", "a", "b")
    photos(tmp_path / "split" / "val", "a", "b", count=3, seed=1)
    train, test, held_out = evaluation_sources(
        EvaluationDataConfig(train=str(tmp_path / "split")), None
    )
    assert (len(train), len(test), held_out) == (10, 6, False)


def test_images_held_out_are_said_to_be(tmp_path: Path) -> None:
    """Guards a report that calls images new which the backbone has learnt from."""
    train, test, held_out = evaluation_sources(
        EvaluationDataConfig(train=str(photos(tmp_path / "photos", "a", "b"))), None
    )
    assert (len(train), len(test), held_out) == (8, 2, True)


def test_judging_by_the_images_learnt_from_is_refused(tmp_path: Path) -> None:
    """Guards a k-NN accuracy of 100 percent."""
    folder = str(photos(tmp_path / "photos", "a", "b"))
    for limit in (None, 4):
        with pytest.raises(DataError, match="the very images"):
            evaluation_sources(EvaluationDataConfig(train=folder, val=folder, limit=limit), None)


def test_images_behind_a_link_or_in_shards_are_the_same(tmp_path: Path) -> None:
    """Guards the same against another way to the very images."""
    train = photos(tmp_path / "photos", "a", "b")
    (tmp_path / "link").symlink_to(train)
    pack(open_source(train), tmp_path / "packed")
    for val in (tmp_path / "link", f"{tmp_path / 'packed'}-*.tar"):
        with pytest.raises(DataError, match="same images|the very images"):
            evaluation_sources(EvaluationDataConfig(train=str(train), val=str(val)), None)


def test_images_of_equal_names_and_sizes_elsewhere_are_others(tmp_path: Path) -> None:
    """Guards two folders that count their files alike against being taken for one."""
    train = photos(tmp_path / "x", "a", "b")
    shutil.copytree(train, tmp_path / "y")
    train_source, test_source, _ = evaluation_sources(
        EvaluationDataConfig(train=str(train), val=str(tmp_path / "y")), None
    )
    assert len(train_source) == len(test_source) == 10


def test_labels_that_do_not_fit_cost_the_probe_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards "labels are optional": sub-folders that are no classes must not end a run."""
    photos(tmp_path / "photos", "a", "b")
    photos(tmp_path / "val", "cat", "dog")
    config = make_config(
        {"data": {"train": str(tmp_path / "photos"), "val": str(tmp_path / "val")}},
    )
    assert make_probe(config, training_source(config.data), World()) is None
    assert "no k-NN while training" in caplog.text


def test_probe_of_fewer_images_than_processes(tmp_path: Path) -> None:
    """Guards a run that ends at its first probe, since a process has nothing to look at."""

    class Third(World):
        """The third of three, of whom the others have the two images to ask of."""

        def all_gather_object(self, content: Any) -> list[Any]:
            own, share = content
            if own is not None:  # the bank's: the others' are as one's own
                return [(own, share - 2), (own, share - 1), (own, share)]
            asked = (Features(torch.ones(1, 4), torch.tensor([label])) for label in (0, 1))
            return [*zip(asked, map(np.array, ([0], [1])), strict=True), (own, share)]

    photos(tmp_path / "photos" / "train", "a", "b")
    photos(tmp_path / "photos" / "val", "a", "b", count=1)
    config = make_config(
        {"data": {"train": str(tmp_path / "photos")}, "views": {"size": 8, "layout": "byol"}}
    )
    measure = make_probe(config, training_source(config.data), Third(rank=2, size=3))
    assert measure is not None
    assert measure(Mean()) == 50.0  # both get the same answer, and one of them is right


class Mean(nn.Module):
    """Features: the mean of each channel, and one of them twice."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """From ``(B, 3, H, W)`` to ``(B, 4)``."""
        return torch.cat([images, images[:, :1]], dim=1).mean(dim=(2, 3))


def test_what_is_left_open_is_as_in_the_run(tmp_path: Path) -> None:
    """Guards a judge that remembers more images, or other ones, than the run learnt from."""
    learnt, other = (
        str(photos(tmp_path / name, "a", "b", seed=len(name))) for name in ("x", "val")
    )
    run = make_config({"data": {"train": learnt, "val": other, "limit": 6}})
    train, test, held_out = evaluation_sources(EvaluationDataConfig(), run)
    assert (len(train), len(test), held_out) == (6, 10, False)
    assert len(evaluation_sources(EvaluationDataConfig(limit=4), run)[0]) == 4
    assert evaluation_sources(EvaluationDataConfig(train=other), run)[
        2
    ]  # the run's own val is not asked


def test_images_to_predict_may_lack_a_class_and_have_none_of_their_own(tmp_path: Path) -> None:
    """Guards labels by name: class "c" is the third of three, not the second of two."""
    known = open_source(str(photos(tmp_path / "known", "a", "b", "c")))
    asked = open_source(str(photos(tmp_path / "asked", "a", "c")))
    together = align_labels(known, asked)
    assert together.class_names == ("a", "b", "c")
    assert together.labels.tolist() == [0] * 5 + [2] * 5
    assert [together.describe(i) for i in range(10)] == [asked.describe(i) for i in range(10)]
    with pytest.raises(DataError, match="classes that asked has not, such as \\['b'\\]"):
        align_labels(asked, known)


def test_own_images_by_their_prefix_are_the_runs_own(tmp_path: Path) -> None:
    """Guards ``labelled:photos`` against being taken for other images than the run's."""
    learnt = str(photos(tmp_path / "x", "a", "b"))
    run = make_config({"data": {"train": f"labelled:{learnt}", "limit": 6}})
    train, _, _ = evaluation_sources(EvaluationDataConfig(train=f"labelled:{learnt}"), run)
    assert len(train) == 5  # of the six that the run learnt from, one is held out
