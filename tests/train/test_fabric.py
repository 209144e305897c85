"""Fabric's device and precision, and what importing it loads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from massrl.config.pretrain import TrainConfig
from massrl.distributed import World
from massrl.train.fabric import autocast, make_fabric


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_precision_is_that_of_the_configuration(precision: str, dtype: torch.dtype) -> None:
    """Guards ``--train.precision`` against being parsed and ignored."""
    fabric = make_fabric(TrainConfig(accelerator="cpu", precision=precision), World())
    assert fabric.device == torch.device("cpu")
    with autocast(fabric):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"])
def test_empty_rank_is_as_good_as_none(name: str) -> None:
    """Guards ``RANK= massrl pretrain``: Fabric reads a number of it when it is imported, so a new process."""
    code = (
        "from massrl.config.pretrain import TrainConfig; from massrl.distributed import World; "
        "from massrl.train.fabric import make_fabric; "
        "make_fabric(TrainConfig(accelerator='cpu'), World())"
    )
    environment = {**os.environ, name: ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_launchers_variables_do_not_make_fabric_distributed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards a process of torchrun or SLURM against a second process group by Fabric."""
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
        "SLURM_NTASKS": "2",
        "SLURM_JOB_NAME": "job",
        "TORCHELASTIC_RUN_ID": "x",
    }.items():
        monkeypatch.setenv(name, value)
    fabric = make_fabric(TrainConfig(accelerator="cpu", precision="32-true"), World())
    assert fabric.world_size == 1


def test_fabric_is_imported_when_needed_and_hides_torchmetrics_for_the_moment_alone() -> None:
    """Guards start-up seconds, and everyone who imports torchmetrics afterwards."""
    code = (
        "import sys; from massrl.config.pretrain import TrainConfig; "
        "from massrl.distributed import World; from massrl.train.fabric import make_fabric; "
        "assert 'lightning_fabric' not in sys.modules; "
        "make_fabric(TrainConfig(accelerator='cpu', precision='32-true'), World()); "
        "assert 'lightning_fabric' in sys.modules; assert 'torchmetrics' not in sys.modules; "
        "assert 'matplotlib' not in sys.modules and 'scipy' not in sys.modules; "
        "import torchmetrics; assert torchmetrics.__version__; import lightning.pytorch"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_gradients_of_several_views_are_added_in_float32() -> None:
    """Guards against autocast's cache of cast weights, which adds them in half precision."""
    fabric = make_fabric(TrainConfig(accelerator="cpu", precision="bf16-mixed"), World())
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(5, 4, generator=generator) for _ in range(3)]
    weight = torch.randn(3, 4, generator=generator).requires_grad_()

    def loss(view: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(view, weight).float().square().mean()

    each = []
    for view in views:
        with autocast(fabric):
            each.append(torch.autograd.grad(loss(view), weight)[0])
    with autocast(fabric):
        together = torch.autograd.grad(loss(views[0]) + loss(views[1]) + loss(views[2]), weight)[0]
    assert together.dtype == torch.float32
    assert torch.allclose(together, each[0] + each[1] + each[2], rtol=0, atol=1e-7)
    assert torch.is_autocast_cache_enabled()
