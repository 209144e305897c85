"""Networks of torchvision and timm by name; their weights are in a prepared cache: no test downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from massrl.errors import CheckpointError, ConfigError
from massrl.weights.libraries import _labels, library_network
from massrl.weights.load import load_backbone


@pytest.fixture
def cached_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put weights where torchvision would have downloaded them to."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(5)
    state = resnet18().state_dict()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2])
    return state


@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:resnet18.IMAGENET1K_V1"])
def test_torchvision_network_has_the_weights_of_its_library(
    name: str, cached_weights: dict[str, Any]
) -> None:
    """Guards a baseline that would be a random network."""
    network = load_backbone(name)
    original = resnet18()
    original.load_state_dict(cached_weights)
    original.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), original.eval()(images))
    about = network.about
    assert (about["size"], about["weights"]) == (224, "IMAGENET1K_V1")
    assert (about["labels"], about["licence"]) == ("used", None)
    assert about["mean"] == [0.485, 0.456, 0.406]


def test_network_with_random_weights_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``random_init``, the baseline of a comparison, without a network connection."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    first, again = (load_backbone("torchvision:resnet18", random_init=True) for _ in range(2))
    assert torch.equal(first.conv1.weight, again.conv1.weight)  # type: ignore[union-attr]
    tiny = load_backbone("timm:vit_tiny_patch16_224", random_init=True)
    assert tiny.about["weights"] is None
    assert tiny.about["num_features"] == 192


def test_weights_that_cannot_be_downloaded_are_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a traceback of a downloader's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_net(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_net)
    with pytest.raises(
        CheckpointError, match="cannot be downloaded: no route to host; --random_init"
    ):
        load_backbone("torchvision:resnet18")


def test_timm_network_has_the_weights_of_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the copy of timm's weights into our network."""
    torch.manual_seed(7)
    theirs = timm.create_model("resnet18", num_classes=0)
    calls: list[tuple[str, bool]] = []

    def create(name: str, *, pretrained: bool, num_classes: int, **_: Any) -> nn.Module:
        calls.append((name, pretrained))
        return theirs

    real = timm.create_model
    monkeypatch.setattr(
        timm,
        "create_model",
        lambda name, **options: (create if options["pretrained"] else real)(name, **options),
    )
    network = load_backbone("timm:resnet18.a1_in1k")
    assert calls == [("resnet18.a1_in1k", True)]
    config = timm.get_pretrained_cfg("resnet18.a1_in1k")
    assert (network.about["labels"], network.about["licence"]) == ("used", config.license)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), theirs.eval()(images))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet51", "torchvision has no ResNet 'resnet51': did you mean"),
        ("torchvision:resnet18.V9", "no weights 'V9': known: IMAGENET1K_V1"),
        ("timm:resnet51", "timm has no model 'resnet51'"),
        ("timm:resnet18.v9", "timm's resnet18 has no weights 'v9'"),
    ],
)
def test_unknown_name_is_refused_with_the_known_ones(name: str, message: str) -> None:
    """Guards a typing error against a download of something else."""
    with pytest.raises(ConfigError, match=message):
        load_backbone(name)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("vit_small_patch16_224.dino", "not-used"),
        ("vit_small_patch14_dinov2.lvd142m", "not-used"),
        ("vit_base_patch16_224.mae", "not-used"),
        ("convnextv2_tiny.fcmae", "not-used"),
        ("convnextv2_tiny.fcmae_ft_in1k", "used"),
        ("vit_tiny_patch16_224.augreg_in21k", "used"),
        ("resnet50.fb_swsl_ig1b_ft_in1k", "used"),
        ("vit_base_patch16_clip_224.openai", None),
    ],
)
def test_labels_of_timms_weights_are_told_by_their_description(
    name: str, labels: str | None
) -> None:
    """Guards weights of classifiers against "no labels were used", and claims about unknown ones."""
    config = timm.get_pretrained_cfg(name)
    assert _labels({"num_classes": config.num_classes, "tag": config.tag}) == labels


def test_network_of_a_name_is_that_of_the_library() -> None:
    """Guards ``--init-from NAME``, which selects the backbone without downloading anything."""
    assert library_network("torchvision:resnet18.IMAGENET1K_V1") == "resnet18"
    assert library_network("timm:resnet18.a1_in1k") == "timm:resnet18"
