"""Semi-supervised evaluation: which labels are used, and what each subset of them is called."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import photos
from tests.evaluation.conftest import colours, context_of

from massrl.config.choices import SEMI_PROTOCOLS
from massrl.config.evaluation import EvaluateConfig, SemiConfig
from massrl.data.catalogue import open_source
from massrl.data.source import Subset
from massrl.errors import DataError
from massrl.evaluation.finetune import Setting
from massrl.evaluation.run import run_tasks
from massrl.evaluation.tasks.semi import (
    PROTOCOLS,
    labelled_fraction,
    listed_images,
    semi_supervised,
)


def test_fraction_is_balanced_and_of_the_size_asked_for() -> None:
    """Guards "1 %": its size and its classes, each of which has an image at least."""
    source = colours(400, seed=0)
    for fraction, count in ((0.01, 4), (0.1, 40), (0.001, 4)):
        part = labelled_fraction(source, fraction, seed=0)
        assert len(part) == count
        assert part.labels is not None
        assert set(np.bincount(part.labels, minlength=4).tolist()) == {count // 4}


def test_every_fraction_is_fine_tuned_on_its_own_images() -> None:
    """Guards ``--semi``: fractions, learning rates, epochs and the batch size."""
    context = context_of(colours(400, seed=0), colours(40, seed=1))
    config = SemiConfig(fractions=(0.05, 0.5), lrs=(0.1,), epochs=(3,), batch_size=8)
    results = list(semi_supervised(context, config, seed=0))
    assert [(name, len(source)) for name, source, _ in results] == [("5", 20), ("50", 200)]
    for _, _, result in results:
        assert result.setting == Setting(lr=0.1, epochs=3)
        assert result.batch_size == 8
        assert result.scores.shape == (40, 4)


def test_result_says_how_many_labels_were_used() -> None:
    """Guards the table, in which one row has 20 labels and the next 200."""
    context = context_of(colours(80, seed=0), colours(40, seed=1))
    semi = SemiConfig(fractions=(0.1,), lrs=(0.1,), epochs=(1,))
    (result,) = run_tasks(context, EvaluateConfig(task=("semi-supervised",), semi=semi))
    assert result.name == "semi-supervised-10"
    assert result.settings["labelled_images"] == 8
    assert result.metrics["num_images"] == 40


def test_every_protocol_of_the_configuration_has_settings() -> None:
    """Guards ``--semi.protocol`` against a choice without numbers."""
    assert set(PROTOCOLS) == set(SEMI_PROTOCOLS)
    assert len(PROTOCOLS["byol"][0]) == 5


def test_list_names_images_by_their_files(tmp_path: Path) -> None:
    """Guards the published lists, which name files without their folders."""
    photos(tmp_path / "photos", "a", "b")
    for number, path in enumerate(sorted((tmp_path / "photos").rglob("*.png"))):
        path.rename(path.with_name(f"n{number}.png"))
    source = open_source(tmp_path / "photos")
    file = tmp_path / "list.txt"
    file.write_text("n1.png\nn7.png\n")
    listed = listed_images(source, file)
    assert isinstance(listed, Subset)
    assert [Path(listed.describe(index)).name for index in range(2)] == ["n1.png", "n7.png"]
    assert len(listed) == 2
    file.write_text("n1.png\nother.png\n")
    with pytest.raises(DataError, match=r"names other.png .*--semi.lists"):
        listed_images(source, file)
    file.write_text("\n")
    with pytest.raises(DataError, match="names no image"):
        listed_images(source, file)
    with pytest.raises(DataError, match="cannot be read"):
        listed_images(source, tmp_path / "nothing.txt")


def test_list_tells_files_of_one_name_apart_by_their_folders(tmp_path: Path) -> None:
    """Guards labels: an image of another class must never be taken for the one that is named."""
    source = open_source(photos(tmp_path / "photos", "a", "b"))
    names = [Path(source.describe(index)).name for index in range(5)]
    file = tmp_path / "list.txt"
    file.write_text(f"a/{names[1]}\nb/{names[1]}\na/{names[2]}\n")
    listed = listed_images(source, file)
    assert [Path(listed.describe(index)).parts[-2:] for index in range(len(listed))] == [
        ("a", names[1]),
        ("a", names[2]),
        ("b", names[1]),
    ]
    file.write_text(f"{names[1]}\n")
    with pytest.raises(DataError, match=rf"names {names[1]}, of which photos has 2: folders"):
        listed_images(source, file)
    file.write_bytes(b"\xff")
    with pytest.raises(DataError, match="no text in UTF-8"):
        listed_images(source, file)


def test_list_may_be_written_as_other_tools_do(tmp_path: Path) -> None:
    """Guards names without suffix, with one in upper case, a class behind them, and lists of Windows."""
    source = open_source(photos(tmp_path / "photos", "é a", "b"))
    file = tmp_path / "list.txt"
    decomposed = unicodedata.normalize("NFD", "é a")
    text = f"b\\0.PNG\r\n./b/1\r\n{decomposed}/2.png,x\r\n"
    file.write_bytes(text.encode("utf-8-sig"))
    listed = listed_images(source, file)
    assert [Path(listed.describe(index)).parts[-2:] for index in range(len(listed))] == [
        *(("b", "0.png"), ("b", "1.png"), ("é a", "2.png"))
    ]


def test_lists_replace_fractions_and_have_names_of_their_own(tmp_path: Path) -> None:
    """Guards a list of 1 % against hours of fine-tuning on fractions that nobody asked for."""
    train = colours(80, seed=0)
    context = context_of(train, colours(8, seed=1))
    (tmp_path / "other").mkdir()
    files = [tmp_path / "one.txt", tmp_path / "other" / "one.txt"]
    for file in files:
        file.write_text("".join(f"{Path(train.describe(index)).name}\n" for index in range(40)))

    def names(**config: Any) -> list[str]:
        semi = SemiConfig(**config, lrs=(0.1,), epochs=(1,), batch_size=8)
        return [name for name, _, _ in semi_supervised(context, semi, seed=0)]

    half = tmp_path / "0.5.txt"  # not half a percent
    half.write_bytes(files[0].read_bytes())
    assert names(lists=(str(half),)) == [str(half)]
    lists = tuple(map(str, files))
    assert names(lists=lists) == ["one", lists[1]]
    assert names(lists=lists[:1], fractions=(0.5,)) == ["50", "one"]
    assert names() == ["1", "10"]
