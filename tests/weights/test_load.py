"""Loading backbones: from runs, files of any project, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import ABOUT
from tests.weights.conftest import trained
from torch import nn

from massrl.config.files import read_layers
from massrl.config.foreign import ForeignConfig
from massrl.config.parser import make_config
from massrl.errors import CheckpointError, ConfigError, MassrlError
from massrl.runs.folder import RunFolder
from massrl.weights.backbone_file import backbone_about, load_backbone_file, save_backbone
from massrl.weights.load import foreign_backbone, load_backbone, random_backbone, save_trained

PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_loaded_backbone_has_the_weights_of_its_file_and_says_how_images_are_prepared(
    tmp_path: Path,
) -> None:
    """Guards the public function: eval mode, the file's weights, the description as attributes."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    network: Any = load_backbone(path)
    state, about = load_backbone_file(path)
    assert not network.training
    assert all(torch.equal(item, state[name]) for name, item in network.state_dict().items())
    assert network.about == {**about, "num_features": 128}
    with torch.inference_mode():
        assert network(PIXELS).shape == (2, 128)


def test_random_init_gives_the_weights_that_training_started_from(tmp_path: Path) -> None:
    """Guards the baseline of every comparison: the run's own seed, and nothing of its training."""
    path = trained(tmp_path, "resnet10-tiny", "small", seed=7)
    start = load_backbone(path, random_init=True).state_dict()
    expected = random_backbone({**ABOUT, "seed": 7}).state_dict()
    assert all(torch.equal(start[name], expected[name]) for name in expected)
    other = random_backbone({**ABOUT, "seed": 8}).state_dict()
    assert not torch.equal(start["conv1.weight"], other["conv1.weight"])
    trained_state = load_backbone(path).state_dict()
    assert not torch.equal(start["bn1.running_mean"], trained_state["bn1.running_mean"])


def test_random_init_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    """Guards a script's own seed against a baseline that is loaded in its middle."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_backbone(ABOUT)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("value", [True, False])
def test_former_name_of_random_init_is_refused_with_the_new_one(value: bool) -> None:
    """Guards scripts of version 0.1: trained weights must not take the place of random ones."""
    with pytest.raises(ConfigError, match="untrained.*random_init"):
        load_backbone("torchvision:resnet18", untrained=value)


def test_folder_without_a_run_or_its_weights_is_refused_with_the_way_on(tmp_path: Path) -> None:
    """Guards a folder of photographs, or of a run that was stopped, against a traceback."""
    trained(tmp_path, "resnet10-tiny", "small")
    with pytest.raises(CheckpointError, match=r"has no config\.yaml \(BACKBONE\)"):
        load_backbone(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    assert load_backbone(tmp_path).about["backbone"] == "resnet10-tiny"
    (tmp_path / "backbone.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no backbone\.safetensors yet.*--resume"):
        load_backbone(tmp_path)


def test_file_that_is_missing_or_of_another_network_is_refused_in_one_line(tmp_path: Path) -> None:
    """Guards against a list of torch's hundred missing keys."""
    with pytest.raises(CheckpointError, match="there is no backbone"):
        load_backbone(tmp_path / "nothing.safetensors")
    state = random_backbone(ABOUT).state_dict()
    path = tmp_path / "x.safetensors"
    save_backbone(path, state, about={**ABOUT, "backbone": "resnet10-narrow"})
    with pytest.raises(CheckpointError, match="does not fit resnet10-narrow") as caught:
        load_backbone(path)
    assert "\n" not in str(caught.value)


def test_file_that_names_code_is_not_followed_unless_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards "loading never runs code from a file"; a run folder's configuration is the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_backbone.py").write_text(
        "import pathlib\n"
        "from massrl.models.backbones import build_backbone\n"
        "pathlib.Path('ran').touch()\n"
        "def net():\n    return build_backbone('resnet10-tiny', stem='small', image_side=32)\n"
    )
    state = random_backbone(ABOUT).state_dict()
    path = tmp_path / "backbone.safetensors"
    about = {**ABOUT, "backbone": "my_backbone:net", "stem": "standard"}
    save_backbone(path, state, about=about)
    with pytest.raises(CheckpointError, match=r"my_backbone:net.*trust=True"):
        load_backbone(path)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "config.yaml").write_text("")
    for allowed in (load_backbone(path, trust=True), load_backbone(tmp_path)):
        assert torch.equal(allowed.state_dict()["conv1.weight"], state["conv1.weight"])
    assert (tmp_path / "ran").exists()


def test_checkpoint_of_another_project_is_loaded_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards images prepared by assumption: the size and the way to change it are logged."""
    caplog.set_level("INFO")
    network = random_backbone({**ABOUT, "seed": 3})
    weights = {f"encoder.{name}": item for name, item in network.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "theirs.ckpt")
    loaded: Any = load_backbone(tmp_path / "theirs.ckpt", model={"stem": "small"})
    with torch.inference_mode():
        assert torch.equal(loaded(PIXELS), network.eval()(PIXELS))
    assert (loaded.about["size"], loaded.about["source"]) == (32, "theirs.ckpt")
    assert loaded.about["mean"] == [0.485, 0.456, 0.406]
    assert loaded.about["std"] == [0.229, 0.224, 0.225]
    assert "--model.size, --model.mean, --model.std does not say otherwise" in caplog.text
    assert "imported  state_dict/encoder: resnet10-tiny, small stem" in caplog.text


def test_foreign_backbone_is_described_as_it_is_told(tmp_path: Path) -> None:
    """Guards ``--model.size --model.mean --model.std`` against the defaults."""
    state = random_backbone({**ABOUT, "backbone": "resnet18", "stem": "small"}).state_dict()
    save_file({name: item.contiguous() for name, item in state.items()}, tmp_path / "x.safetensors")
    _, about = foreign_backbone(
        tmp_path / "x.safetensors",
        ForeignConfig(stem="small-pad2", size=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
    )
    told = {"stem": "small-pad2", "size": 64, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    assert {key: about[key] for key in told} == told
    assert about["step"] is None


def test_saved_backbone_of_a_run_is_described_by_its_configuration(tmp_path: Path) -> None:
    """Guards the file that a run leaves: without the run's folder it must still be usable."""
    config = make_config(
        read_layers("shapes-massrl"),
        {
            "model": {"backbone": "resnet10-tiny", "stem": "small"},
            "data": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
            "train": {"seed": 4},
        },
    )
    network: nn.Module = random_backbone(ABOUT)
    save_trained(tmp_path / "b.safetensors", network, config=config, step=9)
    assert backbone_about(tmp_path / "b.safetensors") == {
        "backbone": "resnet10-tiny",
        "stem": "small",
        "size": config.views.size,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "seed": 4,
        "recipe": config.recipe,
        "step": 9,
    }


def test_unfinished_run_is_refused_with_the_command_that_completes_it(tmp_path: Path) -> None:
    """Guards evaluating a killed run, whose weights are in its checkpoint alone."""
    folder = RunFolder(tmp_path / "my run")
    folder.checkpoint.parent.mkdir(parents=True)
    folder.checkpoint.write_bytes(b"")
    folder.config.write_text("{}")
    with pytest.raises(CheckpointError, match="--resume '.*my run' completes it"):
        load_backbone(folder.path)


VIT = "vit_tiny_patch16_224"


def test_vision_transformer_takes_other_sizes_when_loaded_and_gives_plain_timms_features(
    tmp_path: Path,
) -> None:
    """Guards new files in timm, and ``load_backbone`` at another size than the run's."""
    path = trained(tmp_path, VIT, "standard", size=32)
    network = load_backbone(path)
    plain = timm.create_model(VIT, num_classes=0, img_size=32).eval()
    plain.load_state_dict(load_file(path), strict=True)
    with torch.inference_mode():
        assert torch.equal(network(PIXELS), plain(PIXELS))
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 192)


def test_older_file_for_a_side_that_is_no_multiple_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards files of version 0.1.0: the same features as then, and the pixels that they do not see."""
    torch.manual_seed(0)
    plain = timm.create_model(VIT, num_classes=0, img_size=40).eval()
    path = tmp_path / "old.safetensors"
    save_backbone(
        path, plain.state_dict(), about={**ABOUT, "backbone": VIT, "stem": "standard", "size": 40}
    )
    images = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(load_backbone(path)(images), plain(images))
    assert "40 px, in patches of 16 px: it does not see the last 8 rows" in caplog.text


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (64, "holds vit_tiny_patch16_224 for images of 224 px, not of 64: --model.size 224"),
        (100, "would not see the last 4; --model.size 96 or 112 are accepted"),
    ],
)
def test_size_that_foreign_weights_are_not_for_is_refused(
    tmp_path: Path, size: int, told: str
) -> None:
    """Guards "does not have all tensors under any prefix", which is no help against a wrong size."""
    state = timm.create_model(VIT, num_classes=0).state_dict()
    save_file(state, tmp_path / "theirs.safetensors")
    with pytest.raises(MassrlError, match=told):
        foreign_backbone(tmp_path / "theirs.safetensors", ForeignConfig(backbone=VIT, size=size))
