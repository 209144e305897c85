"""Names of backbones, checked against timm's own list without importing timm."""

from __future__ import annotations

import re
import sys
import warnings

import pytest
import timm
import torchvision

from massrl.errors import ConfigError
from massrl.models import names
from massrl.models.names import (
    TORCHVISION_RESNETS,
    check_backbone_name,
    check_library_name,
    is_library_name,
    is_users_code,
)


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported timm."""
    monkeypatch.delitem(sys.modules, "timm")


def test_every_model_of_timm_stands_in_its_source() -> None:
    """Guards all of timm's networks, those under former names too, against being refused unseen."""
    words = set(re.findall(r"\w+", names._timm_source()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [*timm.list_models(), "vit_base_patch16_224_dino", "seresnext101_32x4d"]
        assert all(timm.is_model(name) for name in known)
    assert len(known) > 1000
    assert set(known) <= words


@pytest.mark.parametrize(
    "name", ["resnet18", "timm:resnet18", "vit_tiny_patch16_224", "json:loads"]
)
def test_name_of_a_network_passes(name: str, without_timm: None) -> None:
    """Guards our own and torchvision's names, timm's with and without prefix, and one's own code."""
    check_backbone_name(name)
    assert "timm" not in sys.modules
    assert is_users_code(name) == (name == "json:loads")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("timm:vit_tiny_patch16_225", "did you mean 'vit_tiny_patch16_224'"),
        ("zzz", "known: resnet10-narrow"),
        ("no_such_module:network", "cannot import 'no_such_module'"),
    ],
)
def test_unknown_name_is_refused_with_a_hint(name: str, hint: str, without_timm: None) -> None:
    """Guards the message against the loss of timm's suggestions, which are read from its source."""
    with pytest.raises(ConfigError, match=re.escape(hint)):
        check_backbone_name(name)
    assert "timm" not in sys.modules


def test_timm_itself_decides_once_it_is_imported() -> None:
    """Guards networks that a user registers in timm from Python, whose names stand in no source of it."""
    check_backbone_name("zzz")


@pytest.mark.parametrize("name", ["torchvision:resnet50.IMAGENET1K_V2", "timm:resnet50.a1_in1k"])
def test_library_name_passes_without_its_weights(name: str, without_timm: None) -> None:
    """Guards names with weights behind a dot."""
    assert is_library_name(name)
    check_library_name(name)
    with pytest.raises(ConfigError, match="did you mean 'resnet50"):
        check_library_name(name.replace("resnet50", "resnet5o"))


def test_resnets_are_torchvisions() -> None:
    """Guards the list of names against torchvision's own."""
    found = [name for name in torchvision.models.list_models() if re.search("res(net|next)", name)]
    own = [
        name
        for name in found
        if not name.startswith(("deeplab", "fcn", "mask", "faster", "keypoint"))
    ]
    weights = [name for name in own if "retinanet" not in name and not name.startswith("quantized")]
    assert set(TORCHVISION_RESNETS) == set(weights) - {n for n in weights if "_fpn" in n}
