"""A BYOL step compared with other libraries; time and memory per view: ``results/step.md``.

    python benchmarks/step.py [--rounds 5]

All do the same work: ResNet-18 with the small stem, projector 512 to 256 and predictor of one hidden
layer, the same batch of normalised views in memory, SGD with momentum, two views; no data loading.
Rounds are interleaved and medians reported, because machines are shared. Libraries that are not installed
are left out; solo-learn gets a stand-in for the module of pl_bolts that it imports and that no longer exists.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import statistics
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from massrl.config.sections import MethodConfig, ModelConfig, PredictorConfig, ProjectorConfig
from massrl.methods.build import build_method
from massrl.runs.environment import detect_hardware, environment_info
from massrl.views.layouts import ViewSpec

RESULTS = Path(__file__).parent / "results" / "step.md"
HIDDEN, OUT = 512, 256
BATCH, SIDE = 32, 32
Step = Callable[[Tensor], None]


def massrl(num_views: int = 2, *, objective: str = "byol", memory: str = "joint") -> Step:
    """Return massrl's step, without the training loop."""
    method = build_method(
        MethodConfig(name=objective),
        ModelConfig(
            backbone="resnet18",
            stem="small",
            projector=ProjectorConfig(hidden=HIDDEN, out=OUT, bias=True),
            predictor=PredictorConfig(hidden=HIDDEN, bias=True),
        ),
        views=[ViewSpec(str(number), number) for number in range(num_views)],
        image_side=SIDE,
        seed=0,
        memory=memory,
    ).train()
    trained = [item for network in method.trainable() for item in network.parameters()]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9, fused=True)

    def step(views: Tensor) -> None:
        method.forward_backward(views, Tensor.backward)
        optimizer.step()
        optimizer.zero_grad()
        method.update_target(0.99)

    return step


def small_resnet18() -> nn.Module:
    """Return a ResNet-18 with the stem for small images and no classifier."""
    from torchvision.models import resnet18

    network = resnet18()
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    network.fc = nn.Identity()
    return network


def lightly() -> Step:
    """Return a step of lightly's building blocks, put together as in its own example."""
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    backbone = small_resnet18()
    projector = BYOLProjectionHead(512, HIDDEN, OUT)
    predictor = BYOLPredictionHead(OUT, HIDDEN, OUT)
    target_backbone, target_projector = copy.deepcopy(backbone), copy.deepcopy(projector)
    deactivate_requires_grad(target_backbone)
    deactivate_requires_grad(target_projector)
    criterion = NegativeCosineSimilarity()
    trained = [item for part in (backbone, projector, predictor) for item in part.parameters()]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9)

    def online(x: Tensor) -> Tensor:
        predicted: Tensor = predictor(projector(backbone(x).flatten(start_dim=1)))
        return predicted

    def target(x: Tensor) -> Tensor:
        projected: Tensor = target_projector(target_backbone(x).flatten(start_dim=1))
        return projected.detach()

    def step(views: Tensor) -> None:
        first, second = views
        update_momentum(backbone, target_backbone, m=0.99)
        update_momentum(projector, target_projector, m=0.99)
        loss = 0.5 * (
            criterion(online(first), target(second)) + criterion(online(second), target(first))
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def solo_learn() -> Step:
    """Return a step of solo-learn's module; its online classifier cannot be left out."""
    import lightning.pytorch

    sys.modules.setdefault("pytorch_lightning", lightning.pytorch)
    for name in ("pl_bolts", "pl_bolts.optimizers", "pl_bolts.optimizers.lr_scheduler"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules[name].LinearWarmupCosineAnnealingLR = object  # type: ignore[attr-defined]
    from solo.methods.byol import BYOL

    method = BYOL(
        proj_output_dim=OUT,
        proj_hidden_dim=HIDDEN,
        pred_hidden_dim=HIDDEN,
        base_tau_momentum=0.99,
        final_tau_momentum=1.0,
        momentum_classifier=False,
        encoder="resnet18",
        num_classes=10,
        backbone_args={"cifar": True, "zero_init_residual": False},
        max_epochs=1,
        batch_size=BATCH,
        optimizer="sgd",
        lars=False,
        lr=0.01,
        weight_decay=0.0,
        classifier_lr=0.01,
        exclude_bias_n_norm=False,
        accumulate_grad_batches=1,
        extra_optimizer_args={"momentum": 0.9},
        scheduler="none",
        min_lr=0.0,
        warmup_start_lr=0.0,
        warmup_epochs=0,
        num_large_crops=2,
        num_small_crops=0,
    ).train()
    trained = [item for item in method.parameters() if item.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9)
    targets = torch.zeros(BATCH, dtype=torch.int64)

    def step(views: Tensor) -> None:
        method.training_step([None, list(views), targets], 0).backward()
        optimizer.step()
        optimizer.zero_grad()
        for pair in method.momentum_pairs:
            method.momentum_updater.update(*pair)

    return step


def measure(steps: dict[str, tuple[Step, Tensor]], *, rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of a step in each of the interleaved rounds."""
    for step, views in steps.values():
        step(views)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, (step, views) in steps.items():
            begin = time.perf_counter()
            step(views)
            times[name].append((time.perf_counter() - begin) * 1000)
    return times


def batch(num_views: int, *, last: bool) -> Tensor:
    """Return normalised views in channels-last memory, as massrl's loader makes them, or contiguous ones."""
    views = torch.randn(num_views, BATCH, 3, SIDE, SIDE)
    return views.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3) if last else views


def memory(num_views: int, objective: str, how: str) -> int:
    """Return the bytes by which peak memory rises over three steps, without the views themselves."""
    command = [sys.executable, __file__, "--memory", json.dumps([num_views, objective, how])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


def rise(num_views: int, objective: str, how: str) -> int:
    """Measure what ``memory`` returns, in a process of its own."""
    step, views = massrl(num_views, objective=objective, memory=how), batch(num_views, last=True)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts from here
    before = _status("VmRSS")
    for _ in range(3):
        step(views)
    return (_status("VmHWM") - before) * 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    if args.memory:
        print(rise(*json.loads(args.memory)))
        return
    two: dict[str, tuple[Step, Tensor]] = {
        "massrl": (massrl(), batch(2, last=True)),
        "massrl, streamed memory": (massrl(memory="streamed"), batch(2, last=True)),
    }
    others: dict[str, tuple[str, Callable[[], Step]]] = {
        "lightly": ("lightly", lightly),
        "solo-learn": ("solo", solo_learn),
    }
    two |= {
        name: (build(), batch(2, last=False))
        for name, (package, build) in others.items()
        if importlib.util.find_spec(package)
    }
    times = measure(two, rounds=args.rounds)
    about = environment_info(detect_hardware("cpu").name)
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    lines = [
        "# Training step",
        "",
        f"`python benchmarks/step.py --rounds {args.rounds}`; commit {about['commit']}; "
        f"{about['hardware']}; {versions}. ResNet-18 with the small stem, batches of {BATCH} images of "
        f"{SIDE} px, already in memory. Medians of {args.rounds} interleaved rounds; ratios are medians "
        "over the rounds.",
        "",
        "## BYOL, two views",
        "",
        "| library | ms per step | min-max | relative to massrl |",
        "|---|---|---|---|",
    ]
    for name, values in times.items():
        ratios = [one / own for one, own in zip(values, times["massrl"], strict=True)]
        lines.append(
            f"| {name} | {statistics.median(values):.1f} | {min(values):.1f}-{max(values):.1f} | "
            f"{statistics.median(ratios):.2f} |"
        )
    lines += ["", "## Time per view, and peak memory of a step, by number of views", ""]
    lines += ["| objective, memory | 2 | 4 | 8 | 16 |", "|---|---|---|---|---|"]
    counts = (2, 4, 8, 16)
    for objective in ("byol", "simclr"):
        for how in ("joint", "streamed"):
            steps = {
                str(count): (
                    massrl(count, objective=objective, memory=how),
                    batch(count, last=True),
                )
                for count in counts
            }
            each = measure(steps, rounds=max(3, args.rounds // 3))
            cells = [f"{statistics.median(each[str(count)]) / count:.1f} ms" for count in counts]
            lines.append(f"| {objective}, {how}: time per view | {' | '.join(cells)} |")
            peaks = [memory(count, objective, how) / 2**20 for count in counts]
            row = [f"{peak:.0f} MiB ({peak / peaks[0]:.2f})" for peak in peaks]
            lines.append(f"| {objective}, {how}: peak memory | {' | '.join(row)} |")
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
