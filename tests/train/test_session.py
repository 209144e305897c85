"""One session of a run: its loader, its callbacks, its networks, and a loss that is not finite."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.train.conftest import (
    PLAIN_MODEL,
    assert_identical,
    column,
    grey_levels,
    quiet,
    resolved,
    run,
    weights,
)
from torch import nn

from massrl.commands.data import pack_data
from massrl.commands.pretrain import resume
from massrl.commands.views import draw_views
from massrl.config.pretrain import Config
from massrl.data.build import training_source
from massrl.data.sources.cache import CachedSource
from massrl.distributed import World
from massrl.errors import ConfigError, DataError, NonFiniteError, TrainingError
from massrl.methods.base import MethodOutput
from massrl.methods.byol import BYOL
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics
from massrl.train.callbacks.base import Clock
from massrl.train.callbacks.signals import SignalHandler
from massrl.train.checkpoint import load_checkpoint
from massrl.train.initialize import make_method
from massrl.train.session import (
    MainProcess,
    Run,
    _callbacks,
    cache_in_memory,
    check_same_images,
    make_loader,
    make_run_views,
    prepare_networks,
    run_session,
)
from massrl.views.device import execute
from massrl.views.view_maker import ViewMaker


def loaded_batches(config: Config, *, start_step: int = 0, world: World | None = None) -> Any:
    """The pixels and indices of every batch."""
    source = cache_in_memory(training_source(config.data), config)
    loader = make_loader(
        config, source, make_run_views(config), start_step=start_step, world=world or World()
    )
    return [(batch.views, batch.indices.tolist()) for batch in loader]


def assert_same_batches(first: Any, second: Any) -> None:
    assert [indices for _, indices in first] == [indices for _, indices in second]
    assert all(torch.equal(one, other) for (one, _), (other, _) in zip(first, second, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4")  # more than there are cores
def test_batches_are_the_same_from_files_memory_and_shards(tmp_path: Path) -> None:
    """Guards one meaning of an image, from any source and for any number of workers."""
    photos = grey_levels(tmp_path / "photos")
    pack_data({"images": str(photos), "out": str(tmp_path / "set")}, console=quiet())
    files = loaded_batches(resolved(data={"train": str(photos), "cache": "none"}))
    memory = resolved(data={"train": str(photos), "workers": 2})
    assert memory.data.cache == "memory"  # small images
    assert isinstance(cache_in_memory(training_source(memory.data), memory), CachedSource)
    packed = resolved(data={"train": f"{tmp_path}/set-*.tar", "workers": 4})
    assert_same_batches(files, loaded_batches(memory))
    assert_same_batches(files, loaded_batches(packed))
    assert len(files) == 10


def test_views_of_the_device_executor_are_the_same_through_worker_processes() -> None:
    """Guards crops and plans, which the workers send in place of views."""
    batches = [
        loaded_batches(resolved(views={"executor": "device"}, data={"workers": workers}))
        for workers in (0, 1)
    ]
    views = [[(execute(crops), indices) for crops, indices in loaded] for loaded in batches]
    assert_same_batches(*views)


def test_batches_of_a_resumed_session_are_the_rest_and_of_a_process_its_share() -> None:
    """Guards the order of images after a resume, and images that two processes would both see."""
    config = resolved(train={"max_steps": 4, "accumulate": 2})
    whole = loaded_batches(config)
    assert len(whole) == 8
    assert_same_batches(loaded_batches(config, start_step=3), whole[6:])
    shares = [loaded_batches(config, world=World(rank=rank, size=2)) for rank in (0, 1)]
    both = [[*one[1], *other[1]] for one, other in zip(*shares, strict=True)]
    assert both == [indices for _, indices in whole]


def test_processes_with_other_images_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards machines whose folders of one name hold different images, or none."""
    source = training_source(resolved().data)
    check_same_images(World(), source)
    gathered = [(source.fingerprint(), None), ("another", None)]
    monkeypatch.setattr(World, "all_gather_object", lambda self, own: gathered)
    with pytest.raises(DataError, match="shapes.* is not the same for all"):
        check_same_images(World(), source)
    gathered[1] = ("", "/photos does not exist")
    with pytest.raises(DataError, match="process 1: /photos does not exist"):
        check_same_images(World(), source)


def test_networks_of_several_processes_have_synchronised_batch_norm() -> None:
    """Guards statistics of one process's share of the batch."""
    config = resolved()
    for size in (1, 2):
        method = make_method(config, make_run_views(config).layout)
        prepare_networks(method, config, World(size=size))
        kinds = {type(module).__name__ for module in method.modules() if "Norm" in str(module)}
        assert ("AllReduceBatchNorm" in kinds) == (size > 1)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(
    "sections", [{}, {"method": {"name": "simclr"}, "train": {"memory": "streamed"}}]
)
def test_compiled_networks_train_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, dict[str, Any]]
) -> None:
    """Guards ``--train.compile``: it must reach the networks and change neither numbers nor names."""
    compiled: list[type] = []
    original = nn.Module.compile

    def compile_eagerly(self: nn.Module) -> None:
        compiled.append(type(self))
        original(self, backend="eager")  # torch's graph, without machine code

    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    train = {"max_steps": 3, **sections.get("train", {})}
    one = run(tmp_path / "one", **{**sections, "train": train}).folder
    assert compiled == []
    two = run(tmp_path / "two", **{**sections, "train": {**train, "compile": True}}).folder
    assert len(compiled) >= 2
    assert column(two, "loss") == pytest.approx(column(one, "loss"), rel=1e-3)
    assert weights(one).keys() == weights(two).keys()


def make_run(config: Config, *, measure: Any = None, checkpoint: Any = None) -> Run:
    return Run(
        config=config,
        source=training_source(config.data),
        checkpoint=checkpoint,
        world=World(),
        measure=measure,
    )


def make_main(folder: Path) -> MainProcess:
    loggers: Any = SimpleNamespace()
    return MainProcess(folder=RunFolder(folder), loggers=loggers, console=quiet(), title="run")


@pytest.mark.parametrize(
    ("measured", "probe_every", "expected"),
    [(True, 1.0, True), (True, 0.0, False), (False, 1.0, False)],
)
def test_callbacks_measure_before_they_write_and_time_all_of_it(
    tmp_path: Path, measured: bool, probe_every: float, expected: bool
) -> None:
    """Guards the order: a row has this step's probe, a checkpoint has this step's row."""
    run = make_run(
        resolved(train={"probe_every": probe_every}), measure=(lambda _: 50.0) if measured else None
    )

    def names(main: MainProcess | None) -> list[str]:
        return [
            type(item).__name__ for item in _callbacks(run, main, Clock(), SignalHandler(), ["a"])
        ]

    probe = ["Probe"] if expected else []
    first, last = ["SignalHandler"], ["Clock"]
    writers = ["MetricsCallback", "Checkpoints", "ProgressLine", "FinalFiles"]
    assert names(make_main(tmp_path)) == [*first, "CollapseMonitor", *probe, *writers, *last]
    assert names(None) == [*first, *probe, *last]  # a process that writes nothing


def test_session_of_a_completed_run_returns_its_weights(
    finished: tuple[Path, Path],
) -> None:
    """Guards ``--resume`` of a run that was stopped after its last step: the backbone is still saved."""
    checkpoint = load_checkpoint(finished[0] / "checkpoints" / "last.ckpt")
    session, method = run_session(make_run(resolved(), checkpoint=checkpoint), None)
    assert (session.step, session.stopped_by) == (10, None)
    assert session.seconds == checkpoint["seconds"] > 0
    assert_identical(dict(method.state_dict()), checkpoint["method"])


def test_non_finite_loss_saves_what_it_was_computed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against hours of NaN: images and views are saved and shown, and the run can be resumed."""
    original, calls = BYOL.forward_backward, []

    def broken(self: BYOL, *arguments: Any) -> MethodOutput:
        output = original(self, *arguments)
        calls.append(1)
        return output._replace(loss=output.loss * math.nan) if len(calls) == 6 else output

    monkeypatch.setattr(BYOL, "forward_backward", broken)
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"nan at step 5, on the images of indices \[\d+"):
        run(folder, model=PLAIN_MODEL, train={"checkpoint_every": 2})
    assert load_checkpoint(folder / "checkpoints" / "last.ckpt")["step"] == 4
    saved = json.loads((folder / "non_finite.json").read_text(encoding="utf-8"))
    assert (saved["step"], saved["epoch"], saved["loss"]) == (5, 1, "nan")
    assert len(saved["indices"]) == len(saved["plans"]) == 8
    maker = ViewMaker("massrl-4", size=16, seed=0)
    for index, content in zip(saved["indices"], saved["plans"], strict=True):
        assert content.pop("image").endswith(f"[{index}]")
        plan = maker.plan(epoch=1, index=index, height=16, width=16)
        assert content == json.loads(json.dumps(plan.to_json()))
    page = tmp_path / "page.html"
    draw_views({"replay": str(folder), "step": 5, "index": saved["indices"][0], "out": str(page)})
    assert "step 5" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="has made steps 0 to 5"):
        draw_views({"replay": str(folder), "step": 6, "out": str(page)})
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert f"massrl views --replay {folder} --step 5" in log
    assert "--resume" in log.splitlines()[-1]
    resume(folder, console=quiet())
    assert len(read_metrics(folder / "metrics.csv")) == 10


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """Guards the last good checkpoint, and a run whose only step ruins the weights."""
    ruin = {"name": "sgd", "lr": 1e42}
    with pytest.raises(TrainingError, match=r"no longer finite after step 0.*--optim\.lr"):
        run(tmp_path / "run", model=PLAIN_MODEL, optim=ruin, train={"max_steps": 1})
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert not (tmp_path / "run" / "backbone.safetensors").exists()
