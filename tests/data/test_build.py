"""Which images a run learns from, and what its folder keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import photos

from massrl.commands.pretrain import pretrain
from massrl.data.build import open_images
from massrl.data.catalogue import absolute_spec, contains
from massrl.errors import CheckpointError, ConfigError
from massrl.runs.folder import RunFolder
from massrl.weights.load import load_backbone


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
    assert not contains(str(folder), tmp_path / "runs")
    assert not contains("shapes", tmp_path / "runs")
    assert contains(f"unlabelled:{folder}", folder / "runs")
    monkeypatch.chdir(folder)
    for out in ("", "mine"):
        with pytest.raises(ConfigError, match="--out"):
            pretrain({"data": {"train": "."}, "out": out})


def test_own_strategy_is_kept_with_the_run(tmp_path: Path) -> None:
    """Guards resume against a policy file that was changed or deleted in between."""
    file = tmp_path / "mine.yaml"
    file.write_text("operations: [{operation: invert}]\n")
    policies = RunFolder(tmp_path / "run").copy_policies(("simclr", str(file), str(file)))
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
