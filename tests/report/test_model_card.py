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
from massrl.report.model_card import Card, card_text
from massrl.report.stored_metrics import Measured
from massrl.weights.load import load_backbone


def card(**changes: Any) -> Card:
    content: dict[str, Any] = {
        "file": "b.pth",
        "format": "torchvision",
        "about": {**ABOUT, "num_features": 128},
        "num_parameters": 300_000,
        "sha256": "00ff",
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
        "| SHA-256 | `00ff` |",
        "| start | random weights, seed 0 |",
        "| labels | not used to train the weights |",
        "Pre-trained without labels by massrl.",
        "The features were not measured on anything",
    ):
        assert words in text


def test_weights_of_another_source_are_not_called_massrls() -> None:
    """Guards licences: weights that were imported are not MIT because massrl wrote the file."""
    text = card_text(card(about={**ABOUT, "num_features": 128, "source": "x.ckpt", "part": "."}))
    assert "Its weights are from `x.ckpt`, part `.`, unchanged." in text
    assert "- the weights of `x.ckpt`: see their source" in text
    assert "| labels | not known: see the source |" in text
    assert "without labels" not in text
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
    random = {**content, "tasks": {"knn": {**result, "acc1": 31.25}}}
    (folder / "results-random-init.json").write_text(json.dumps(random))
    file, path = export_backbone({"backbone": str(folder), "format": "safetensors"})
    assert file == folder / "backbone-safetensors.safetensors"
    text = path.read_text(encoding="utf-8")
    for words in (
        "`randaugment",
        "their labels, if any, were not used",
        "| labels | not used to train the weights; `autoaugment",
        "| exported | k-NN | Acc@1 | 61.50 | 1,000 images of shapes/val |",
        "| random init | k-NN | Acc@1 | 31.25 | 1,000 images of shapes/val |",
        "The features were measured on 1,000 images of shapes/val alone",
        "--train.max_steps 2\n",
        "--views.layout massrl-4\n",
        f"--out …/{folder.name}\n",
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


@pytest.mark.parametrize(
    ("labels", "told", "origin"),
    [
        ("used", "labels were used, licence: CC BY-NC 4.0", "from weights that were trained with"),
        ("not-used", "no labels were used, licence: CC BY-NC 4.0", "Pre-trained without labels"),
        (None, "labels: not known, licence: CC BY-NC 4.0", "not known whether labels were used"),
    ],
)
def test_labels_and_licence_of_the_start_are_on_the_card(
    labels: str | None, told: str, origin: str
) -> None:
    """Guards a card that says "without labels" of a run that ImageNet's labels came into by its start.

    However far back that start is: the run may have begun with a run that began with it.
    """
    source = {"source": "x.pth", "labels": labels, "licence": "CC BY-NC 4.0", "sha256": "ab"}
    for start in ({"name": "x.safetensors", **source}, {"name": "run", "start": source}):
        text = card_text(card(about={**ABOUT, "num_features": 128, "start": start}))
        assert f"`x.pth`, {told}, SHA-256 `ab` |" in text
        assert origin in text
        assert "- the weights of `x.pth`, which training started from: CC BY-NC 4.0" in text
        assert ("without labels" in text) == (labels == "not-used")
        assert ("Labels were used on the way" in text) == (labels != "not-used")
        assert "labels | not used" not in text or labels == "not-used"


def test_metrics_of_all_three_weights_are_side_by_side_and_missing_ones_named() -> None:
    """Guards a figure that is shown without what it should be compared with."""
    own = Measured(weights="exported", tasks={"k-NN": ({"Acc@1": "61.50"}, "9 images of mine")})
    start = Measured(weights="start", tasks={"k-NN": ({"Acc@1": "60.00"}, "9 images of mine")})
    text = card_text(card(measured=[own, Measured(weights="random init"), start]))
    assert "| exported | k-NN | Acc@1 | 61.50 | 9 images of mine |" in text
    assert "| start | k-NN | Acc@1 | 60.00 | 9 images of mine |" in text
    assert "Not evaluated: random init; see `massrl evaluate`." in text
