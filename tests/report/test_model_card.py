"""The model card: everything a user of exported weights must know is on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ABOUT, Plugin

from massrl.commands.export import export_backbone
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.report.model_card import Card, card_text, stored_metrics
from massrl.weights.load import load_backbone, random_backbone


def card(**changes: Any) -> Card:
    content: dict[str, Any] = {
        "file": "b.pth",
        "format": "torchvision",
        "about": {**ABOUT, "num_features": 128},
        "num_parameters": 300_000,
        "program": "import torch",
    }
    return Card(**(content | changes))


def test_card_says_how_to_use_the_file() -> None:
    """Guards the code, and the preparation of images, without which features mean nothing."""
    text = card_text(card())
    assert text.startswith("# b.pth\n\n")
    assert "```python\nimport torch\n```" in text
    for words in (
        "resnet10-tiny without its classifier (0.3 million parameters)",
        "to 128 features",
        "| format | torchvision |",
        "| images | 32 px, RGB in [0, 1] |",
        "| normalised by | mean 0.5 0.5 0.5, std 0.2 0.2 0.2 |",
        "Not evaluated: see `massrl evaluate`.",
    ):
        assert words in text


def test_weights_of_another_source_are_not_called_massrls() -> None:
    """Guards licences: weights that were imported are not MIT because massrl wrote the file."""
    text = card_text(card(about={**ABOUT, "num_features": 128, "source": "x.ckpt", "part": "."}))
    assert "Its weights are from `x.ckpt`, part `.`, unchanged." in text
    assert "- the weights: see their source" in text
    assert "massrl, whose code trained" not in text


def test_card_of_a_run_tells_data_policies_metrics_and_licences(tmp_path: Path) -> None:
    """Guards data, policies, metrics and licences of the tables against being left out."""
    from tests.train.conftest import run

    folder = run(
        tmp_path / "run",
        views={"layout": "massrl-4", "policies": None, "size": 16},
        train={"max_steps": 2},
    ).folder
    on = {"val": {"name": "shapes/val", "num_images": 1000}}
    result = {"acc1": 61.5, "acc5": None, "data": on, "software": {"torch": "2.9"}}
    network: Any = load_backbone(folder)
    own = {**network.about, "fingerprint": network_fingerprint(network)}
    content = {"backbone": own, "tasks": {"knn": result}}
    (folder / "results.json").write_text(json.dumps(content))
    file, path = export_backbone({"backbone": str(folder), "format": "safetensors"})
    assert file == folder / "backbone-safetensors.safetensors"
    text = path.read_text(encoding="utf-8")
    for words in (
        "`randaugment",
        "labels were not used",
        "| k-NN | Acc@1 | 61.50 | 1,000 images of shapes/val |",
        "MIT, © 2019 Ildoo Kim",
        "searched **with labels**",
        "2 optimiser steps",
        "Measured with torch 2.9.",
    ):
        assert words in text


POLICY = """
from massrl.views.policies.colour import weak


class Tables:
    notice = "Somebody's tables: CC-BY 4.0"

    def draw(self, stream, side):
        return weak().draw(stream, side)
"""


def test_notice_of_another_packages_policy_is_on_the_card(plugin: Plugin) -> None:
    """Guards the licence of data that a policy brings along: the card knows no policy by its name."""
    plugin(POLICY, {"massrl.policies": {"tables": "my_plugin:Tables"}})
    config = make_config(
        read_layers("shapes-massrl"),
        {"views": {"policies": ["tables", "fast-autoaugment(cifar10)", "weak", "tables()"]}},
    ).to_dict()
    text = card_text(card(config=config))
    assert text.count("- Somebody's tables: CC-BY 4.0\n") == 1
    assert text.count("- Fast AutoAugment's tables: MIT, © 2019 Ildoo Kim; searched") == 1
    assert "- AutoAugment's tables" not in text


@pytest.mark.parametrize("content", [{}, {"backbone": {}, "tasks": {}}])
def test_metrics_of_other_weights_are_not_taken(content: dict[str, Any], tmp_path: Path) -> None:
    """Guards a card against a results.json of weights that were there before."""
    from massrl.weights.load import random_backbone

    network: Any = random_backbone(ABOUT)
    network.about = ABOUT
    assert stored_metrics(tmp_path, network) == ({}, {})
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert stored_metrics(tmp_path, network) == ({}, {})


def test_metric_that_is_null_is_said_in_words(tmp_path: Path) -> None:
    """Guards the card of a backbone whose test images had nothing to find."""
    network: Any = random_backbone(ABOUT)
    network.about = ABOUT
    on = {"val": {"name": "mine", "num_images": 7}}
    content = {
        "backbone": {**ABOUT, "fingerprint": network_fingerprint(network)},
        "tasks": {"detect": {"ap": None, "ap50": 1.5, "data": on, "software": {}}},
    }
    (tmp_path / "results.json").write_text(json.dumps(content))
    tasks, _ = stored_metrics(tmp_path, network)
    assert tasks == {
        "object detection": ({"AP": "nothing to find", "AP50": "1.50"}, "7 images of mine")
    }
    assert "| object detection | AP | nothing to find | 7 images of mine |" in card_text(
        card(tasks=tasks)
    )
