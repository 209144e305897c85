"""What a backbone of one's own must be able to do, found out before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from massrl.errors import ConfigError
from massrl.models.sizes import ViewSide
from massrl.train.dry_run import check_backbone

HEAD = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 3, 2)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images):
        return self.norm(self.cut(images)).mean((2, 3))
"""

ACCEPTED = {
    "plain": "net = Net",
    "frozen_part": """
def net():
    network = Net()
    network.cut.requires_grad_(False)
    return network
""",
    "unused_part": """
class net(Net):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 2)
""",
    "tied_parameters": """
class net(Net):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.other.weight = self.one.weight

    def forward(self, images):
        return self.other(self.one(super().forward(images)))
""",
    "lazy": """
class net(Net):
    def __init__(self):
        super().__init__()
        self.cut, self.norm = nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d()
""",
    "average_of_all_batches": """
class net(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8, momentum=None)
""",
    "not_contiguous": """
class net(Net):
    def forward(self, images):
        return super().forward(images).T.contiguous().T
""",
    "extra_state_of_tensors": """
class net(Net):
    scale = torch.ones(1)

    def get_extra_state(self):
        return self.scale

    def set_extra_state(self, state):
        self.scale = state
""",
    "function_that_is_no_part_of_the_module": """
class net(Net):
    def __init__(self):
        super().__init__()
        self.act = lambda x: x.relu()

    def forward(self, images):
        return self.act(super().forward(images))
""",
    "buffer_in_training": """
class net(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(8))

    def forward(self, images):
        features = super().forward(images)
        if self.training:
            self.seen += features.detach().mean(0)
        return features + self.seen
""",
    "parametrised": """
def net():
    network = Net()
    nn.utils.parametrizations.weight_norm(network.cut)
    return network
""",
}


REFUSED = {
    "no parameter": (
        "class net(nn.Module):\n    def forward(self, images):\n        return images.mean((2, 3))",
        "has no parameter that requires a gradient",
    ),
    "all frozen": (
        "def net():\n    return Net().requires_grad_(False)",
        "has no parameter that requires a gradient",
    ),
    "extra state": (
        'class net(Net):\n    def get_extra_state(self):\n        return {"a": 1}\n\n'
        "    def set_extra_state(self, state):\n        pass",
        "has the state '_extra_state' of net, a dict, which no weights file can hold",
    ),
    "extra state deep within": (
        "class Scale(nn.Identity):\n    def get_extra_state(self):\n        return 3\n\n"
        "    def set_extra_state(self, state):\n        pass\n\n"
        "class net(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        self.scale = nn.Sequential(Scale())",
        "has the state 'scale.0._extra_state' of Scale, a int",
    ),
    "extra state that raises": (
        "class net(Net):\n    def get_extra_state(self):\n        raise OSError('no')",
        "cannot be saved: state_dict raises: OSError: no, {file}, line 16",
    ),
    "lazy part that is never used": (
        "class net(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        self.head = nn.LazyLinear(3)",
        "has a lazy parameter that no forward pass initialises: head.weight",
    ),
    "not finite": (
        "class net(Net):\n    def forward(self, images):\n"
        "        return super().forward(images).abs().neg().log()",
        "gives features that are not finite",
    ),
    "noise": (
        "class net(Net):\n    def forward(self, images):\n"
        "        return nn.functional.dropout(super().forward(images), 0.5)",
        "gives other features for the same images",
    ),
    "counter": (
        "class net(Net):\n    calls = 0\n\n    def forward(self, images):\n        self.calls += 1\n"
        "        return super().forward(images) + self.calls",
        "gives other features for the same images",
    ),
    "no copy": (
        "class net(Net):\n    def __deepcopy__(self, memo):\n        raise RuntimeError('only one of me')",
        "a target network (copy.deepcopy): RuntimeError: only one of me, {file}, line 16",
    ),
    "no copy, for a tensor that was computed": (
        "class net(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        self.scale = self.cut.weight.sum() * 0 + 1",
        "cannot be copied for a target network",
    ),
    "tuple in training alone": (
        "class net(Net):\n    def forward(self, images):\n        features = super().forward(images)\n"
        "        return (features, features) if self.training else features",
        "gives a tuple of 2, but a tensor of pooled features (4, D) is wanted, in training",
    ),
    "error in training alone": (
        "class net(Net):\n    def forward(self, images):\n        if self.training:\n"
        "            self.queue[0]\n        return super().forward(images)",
        "fails in training: AttributeError: 'net' object has no attribute 'queue', {file}, line 17",
    ),
    "no gradient": (
        "class net(Net):\n    @torch.no_grad()\n    def forward(self, images):\n"
        "        return super().forward(images)",
        "through which no gradient flows back",
    ),
    "in-place operation": (
        "class net(Net):\n    def forward(self, images):\n        features = super().forward(images).exp()\n"
        "        features += 1\n        return features",
        "fails in the backward pass: RuntimeError",
    ),
    "graph of the step before": (
        "class net(Net):\n    last = 0\n\n    def forward(self, images):\n"
        "        features = super().forward(images)\n        if self.training:\n"
        "            features = features + self.last\n            self.last = features\n"
        "        return features",
        "fails in the backward pass: RuntimeError: Trying to backward through the graph a second time",
    ),
    "state that grows": (
        "class net(Net):\n    def __init__(self):\n        super().__init__()\n"
        '        self.register_buffer("queue", torch.zeros(0, 8))\n\n'
        "    def forward(self, images):\n        features = super().forward(images)\n"
        "        if self.training:\n            self.queue = torch.cat([self.queue, features.detach()])\n"
        "        return features",
        "changes the form of its state in training: 'queue' was torch.float32 (0, 8) and is torch.float32 "
        "(8, 8)",
    ),
    "state that appears": (
        "class net(Net):\n    def forward(self, images):\n        if self.training:\n"
        '            self.register_buffer("late", torch.ones(1))\n        return super().forward(images)',
        "'late' was none and is torch.float32 (1,)",
    ),
    "weights that are in no state": (
        "class net(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        self.matrix = torch.randn(8, 8)\n\n    def forward(self, images):\n"
        "        return super().forward(images) @ self.matrix",
        "something it computes with is not in its state_dict",
    ),
    "statistics that are in no state": (
        "class net(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        self.mean = 0.0\n\n    def forward(self, images):\n"
        "        features = super().forward(images)\n        if self.training:\n"
        "            self.mean = self.mean + 3.0\n        return features - self.mean",
        "something it computes with is not in its state_dict",
    ),
    "another network at each call": (
        "depths = iter(range(1, 9))\n\nclass net(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        self.more = nn.ModuleList(nn.Linear(8, 8) for _ in range(next(depths)))",
        "cannot be loaded into a second one that the function returns",
    ),
    "float64": (
        "class net(Net):\n    def forward(self, images):\n        return super().forward(images).double()",
        "gives features of torch.float64",
    ),
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder that no other test has imported."""
    monkeypatch.chdir(tmp_path)
    return f"own_{abs(hash(tmp_path)):x}"


def check(module: str, text: str, *sides: ViewSide) -> None:
    Path(f"{module}.py").write_text(f"{HEAD}\n{text}\n", encoding="utf-8")
    check_backbone(f"{module}:net", stem="auto", sides=sides or [ViewSide(16)])


@pytest.mark.parametrize("name", ACCEPTED)
def test_network_that_trains_and_is_saved_is_accepted(name: str, module: str) -> None:
    """Guards against refusing what works: partly frozen or unused, tied, lazy, with buffers of its own.

    A network that cannot be pickled is accepted too: processes build their own, and no file has a pickle.
    """
    before = torch.get_rng_state()
    check(module, ACCEPTED[name])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", REFUSED)
def test_network_that_a_run_could_not_use_to_its_end_is_refused(name: str, module: str) -> None:
    """Guards "fails after the last step, and no backbone is written"; lines are counted by hand.

    The kind: whatever training, the target network, saving or evaluation would meet later.
    """
    text, told = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        check(module, text)
    assert told.format(file=f"{module}.py") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "--model.backbone" in str(caught.value)


def test_network_is_trained_on_views_of_every_size(module: str) -> None:
    """Guards local crops: a network for one size is refused with the flag, not at the first step."""
    fixed = "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))"
    check(module, fixed)
    small = ViewSide(8, "--views.local_size", lambda side: f"{side / 16:g}")
    check(f"{module}_1", "net = Net", ViewSide(16), small)
    with pytest.raises(ConfigError, match=r"fails on images of 8 px.*--views\.local_size"):
        check(f"{module}_2", fixed, ViewSide(16), small)


def test_named_network_is_checked_for_its_sizes_alone() -> None:
    """Guards start-up: nothing is trained, and a ResNet is not even built."""
    check_backbone("resnet152", stem="auto", sides=[ViewSide(224), ViewSide(96)])
    with pytest.raises(ConfigError, match="would not see the last 4"):
        check_backbone("vit_tiny_patch16_224", stem="auto", sides=[ViewSide(20)])
