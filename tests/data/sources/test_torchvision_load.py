"""Loading with torchvision: what is downloaded, and what is said where that fails."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from tests.data.conftest import voc

from massrl.data.catalogue import open_source
from massrl.data.sources.torchvision_load import default_root, load_dataset, voc_folder
from massrl.data.sources.torchvision_sets import NAMES
from massrl.errors import DataError

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("name", NAMES)
def test_set_that_cannot_be_downloaded_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    """Guards tracebacks out of torchvision where there is no network."""
    with pytest.raises(DataError) as caught:
        open_source(name, root=tmp_path / "sets")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{name} ")
    assert "--data.root" in message
    assert str(tmp_path / "sets") in message


def test_missing_network_is_named_as_the_cause(tmp_path: Path) -> None:
    """Guards an error that hides why."""
    with pytest.raises(DataError, match=r"could not be downloaded .*service not known"):
        open_source("cifar10", root=tmp_path)


def test_set_is_not_downloaded_when_that_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a download behind the user's back."""
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(DataError, match="downloading is off"):
        open_source("cifar10", root=tmp_path, download=False)


def test_default_root_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Guards a variable that is documented and not read."""
    monkeypatch.setenv("MASSRL_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("MASSRL_DATA")
    assert default_root() == Path.home() / ".cache" / "massrl" / "datasets"


def test_error_of_several_lines_becomes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the advice of several lines that torchvision and its checksums give."""

    def fail(**_: object) -> None:
        raise RuntimeError("Dataset not found.\n  You can use\n  download=True")

    monkeypatch.setattr("torchvision.datasets.STL10", fail)
    with pytest.raises(DataError) as caught:
        load_dataset("mine", tmp_path / "x", factory="STL10", arguments={})
    cause = "Dataset not found. You can use download=True"
    advice = f"put torchvision's files for STL10 into {tmp_path / 'x'}, or pass --data.root"
    assert str(caught.value) == f"mine could not be downloaded ({cause}); {advice}"


def test_set_that_torchvision_does_not_offer_is_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ImageNet, whose licence asks for a download by hand."""
    calls: list[dict[str, object]] = []

    def fail(**arguments: object) -> None:
        calls.append(arguments)
        raise RuntimeError("not found")

    monkeypatch.setattr("torchvision.datasets.ImageNet", fail)
    with pytest.raises(DataError, match=r"cannot be downloaded; put .* \(not found\)"):
        load_dataset(
            "imagenet", tmp_path, factory="ImageNet", arguments={"split": "val"}, can_download=False
        )
    assert calls == [{"root": str(tmp_path), "split": "val"}]


def test_voc_is_found_below_the_root(tmp_path: Path) -> None:
    """Guards the folder, which torchvision unpacks as ``VOCdevkit/VOC2012``."""
    root = voc(tmp_path / "VOCdevkit" / "VOC2012")
    lists = root / "ImageSets" / "Main"
    (lists / "trainval.txt").write_text("i0\n")
    assert voc_folder("voc2012", ("train", "trainval"), root=tmp_path, download=False) == root
    with pytest.raises(DataError, match="voc2007 is not there and downloading is off"):
        voc_folder("voc2007", ("test",), root=tmp_path, download=False)
