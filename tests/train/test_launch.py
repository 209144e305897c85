"""Several processes of one run: they are one process with all of the batch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from tests.conftest import photos
from tests.methods.test_methods import images, small
from tests.train.conftest import quiet, run, tiny
from tests.train.test_resume import assert_identical, weights
from torch import nn

from massrl.commands.pretrain import pretrain, resume
from massrl.config.files import load_config, read_layers
from massrl.config.layers import plain
from massrl.config.parser import make_config
from massrl.config.pretrain import TrainConfig
from massrl.data.loader import ViewBatch
from massrl.data.source import IMAGENET_NORMALIZATION
from massrl.distributed import World
from massrl.errors import ConfigError, MassrlError, TrainingError
from massrl.methods.base import MethodOutput
from massrl.models.batch_norm import synchronise_batch_norm
from massrl.optim.schedules import Schedule
from massrl.runs.metrics import read_metrics
from massrl.train.launch import end_with, fresh_store, process_group
from massrl.train.launchers import launched_place, place_of
from massrl.train.step import TrainingStep
from massrl.views.layouts import ViewSpec

GENTLE = {"name": "sgd", "lr": 0.1}  # so that rounding does not grow from step to step
TWO = {"devices": 2}
MASSRL = [sys.executable, "-m", "massrl"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def figures(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in read_metrics(folder / "metrics.csv")]


# ---------------------------------------------------------------- the same run


CASES = {
    "byol": ("byol", {}),
    "byol streamed": ("byol", {"memory": "streamed"}),
    "byol, joint statistics, summed": ("byol", {"batch_norm": "joint", "reduction": "sum"}),
    "simclr": ("simclr", {}),
    "simclr streamed": ("simclr", {"memory": "streamed"}),
    "simclr, pairs of strategies": ("simclr", {"pairs": "cross-policy"}),
}
SHARES = (3, 5)  # images of each process


def learnt(case: str, images: torch.Tensor, *, place: World) -> dict[str, torch.Tensor]:
    """Loss, gradients and statistics, in 64 bits, of this process's share of the images."""
    objective, changes = CASES[case]
    method = small(objective, [ViewSpec(name, 0) for name in "aab"], **changes).double()
    if place.size > 1:
        synchronise_batch_norm(method, gpu=False)
    weight = images.shape[1] * place.size / sum(SHARES)
    output = method.forward_backward(images, lambda loss: (loss * weight).backward())
    place.average_gradients(method.parameters())
    left = {name: item.grad for name, item in method.named_parameters() if item.grad is not None}
    return {**left, **dict(method.named_buffers()), "loss": place.mean(output.loss * weight)}


def share_of(rank: int) -> slice:
    begin = sum(SHARES[:rank])
    return slice(begin, begin + SHARES[rank])


def work(rank: int, folder: Path) -> None:
    """What each of two processes does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    place = World(rank=rank, size=2, local_rank=rank, local_size=2)
    x = images(num_views=3, batch=8).double()[:, share_of(rank)]
    for case in CASES:
        torch.save(learnt(case, x, place=place), folder / f"{case} {rank}.pt")
    dist.destroy_process_group()


def test_gradients_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    """Guards loss, negatives, weights and batch norm over processes: in 64 bits nothing else is left."""
    torch.multiprocessing.spawn(work, (tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
    for case in CASES:
        expected = learnt(case, images(num_views=3, batch=8).double(), place=World())
        for rank in (0, 1):
            ours = torch.load(tmp_path / f"{case} {rank}.pt")
            assert ours.keys() == expected.keys()
            for name, tensor in expected.items():
                apart = (ours[name].double() - tensor.double()).abs().max()
                assert apart <= 1e-5 * tensor.double().abs().max() + 1e-7, (case, name)


@pytest.mark.parametrize(
    "sections",
    [
        {"method": {"name": "byol"}},
        {"method": {"name": "simclr"}, "train": {"memory": "streamed", "accumulate": 2}},
    ],
)
def test_two_processes_are_one_with_the_whole_batch(
    tmp_path: Path, sections: dict[str, dict[str, Any]]
) -> None:
    """Guards the run around them: equal to rounding at first, which six steps of 32 bits let grow."""
    train = {"max_steps": 6, "probe_every": 1, **sections.get("train", {})}
    sections = {**sections, "optim": GENTLE, "data": {"batch_size": 16}}
    one = run(tmp_path / "one", **{**sections, "train": train}).folder
    two = run(tmp_path / "two", **{**sections, "train": {**train, **TWO}}).folder
    assert figures(two, "loss")[0] == pytest.approx(figures(one, "loss")[0], rel=1e-5)
    assert figures(two, "loss") == pytest.approx(figures(one, "loss"), rel=0.05)
    for row, other in zip(
        *(read_metrics(folder / "metrics.csv") for folder in (one, two)), strict=True
    ):
        assert (row["lr"], row["tau"]) == (other["lr"], other["tau"])
        assert (row["knn"] == "") == (other["knn"] == "")
    log = (two / "log.txt").read_text(encoding="utf-8")
    assert "2 devices" in log
    assert "batch norm synchronised over 2 processes" in log


def test_images_that_are_skipped_do_not_weigh(tmp_path: Path) -> None:
    """Guards a mean of means: with 3 images in one process and 4 in the other, all weigh the same."""
    folder = photos(tmp_path / "photos", "a", count=8)
    (folder / "a" / "5.png").write_bytes(b"no picture")
    sections = {
        "data": {"train": str(folder), "batch_size": 8, "on_error": "skip"},
        "optim": GENTLE,
        "train": {"max_steps": 3},
    }
    for objective in ("byol", "simclr"):
        method = {"name": objective}
        one = run(tmp_path / f"{objective}-1", **sections, method=method)
        both = {**sections, "train": {"max_steps": 3, **TWO}}
        two = run(tmp_path / f"{objective}-2", **both, method=method)
        assert figures(two.folder, "loss") == pytest.approx(figures(one.folder, "loss"), rel=1e-2)
        assert list(two.session.skipped) == list(one.session.skipped) != []


# ---------------------------------------------------------------- together or not at all


def test_broken_image_of_another_process_stops_the_run_with_its_name(tmp_path: Path) -> None:
    """Guards against one process that waits for ever for another that has given up."""
    folder = photos(tmp_path / "photos", "a", count=8)
    (folder / "a" / "3.png").write_bytes(b"no picture")
    data = {"train": str(folder), "batch_size": 8}
    begin = time.monotonic()
    with pytest.raises(MassrlError, match=r"3\.png.*--data.on_error skip"):
        run(tmp_path / "run", data=data, train={"max_steps": 3, **TWO})
    assert time.monotonic() - begin < 60


def test_error_of_another_process_alone_is_told(tmp_path: Path) -> None:
    """Guards the cause: an image that only one process looked at, outside the step."""
    photos(tmp_path / "photos", "a", "b", count=8)
    val = photos(tmp_path / "val", "a", "b", count=2)
    (val / "a" / "1.png").write_bytes(b"no picture")  # the second image is the second process's
    data = {"train": str(tmp_path / "photos"), "val": str(val), "batch_size": 8}
    with pytest.raises(TrainingError, match=r"process 1: .*a/1\.png: .*--data.on_error skip"):
        run(tmp_path / "run", data=data, train={"max_steps": 4, "probe_every": 1, **TWO})
    assert "no checkpoint was saved yet" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_seconds_are_planned_by_the_one_that_leads_alone(tmp_path: Path, objective: str) -> None:
    """Guards against a leader that times a step which others would have to take part in."""
    train = {"time_budget": 1.0, "max_steps": None, **TWO}
    folder = run(tmp_path / "run", method={"name": objective}, train=train).folder
    assert read_metrics(folder / "metrics.csv")


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Guards against orphans: the one that leads is ended before they are connected."""
    words = arguments(tmp_path / "run", train={"max_steps": 400, **TWO})
    process = subprocess.Popen([*MASSRL, *words], stderr=subprocess.DEVNULL)

    def children() -> list[str]:
        found = subprocess.run(
            ["pgrep", "-f", "massrl join cpu"], capture_output=True, text=True, check=False
        )
        mine = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
        )
        return sorted({*found.stdout.split()} & {*mine.stdout.split(), *known})

    known: list[str] = []
    deadline = time.monotonic() + 60
    while not known:
        assert time.monotonic() < deadline
        known = children()
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while children():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_random_layers_of_two_processes_draw_different_numbers(tmp_path: Path) -> None:
    """Guards dropout: equal masks on every device would be half the noise that was asked for."""

    class SampleKey(World):
        def exchange(self, values: Any) -> torch.Tensor:
            return torch.tensor([values, values], dtype=torch.float64)

        def mean(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor

    class Drawing(nn.Linear):
        def trainable(self) -> list[nn.Module]:
            return [self]

        def forward_backward(self, views: Any, backward: Any) -> MethodOutput:
            drawn.append(float(torch.rand(())))
            return MethodOutput(torch.zeros(()), torch.zeros(1, 1), views[0], views[0])

    drawn: list[float] = []
    config = make_config(tiny(tmp_path))
    schedule = Schedule(peak_lr=1.0, warmup_steps=0, total_steps=1, target_momentum=0.9)
    batch = ViewBatch(torch.zeros(4, 2, 16, 16, 3, dtype=torch.uint8), torch.arange(2), [])
    for rank in (0, 1, 0):
        step = TrainingStep(
            Drawing(1, 1),  # type: ignore[arg-type]
            config=config,
            schedule=schedule,
            normalization=IMAGENET_NORMALIZATION,
            world=SampleKey(rank=rank, size=2),
        )
        step._add_gradients(batch, 0)
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]


def test_process_that_dies_ends_the_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against hanging: the others' connection is lost, and the last checkpoint is kept."""
    started: list[subprocess.Popen[bytes]] = []
    original = subprocess.Popen

    def watched(*arguments: Any, **settings: Any) -> Any:
        started.append(original(*arguments, **settings))
        return started[-1]

    step = TrainingStep.__call__

    def killing(self: TrainingStep, *arguments: Any) -> None:
        step(self, *arguments)
        if self.step == 3:
            started[0].kill()

    monkeypatch.setattr("massrl.train.launch.subprocess.Popen", watched)
    monkeypatch.setattr(TrainingStep, "__call__", killing)
    with pytest.raises(TrainingError, match="another process of the run has ended"):
        run(tmp_path / "run", train={"checkpoint_every": 2, "max_steps": 6, **TWO})
    monkeypatch.undo()
    assert weights(tmp_path / "run")
    resume(tmp_path / "run", console=quiet())
    whole = run(tmp_path / "whole", train={"max_steps": 6, **TWO}).folder
    assert_identical(weights(whole), weights(tmp_path / "run"))


@pytest.mark.parametrize(("code", "ends"), [(1, True), (-9, True), (0, False), (None, False)])
def test_process_that_waits_in_vain_is_ended(
    monkeypatch: pytest.MonkeyPatch, code: int | None, ends: bool
) -> None:
    """Guards GPUs, which wait for a dead process where no error reaches them; and runs that end well."""
    left: list[int] = []
    ended = Event()

    class Other:
        returncode = code

        def poll(self) -> int | None:
            if code in (0, None) and waits.count > 3:  # type: ignore[attr-defined]
                ended.set()
            return code

    def waits(seconds: float) -> bool:
        waits.count += 1  # type: ignore[attr-defined]
        return bool(left) or ended.is_set()

    waits.count = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(ended, "wait", waits)
    monkeypatch.setattr("massrl.train.launch.os._exit", left.append)
    end_with([Other()], ended)  # type: ignore[list-item]
    assert left == ([2] if ends else [])


def test_signal_to_the_one_that_leads_stops_all_after_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards stop and resume over processes: bit for bit what one sitting gives."""
    step = TrainingStep.__call__

    def signalled(self: TrainingStep, *arguments: Any) -> None:
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", signalled)
        cut = run(tmp_path / "cut", train={"max_steps": 6, **TWO})
    assert cut.session.stopped_by == "SIGTERM"
    assert 2 < cut.session.step < 6
    resume(tmp_path / "cut", console=quiet())
    whole = run(tmp_path / "whole", train={"max_steps": 6, **TWO}).folder
    assert_identical(weights(whole), weights(tmp_path / "cut"))


def test_run_goes_on_with_another_number_of_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards devices as what may change: the batch is global, and so is what is learnt."""
    sections = {"optim": GENTLE, "data": {"batch_size": 16}}
    step = TrainingStep.__call__

    def signalled(self: TrainingStep, *arguments: Any) -> None:
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, *arguments)

    whole = run(tmp_path / "whole", **sections, train={"max_steps": 6}).folder
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", signalled)
        cut = run(tmp_path / "cut", **sections, train={"max_steps": 6})
    assert cut.session.step == 4
    before = load_config(cut.folder / "config.yaml").to_dict()
    after = make_config({**before, "train": {**before["train"], "devices": 2}})
    resume(cut.folder, after, console=quiet())
    assert load_config(cut.folder / "config.yaml").train.devices == 2
    assert figures(cut.folder, "loss") == pytest.approx(figures(whole, "loss"), rel=0.02)


# ---------------------------------------------------------------- launchers


def arguments(out: Path, **sections: dict[str, Any]) -> list[str]:
    """The command line of a tiny run."""
    content = plain(tiny(out, **sections))
    words = ["pretrain", "--out", str(out)]
    for section, fields in content.items():
        if section == "out":
            continue
        for name, value in fields.items():
            inner = value.items() if isinstance(value, dict) else [(None, value)]
            for key, item in inner:
                flag = ".".join(filter(None, (section, name, key)))
                words += [f"--{flag}", str(item)]
    return words


def test_torchrun_starts_again_what_was_killed_and_the_run_goes_on(tmp_path: Path) -> None:
    """Guards long jobs: one process killed, all restarted, the weights of a run that nothing happened to."""
    out = tmp_path / "run"
    train = {"checkpoint_every": 2, "max_steps": 24}
    command = [
        *TORCHRUN,
        *("--max-restarts", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),
        *("-m", "massrl", *arguments(out, train=train)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    log = (out / "log.txt").read_text(encoding="utf-8")
    assert "resuming from step" in log
    whole = run(tmp_path / "whole", train={**train, **TWO}).folder
    assert_identical(weights(whole), weights(out))


def test_two_hosts_are_one_run_by_the_script_for_them(tmp_path: Path) -> None:
    """Guards ``scripts/two_hosts.sh``: two launchers, each with a process of its own, over the network."""
    script = Path(__file__).parents[2] / "scripts" / "two_hosts.sh"
    out = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = arguments(out, train={"max_steps": 4})[3:]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "DATA": "shapes(count=40,size=16)",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "OUT": str(out),
        "DEVICES": "1",
        "RECIPE": "shapes-byol",
    }
    hosts = [
        subprocess.Popen(
            ["bash", str(script), *flags],
            env={**environment, "NODE": str(node)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (0, 1)
    ]
    said = [host.communicate(timeout=240)[1] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], said
    kept = load_config(out / "config.yaml").train
    assert (kept.devices, kept.nodes) == (1, 2)
    changes = tiny(tmp_path / "one", train={"max_steps": 4})
    config = make_config(read_layers("shapes-byol"), changes)
    one = pretrain(config, console=quiet()).folder
    assert figures(out, "loss")[0] == pytest.approx(figures(one, "loss")[0], rel=1e-4)


def test_job_whose_time_is_up_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    """Guards SLURM's signal: saved, exit 0, one ``scontrol requeue``, and the same weights in the end."""
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    out = tmp_path / "run"
    train = {"max_steps": 60}
    data = {"workers": 1}  # its process is signalled too
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "OMP_NUM_THREADS": "1",
    }
    command = [*MASSRL, *arguments(out, train=train, data=data)]
    first = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(read_metrics(out / "metrics.csv")) < 1:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGUSR1)
    assert first.wait(120) == 0
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    again = {**environment, "SLURM_RESTART_COUNT": "1"}
    assert subprocess.run(command, env=again, check=False).returncode == 0
    assert "resuming from step" in (out / "log.txt").read_text(encoding="utf-8")
    whole = run(tmp_path / "whole", train=train).folder
    assert_identical(weights(whole), weights(out))


def test_processes_of_an_earlier_attempt_leave_nothing_behind() -> None:
    """Guards restarts: torchrun keeps its store, and with it the addresses of processes that are dead."""
    store = dist.HashStore()
    seen: list[str] = []
    for attempt in range(3):
        parts: dict[int, Any] = {}

        def join(rank: int, parts: dict[int, Any] = parts) -> None:
            parts[rank] = fresh_store(store, World(rank=rank, size=3))

        # The one that leads is first, and finds what the others of the last attempt have left.
        threads = [Thread(target=join, args=(rank,)) for rank in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join(20)
        assert len(parts) == 3
        assert not parts[0].check(["address"])
        parts[1].set("address", str(attempt))
        assert {part.get("address").decode() for part in parts.values()} == {str(attempt)}
        seen.append(parts[2].get("address").decode())
    assert seen == ["0", "1", "2"]


def test_place_is_read_from_the_launchers_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards ranks over two machines, under torchrun and under SLURM."""
    assert launched_place({}) is None
    torchrun = {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
    }
    place = launched_place({**torchrun, "HOME": "/root"})
    assert place == torchrun
    here = place_of(place)
    assert (here.rank, here.size, here.local_rank, here.local_size, here.nodes) == (5, 8, 1, 4, 2)
    assert not here.is_main
    slurm = {
        "SLURM_PROCID": "5",
        "SLURM_NTASKS": "8",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_LOCALID": "1",
        "SLURM_NNODES": "2",
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "massrl",
        "SLURM_NODELIST": "node[3-4]",
        "SLURM_NODEID": "1",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    place = launched_place()
    assert place is not None
    assert place_of(place) == here
    assert place["MASTER_ADDR"] == "node3"
    assert int(place["MASTER_PORT"]) > 1024
    monkeypatch.setenv("PATH", "")  # Lightning warns where there is a srun, and none was used
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")  # a shell on a node, and no job of many tasks
    assert launched_place() is None


def test_numbers_that_do_not_fit_the_launcher_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a run on other devices than its owner believes."""
    with (
        pytest.raises(ConfigError, match="--train.nodes is 2, but this process was started alone"),
        process_group(TrainConfig(nodes=2), gpu=False),
    ):
        pass
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(ConfigError, match="--train.devices is 8, but this machine has 1 GPUs"),
        process_group(TrainConfig(devices=8), gpu=True),
    ):
        pass
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match="--train.devices is 4, but the launcher has started .* 2"),
        process_group(TrainConfig(devices=4), gpu=False),
    ):
        pass


def test_shared_images_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards machines whose folders of one name hold different images."""
    monkeypatch.setattr(World, "all_gather_object", lambda self, own: [own, ("another", None)])
    with pytest.raises(MassrlError, match="not the same for all"):
        run(tmp_path / "run")


def test_images_of_one_colour_are_read_by_all(tmp_path: Path) -> None:
    """Guards packed and cached sources in processes that were started by name alone."""
    (tmp_path / "photos").mkdir()
    for number in range(8):
        cv2.imwrite(
            str(tmp_path / "photos" / f"{number}.png"), np.full((9, 9, 3), number * 20, np.uint8)
        )
    data = {"train": str(tmp_path / "photos"), "batch_size": 4, "cache": "memory", "workers": 1}
    result = run(tmp_path / "run", data=data, train={"max_steps": 2, **TWO})
    assert result.session.step == 2
