"""What is asked for in a way that cannot work is taken, or answered with a command; the command works."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from massrl.cli import main

RUN = Path(__file__).parents[1] / "fixtures" / "version-0.1.0" / "simclr-done"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a run in it and five photos."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUN, "run")
    Path("photos").mkdir()
    for number in range(5):
        cv2.imwrite(f"photos/{number}.png", np.full((32, 32, 3), 40 * number, np.uint8))
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one line of a command that ends with exit code 2."""
    capsys.readouterr()
    assert main(words) == 2
    return capsys.readouterr().err


def offered(line: str) -> list[str]:
    """Return the arguments of the one massrl command that a line names, with its folder."""
    (command,) = re.findall(r"massrl ((?:views --replay|evaluate) \S+)", line)
    return shlex.split(command)


def test_packed_folder_is_taken_without_its_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards a folder of shards as the images of any command, packing it again among them."""
    assert main(["data", "pack", "photos", "packed/photos"]) == 0
    assert main(["data", "check", "packed"]) == 0
    assert main(["data", "pack", "packed", "again/photos"]) == 0
    with tarfile.open("again/photos-00000.tar") as shard:
        contents = [file.read() for item in shard if (file := shard.extractfile(item))]
    assert contents == [Path(f"photos/{number}.png").read_bytes() for number in range(5)]
    assert main(["data", "pack", "photos", "packed/others"]) == 0
    line = refusal(capsys, "data", "check", "packed")
    assert "packed/others-*.tar" in line
    assert main(["data", "check", "packed/others-*.tar"]) == 0


def test_shards_of_webdataset_are_unpacked_by_the_command_in_the_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards the way from another tool's shards to a set that massrl packs: one shard, and a pattern."""
    for name in ("web-000.tar", "web-001.tar"):
        with tarfile.open(name, "w") as shard:
            content = Path("photos/1.png").read_bytes()
            item = tarfile.TarInfo(f"{name[:7]}.png")
            item.size = len(content)
            shard.addfile(item, io.BytesIO(content))
    for given, folder, number in (("web-000.tar", "web-000", 1), ("web-*.tar", "web", 2)):
        line = refusal(capsys, "data", "pack", given, f"out/{folder}")
        (command,) = re.findall(r"as a folder: (.*) \(IMAGES\)", line)
        subprocess.run(["sh", "-ec", command], check=True)
        assert main(["data", "pack", folder, f"out/{folder}"]) == 0
        assert f"{number} image" in capsys.readouterr().out


def test_run_folder_given_to_views_is_answered_with_its_replay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards ``massrl views RUN`` against a sheet of the run's own pictures."""
    words = offered(refusal(capsys, "views", "run"))
    assert main(words) == 0
    assert Path("views.png").is_file()


def test_exported_file_without_images_is_answered_with_its_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards ``massrl evaluate RUN/backbone-safetensors.safetensors``, which tells of no images."""
    assert main(["export", "run"]) == 0
    file = capsys.readouterr().out.splitlines()[0]
    words = offered(refusal(capsys, "evaluate", file))
    assert main([*words, "--task=knn", "--cache=false"]) == 0
    assert Path("run/results.json").is_file()
