"""Fine-tuning and its shares of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import photos
from tests.evaluation.conftest import colours, subject_of

from massrl.config.evaluation import SemiConfig
from massrl.data.source import Subset
from massrl.errors import DataError, TrainingError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.finetune import Setting, fine_tune, finetune_and_predict
from massrl.evaluation.multilabel import mean_precision, multilabel_target, precisions
from massrl.evaluation.tasks.semi import labelled_fraction, listed_images, semi_supervised


def test_weights_and_statistics_of_the_whole_network_change_in_a_copy(
    subject: EvaluationContext,
) -> None:
    """Guards against the published code's fault: fine-tuning that left the backbone frozen."""
    before = {name: item.clone() for name, item in subject.network.state_dict().items()}
    setting = Setting(rate=0.1, epochs=2)
    network = fine_tune(subject, subject.train, setting, most=16, seed=0, name="semi")
    after = network[0].state_dict()  # type: ignore[index]
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert all(
        torch.equal(before[name], item) for name, item in subject.network.state_dict().items()
    )


def test_fine_tuned_network_learns_what_the_frozen_one_could_not_tell(
    subject: EvaluationContext,
) -> None:
    """Guards the gradient's way through the whole network."""
    result = finetune_and_predict(
        subject, subject.train, rates=(0.3,), epochs=(20,), most=16, seed=0, name="semi"
    )
    right = (result.scores.argmax(1) == subject.test_features.labels).float().mean()
    assert float(right) > 0.9
    assert result.holdout_accuracy == {}


def test_setting_is_the_best_of_those_tried_on_held_out_images(subject: EvaluationContext) -> None:
    """Guards the sweep: a rate of nothing must lose, and all of them must be tried."""
    result = finetune_and_predict(
        subject, subject.train, rates=(1e-9, 0.3), epochs=(1, 20), most=16, seed=0, name="semi"
    )
    assert result.setting == Setting(rate=0.3, epochs=20)
    assert len(result.holdout_accuracy) == 4
    assert result.holdout_accuracy[result.setting] == max(result.holdout_accuracy.values())


def test_shares_are_balanced_and_of_the_size_asked_for() -> None:
    """Guards "1 %": its size, its classes, and that the smaller lies within no test image."""
    source = colours(400, seed=0)
    for share, count in ((0.01, 4), (0.1, 40), (0.001, 4)):
        part = labelled_fraction(source, share, seed=0)
        assert len(part) == count
        assert part.labels is not None
        assert set(np.bincount(part.labels, minlength=4).tolist()) == {count // 4}


def test_semi_supervised_runs_every_share_with_its_own_images() -> None:
    """Guards ``--semi``: shares, rates, epochs and the batch."""
    subject = subject_of(colours(400, seed=0), colours(40, seed=1))
    config = SemiConfig(fractions=(0.05, 0.5), lrs=(0.1,), epochs=(3,), batch_size=8)
    outcomes = list(semi_supervised(subject, config, seed=0))
    assert [(name, len(source)) for name, source, _ in outcomes] == [
        ("semi-supervised-5", 20),
        ("semi-supervised-50", 200),
    ]
    for _, _, result in outcomes:
        assert result.setting == Setting(rate=0.1, epochs=3)
        assert result.batch_size == 8
        assert result.scores.shape == (40, 4)


def test_lists_name_images_by_their_files(tmp_path: Path) -> None:
    """Guards the published lists, which name files without their folders."""
    from massrl.data.catalogue import open_source

    photos(tmp_path / "photos", "a", "b")
    for number, path in enumerate(sorted((tmp_path / "photos").rglob("*.png"))):
        path.rename(path.with_name(f"n{number}.png"))
    source = open_source(tmp_path / "photos")
    (tmp_path / "list.txt").write_text("n1.png\nn7.png\n")
    chosen = listed_images(source, tmp_path / "list.txt")
    assert isinstance(chosen, Subset)
    assert [Path(chosen.describe(index)).name for index in range(len(chosen))] == [
        "n1.png",
        "n7.png",
    ]
    (tmp_path / "list.txt").write_text("n1.png\nother.png\n")
    with pytest.raises(DataError, match=r"names other.png .*--semi.lists"):
        listed_images(source, tmp_path / "list.txt")
    with pytest.raises(DataError, match="cannot be read"):
        listed_images(source, tmp_path / "nothing.txt")


def test_lists_tell_files_of_one_name_apart_by_their_folders(tmp_path: Path) -> None:
    """Guards labels: an image of another class must never be taken for the one that is named."""
    from massrl.data.catalogue import open_source

    source = open_source(photos(tmp_path / "photos", "a", "b"))
    names = [Path(source.describe(index)).name for index in range(5)]
    file = tmp_path / "list.txt"
    file.write_text(f"a/{names[1]}\nb/{names[1]}\na/{names[2]}\n")
    chosen = listed_images(source, file)
    assert [Path(chosen.describe(index)).parts[-2:] for index in range(len(chosen))] == [
        ("a", names[1]),
        ("a", names[2]),
        ("b", names[1]),
    ]
    file.write_text(f"{names[1]}\n")
    with pytest.raises(DataError, match=rf"names {names[1]}, of which photos has 2: folders"):
        listed_images(source, file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no text in UTF-8"):
        listed_images(source, file)


def test_lists_take_the_place_of_shares_and_keep_their_names_apart(tmp_path: Path) -> None:
    """Guards a list of 1 % against hours of fine-tuning on shares that nobody asked for."""
    train = colours(80, seed=0)
    subject = subject_of(train, colours(8, seed=1))
    (tmp_path / "other").mkdir()
    files = [tmp_path / "one.txt", tmp_path / "other" / "one.txt"]
    for file in files:
        file.write_text("".join(f"{Path(train.describe(index)).name}\n" for index in range(40)))
    options = {"lrs": (0.1,), "epochs": (1,), "batch_size": 8}

    def names(**config: Any) -> list[str]:
        wanted = SemiConfig(**config, **options)  # type: ignore[arg-type]
        return [name for name, _, _ in semi_supervised(subject, wanted, seed=0)]

    half = tmp_path / "0.5.txt"  # no half a percent
    half.write_bytes(files[0].read_bytes())
    assert names(lists=(str(half),)) == [f"semi-supervised-{half}"]
    lists = tuple(map(str, files))
    assert names(lists=lists) == ["semi-supervised-one", f"semi-supervised-{files[1]}"]
    assert names(lists=lists[:1], fractions=(0.5,)) == ["semi-supervised-50", "semi-supervised-one"]
    assert names() == ["semi-supervised-1", "semi-supervised-10"]


def test_several_classes_are_learnt_where_they_are_asked_for() -> None:
    """Guards fine-tuning on VOC: an answer for each class, and none where nobody asks."""
    train, test = colours(80, seed=0), colours(40, seed=1)
    subject = subject_of(train, test)
    truth, asked = (
        np.stack([part.labels < 2, part.labels % 2, part.labels == 3], axis=1).astype(np.int64)  # type: ignore[operator]
        for part in (train, test)
    )
    truth[:, 2] = -1
    goal = multilabel_target(truth)
    logits = torch.tensor([[2.0, -1.0, 50.0], [0.0, 0.0, -9.0]])
    known = torch.tensor([[1, 0, -1], [0, 1, -1]])
    wanted = [np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log(2), np.log(2)]
    assert float(goal.loss(logits, known)) == pytest.approx(np.mean(wanted))
    result = finetune_and_predict(
        subject,
        train,
        goal=goal,
        rates=(1e-6, 0.3),
        epochs=(20,),
        most=16,
        seed=0,
        name="voc",
    )
    assert result.setting.rate == 0.3
    assert result.scores.shape == (40, 3)
    assert torch.equal(result.scores[:, 2], torch.zeros(40))  # as it began
    before, after = (
        mean_precision(precisions(scores, asked[:, :2]))
        for scores in (np.zeros((40, 2)), result.scores[:, :2].numpy())
    )
    assert after > before + 20


def test_rate_at_which_the_network_is_lost_is_no_choice(
    subject: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a sweep against ending at its first rate that is too high."""

    def lost_above_one(*arguments: Any, **named: Any) -> Any:
        if arguments[2].rate > 1:
            raise TrainingError("the loss is no number")
        return fine_tune(*arguments, **named)

    monkeypatch.setattr("massrl.evaluation.finetune.fine_tune", lost_above_one)
    result = finetune_and_predict(
        subject, subject.train, rates=(9.0, 0.1), epochs=(4,), most=16, seed=0, name="semi"
    )
    assert result.setting.rate == 0.1
    assert result.holdout_accuracy[Setting(rate=9.0, epochs=4)] == 0.0


def test_few_images_are_not_divided(subject: EvaluationContext) -> None:
    """Guards 1 % of a small set: of four images none can be held out."""
    few = Subset(subject.train, [0, 1, 2])
    result = finetune_and_predict(
        subject, few, rates=(0.1, 0.2), epochs=(1,), most=16, seed=0, name="semi"
    )
    assert result.setting.rate == 0.1
    assert result.holdout_accuracy == {}
