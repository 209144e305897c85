"""Which images a run learns from and is judged by, and what its folder keeps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from massrl.api import pretrain
from massrl.config import DataConfig
from massrl.configure import make_config
from massrl.data.catalogue import absolute_spec, holds
from massrl.errors import CheckpointError, ConfigError, DataError
from massrl.judging import judging_sources, make_probe, validation_source
from massrl.options import JudgeDataConfig
from massrl.parts import open_images, training_source
from massrl.pretrained import load_backbone
from massrl.run_folder import RunFolder


def photos(folder: Path, *classes: str, count: int = 5, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), noise)
    return folder


def test_folder_given_as_labelled_has_no_validation_part_by_its_prefix(tmp_path: Path) -> None:
    """Guards ``labelled:DIR`` against being taken for a data set called labelled."""
    folder = photos(tmp_path / "photos", "a", "b")
    assert validation_source(DataConfig(train=f"labelled:{folder}")) is None
    assert validation_source(DataConfig(train=f"unlabelled:{folder}")) is None


def test_divided_folder_is_judged_by_its_own_part(tmp_path: Path) -> None:
    """Guards against holding out of train/ while val/ lies beside it."""
    photos(tmp_path / "split" / "train", "a", "b")
    photos(tmp_path / "split" / "val", "a", "b", count=3, seed=1)
    train, test, held_out = judging_sources(JudgeDataConfig(train=str(tmp_path / "split")), None)
    assert (len(train), len(test), held_out) == (10, 6, False)


def test_images_held_out_are_said_to_be(tmp_path: Path) -> None:
    """Guards a report that calls images new which the backbone has learnt from."""
    train, test, held_out = judging_sources(
        JudgeDataConfig(train=str(photos(tmp_path / "photos", "a", "b"))), None
    )
    assert (len(train), len(test), held_out) == (8, 2, True)


def test_judging_by_the_images_learnt_from_is_refused(tmp_path: Path) -> None:
    """Guards a k-NN accuracy of 100 percent."""
    folder = str(photos(tmp_path / "photos", "a", "b"))
    with pytest.raises(DataError, match="the very images"):
        judging_sources(JudgeDataConfig(train=folder, val=folder), None)


def test_check_looks_at_all_parts_of_a_divided_folder(tmp_path: Path) -> None:
    """Guards "every image decoded once" against an unseen val/."""
    photos(tmp_path / "split" / "train", "a", "b")
    photos(tmp_path / "split" / "val", "a", "b", count=3)
    assert len(open_images(str(tmp_path / "split"), root=None, whole=True)) == 16
    assert len(open_images(str(tmp_path / "split"), root=None)) == 10
    assert len(open_images("shapes(count=7)", root=None, whole=True)) == 7


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


def test_run_folder_among_the_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a resume that finds the run's own contact sheet among the images."""
    folder = photos(tmp_path / "photos", "a")
    assert not holds(str(folder), tmp_path / "runs")
    assert not holds("shapes", tmp_path / "runs")
    assert holds(f"unlabelled:{folder}", folder / "runs")
    monkeypatch.chdir(folder)
    for out in ("", "mine"):
        with pytest.raises(ConfigError, match="--out"):
            pretrain({"data": {"train": "."}, "out": out})


def test_own_strategy_is_kept_with_the_run(tmp_path: Path) -> None:
    """Guards resume against a policy file that was changed or deleted in between."""
    file = tmp_path / "mine.yaml"
    file.write_text("operations: [{operation: invert}]\n")
    policies = RunFolder(tmp_path / "run").keep_policies(("simclr", str(file), str(file)))
    file.unlink()
    assert policies[0] == "simclr"
    assert policies[1] == policies[2] == str(tmp_path / "run" / "policies" / "1-mine.yaml")
    assert "invert" in Path(policies[1]).read_text()


def test_run_that_is_not_complete_says_how_to_complete_it(tmp_path: Path) -> None:
    """Guards judging a killed run, whose weights are in its checkpoint alone."""
    folder = RunFolder(tmp_path / "my run")
    folder.checkpoint.parent.mkdir(parents=True)
    folder.checkpoint.write_bytes(b"")
    folder.config.write_text("{}")
    with pytest.raises(CheckpointError, match="--resume '.*my run' completes it"):
        load_backbone(folder.path)


def test_labels_that_do_not_fit_cost_the_probe_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards "labels are optional": sub-folders that are no classes must not end a run."""
    photos(tmp_path / "photos", "a", "b")
    photos(tmp_path / "val", "cat", "dog")
    config = make_config(
        {"data": {"train": str(tmp_path / "photos"), "val": str(tmp_path / "val")}},
    )
    assert make_probe(config, training_source(config.data)) is None
    assert "no k-NN while training" in caplog.text


def test_what_is_left_open_is_as_in_the_run(tmp_path: Path) -> None:
    """Guards a judge that remembers more images, or other ones, than the run learnt from."""
    learnt, other = (
        str(photos(tmp_path / name, "a", "b", seed=len(name))) for name in ("x", "val")
    )
    run = make_config({"data": {"train": learnt, "val": other, "limit": 6}})
    train, test, held_out = judging_sources(JudgeDataConfig(), run)
    assert (len(train), len(test), held_out) == (6, 10, False)
    assert len(judging_sources(JudgeDataConfig(limit=4), run)[0]) == 4
    assert judging_sources(JudgeDataConfig(train=other), run)[2]  # the run's own val is not asked
