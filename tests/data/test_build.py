"""The images of a configuration, and of a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.conftest import photos

from massrl.config.parser import make_config
from massrl.config.sections import DataConfig
from massrl.data.build import normalization_of, open_images, open_parts, training_source
from massrl.data.source import Normalization
from massrl.data.sources.shapes import SHAPES_NORMALIZATION
from massrl.errors import ConfigError


def test_images_of_a_command_are_the_whole_of_a_divided_folder_where_asked(tmp_path: Path) -> None:
    """Guards "every image decoded once" against an unseen val/."""
    photos(tmp_path / "split" / "train", "a", "b")
    photos(tmp_path / "split" / "val", "a", "b", count=3)
    assert len(open_images(str(tmp_path / "split"), root=None, whole=True)) == 16
    assert len(open_images(str(tmp_path / "split"), root=None)) == 10
    assert len(open_images("shapes(count=7)", root=None, whole=True)) == 7


def test_command_without_images_is_refused() -> None:
    """Guards ``massrl data check`` from Python against a check of the working directory."""
    with pytest.raises(ConfigError, match=r"no images; accepted: .*\(IMAGES\)"):
        open_images("", root=None)


def test_limit_is_a_balanced_subset_of_the_training_images() -> None:
    """Guards ``--data.limit``: the same images in every run, each class in proportion."""
    limited = training_source(DataConfig(train="shapes(count=100,size=16)", limit=20))
    again = training_source(DataConfig(train="shapes(count=100,size=16)", limit=20))
    assert limited.labels is not None
    assert np.bincount(limited.labels).tolist() == [2] * 10
    assert limited.fingerprint() == again.fingerprint()
    whole = training_source(DataConfig(train="shapes(count=100,size=16)", limit=100))
    assert whole.name == "shapes/train"


def test_normalization_is_the_configured_one_or_that_of_the_data_set() -> None:
    """Guards ``--data.mean`` without ``--data.std``: each has its own default."""
    data = {"train": "shapes(count=40,size=16)"}
    config = make_config({"data": data})
    source = training_source(config.data)
    assert normalization_of(config, source) == SHAPES_NORMALIZATION
    config = make_config({"data": {**data, "mean": [0.1, 0.2, 0.3]}})
    wanted = Normalization(mean=(0.1, 0.2, 0.3), std=SHAPES_NORMALIZATION.std)
    assert normalization_of(config, source) == wanted


def test_parts_are_those_of_a_divided_folder_or_of_other_images(tmp_path: Path) -> None:
    """Guards the search for equal contents against comparing a folder with itself."""
    folder = str(tmp_path / "split")
    photos(tmp_path / "split" / "train", "a", "b")
    photos(tmp_path / "split" / "val", "a", "b", count=3)
    source = open_images(folder, root=None, whole=True)
    parts = open_parts(source, folder, None, root=None)
    assert parts is not None
    assert [len(part) for part in parts] == [10, 6]
    other = str(photos(tmp_path / "other", "a"))
    parts = open_parts(source, folder, other, root=None)
    assert parts is not None
    assert [len(part) for part in parts] == [16, 5]
    assert open_parts(source, other, None, root=None) is None
    assert open_parts(source, "shapes(count=7)", None, root=None) is None
