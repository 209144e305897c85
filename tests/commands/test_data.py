"""``massrl data check`` and ``massrl data pack``: functions, printing and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.conftest import photos
from tests.data.conftest import coco, voc

from massrl.cli import main
from massrl.commands.data import CheckConfig, PackConfig, check_data, pack_data
from massrl.data.catalogue import open_source
from massrl.errors import ConfigError, ImageError

QUIET = Console(quiet=True)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder of five images, one of them broken."""
    folder = photos(tmp_path / "my photos", "a")
    (folder / "a" / "2.png").write_text("no image")
    return folder


def test_check_prints_the_report_and_returns_1_for_a_broken_image(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards scripts that stop at a folder with broken images."""
    assert main(["data", "check", str(broken)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "my photos: 5 images, 4 readable, 1 broken"
    assert any(line.startswith(f"broken: {broken}/a/2.png: not an image") for line in lines)
    (broken / "a" / "2.png").unlink()
    assert main(["data", "check", str(broken)]) == 0
    assert "4 images, 4 readable" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["text", "mapping", "config"])
def test_check_takes_text_mapping_or_config(broken: Path, form: str) -> None:
    """Guards the Python function: all three forms mean the same images."""
    images = str(broken)
    config = {"text": images, "mapping": {"images": images}, "config": CheckConfig(images=images)}
    report = check_data(config[form], console=QUIET)
    assert (report.num_images, len(report.broken)) == (5, 1)


def test_pack_prints_the_command_that_trains_on_the_shards(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards a command that a shell would split or expand."""
    out = str(tmp_path / "my set")
    assert main(["data", "pack", str(broken), out, "--on_error", "skip"]) == 0
    text = capsys.readouterr().out
    assert "4 images packed, 1 broken skipped; train on them with:" in text
    assert f"massrl pretrain --data.train '{out}-*.tar'" in text
    assert len(open_source(f"{out}-*.tar")) == 4


def test_pack_stops_at_a_broken_image_by_default(broken: Path, tmp_path: Path) -> None:
    """Guards a set that silently lacks images."""
    config = {"images": str(broken), "out": str(tmp_path / "set")}
    with pytest.raises(ImageError, match=r"--on_error skip leaves such images out"):
        pack_data(config, console=QUIET)
    assert pack_data({**config, "on_error": "skip"}, console=QUIET) == (4, 1)


def test_pack_shrinks_with_the_given_quality(tmp_path: Path) -> None:
    """Guards ``--quality``, and its default."""
    folder = photos(tmp_path / "photos", "a", size=(120, 150))
    sizes = []
    for name, options in (("low", {"quality": 30}), ("default", {}), ("high", {"quality": 95})):
        out = str(tmp_path / name)
        pack_data(PackConfig(images=str(folder), out=out, short_side=40, **options), console=QUIET)
        sizes.append(sum(len(open_source(f"{out}-*.tar").read(index)) for index in range(5)))
    assert sizes[0] < sizes[1] == sizes[2]


@pytest.mark.parametrize("out", ["", "packed/", "."])
def test_pack_without_a_name_for_the_shards_is_refused(out: str, broken: Path) -> None:
    """Guards ``massrl data pack photos packed/``, whose shards would be beside the folder."""
    with pytest.raises(ConfigError, match="such as packed/photos"):
        pack_data({"images": str(broken), "out": out})


@pytest.mark.parametrize("parts", [("train", "val"), ("images/Training", "images/Test")])
def test_pack_of_a_divided_folder_is_refused(tmp_path: Path, parts: tuple[str, str]) -> None:
    """Guards a set that silently lacks the validation images."""
    for part in parts:
        photos(tmp_path / "split" / part, "a", "b", count=2)
    with pytest.raises(
        ConfigError, match=f"pack each of its folders by itself, .*split/{parts[0]}$"
    ):
        pack_data({"images": str(tmp_path / "split"), "out": str(tmp_path / "set")})


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"on_error": "skp"}, r"--on_error is 'skp': did you mean 'skip'"),
        ({"quality": 90}, "--short_side is missing"),
        ({"short_side": 0}, "--short_side is 0"),
        ({"short_side": 9, "quality": 101}, "--quality is 101"),
        ({"shard_megabytes": 0}, "--shard_megabytes is 0"),
    ],
)
def test_option_that_is_out_of_range_is_refused(options: dict[str, object], fault: str) -> None:
    """Guards an option that is accepted and does something else."""
    with pytest.raises(ConfigError, match=fault):
        PackConfig(**options)


@pytest.mark.parametrize("words", [["check"], ["pack"], ["pack", "photos"]])
def test_missing_argument_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Guards a traceback for a command that is typed without its arguments."""
    assert main(["data", *words]) == 2
    assert "is missing: it comes before the flags" in capsys.readouterr().err


def test_module_imports_nothing_heavy() -> None:
    """Guards ``massrl data check --help``, which must answer at once."""
    code = (
        "import sys, massrl.commands.data; "
        "print([name for name in ('torch', 'cv2', 'numpy', 'rich', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_check_finds_images_that_are_in_training_and_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards copies between train/ and val/ of one folder, and between two folders that are given."""
    folder = tmp_path / "set"
    train = photos(folder / "Train", "a", "b")
    val = photos(folder / "Test", "a", "b", count=2, seed=1)
    assert main(["data", "check", str(folder)]) == 0
    assert main(["data", "check", str(train), "--val", str(val)]) == 0
    (val / "b" / "same.png").write_bytes((train / "a" / "3.png").read_bytes())
    line = f"also in validation: {train / 'a' / '3.png'} = {val / 'b' / 'same.png'}"
    for name, image in (("one", train / "a" / "3.png"), ("other", val / "b" / "same.png")):
        images = [{"id": 1, "file_name": str(image)}]
        content = {"images": images, "categories": [], "annotations": []}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = [str(tmp_path / "one.json"), "--val", str(tmp_path / "other.json")]
    for words in ([str(folder)], [str(train), "--val", str(val)], files):
        capsys.readouterr()
        assert main(["data", "check", *words]) == 1
        assert line in capsys.readouterr().out


def test_check_tells_of_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Guards objects that are left out, of COCO's files and of folders in VOC's layout."""
    assert main(["data", "check", str(coco(tmp_path / "set"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "own: 2 images, 2 readable"
    assert "objects of own: 2 images, 1 object in 1 of them" in lines
    wanted = "objects of own: 1 of 3 objects are left out: 1 with a box of no width or height"
    assert wanted in lines
    assert main(["data", "check", str(voc(tmp_path / "VOC"))]) == 0
    assert "objects of VOC/val: 1 image, 1 object in 1 of them" in capsys.readouterr().out
