"""Vision transformers of other projects: named by their project, with its own forward pass's features."""

from __future__ import annotations

from functools import partial

import pytest
import timm
import torch
from tests.weights.conftest import Weights, under
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from massrl.errors import CheckpointError
from massrl.models.backbones import build_backbone
from massrl.weights.foreign import take_backbone

LAYER_NORM = partial(nn.LayerNorm, eps=1e-6)


class Transformer(nn.Module):
    """A ViT with DINO's names, whose features are the class token after the last norm."""

    def __init__(self, width: int, heads: int, patch: int, side: int, *, v2: bool) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.2)
        self.pos_embed = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, width) * 0.2)
        if v2:
            self.register_tokens = nn.Parameter(torch.randn(1, 4, width) * 0.2)
            self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        block = partial(Block, width, heads, qkv_bias=True, norm_layer=LAYER_NORM)
        self.blocks = nn.ModuleList(block(init_values=1e-5 if v2 else None) for _ in range(12))
        self.norm = LAYER_NORM(width)
        for name, item in self.named_parameters():
            if name.endswith("gamma"):  # as trained: else no block would have an effect
                nn.init.uniform_(item, 0.5, 1.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token after the last norm."""
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        if hasattr(self, "register_tokens"):
            registers = self.register_tokens.expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


def check_features(weights: Weights, original: nn.Module, *, name: str, side: int) -> None:
    imported = take_backbone(weights, where="file")
    assert (imported.part.backbone, imported.part.image_side) == (name, side)
    network = build_backbone(name, image_side=side)
    network.load_state_dict(imported.state)
    images = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        ours, theirs = network.eval()(images), original.eval()(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_dinos_vit_is_named_by_its_project() -> None:
    """Guards the teacher's ViT against having to be named, and its patches and size."""
    torch.manual_seed(0)
    original = Transformer(192, 3, 16, 96, v2=False)
    student = under("student/module.backbone.", Transformer(192, 3, 16, 96, v2=False).state_dict())
    weights = {**student, **under("teacher/backbone.", original.state_dict())}
    check_features(weights, original, name="vit_tiny_patch16_224", side=96)


@pytest.mark.parametrize("chunked", [False, True])
def test_dinov2s_registers_and_chunks_are_read(chunked: bool) -> None:
    """Guards DINOv2's own files: positions that the class token shares, blocks in FSDP's chunks."""
    torch.manual_seed(0)
    original = Transformer(384, 6, 14, 70, v2=True)
    weights = original.state_dict()
    if chunked:
        weights = {
            key.replace("blocks.", f"blocks.{int(key.split('.')[1]) // 6}.")
            if key.startswith("blocks.")
            else key: item
            for key, item in weights.items()
        }
        weights = under("teacher/backbone.", weights) | {"teacher/dino_head.x": torch.zeros(1)}
    check_features(weights, original, name="vit_small_patch14_reg4_dinov2", side=70)


def test_moco_v3s_small_vit_with_other_heads_is_refused_even_by_name() -> None:
    """Guards 12 heads where timm has 6: every tensor fits, and all features would be others."""
    small = timm.create_model("vit_small_patch16_224", num_classes=0).state_dict()
    weights = {
        **under("state_dict/module.base_encoder.", small),
        "state_dict/module.momentum_encoder.norm.weight": torch.zeros(384),
    }
    for told in (None, "vit_small_patch16_224"):
        with pytest.raises(CheckpointError, match="MoCo v3, whose ViTs of this size"):
            take_backbone(weights, where="file", backbone=told)


def test_vit_of_no_known_project_is_asked_for() -> None:
    """Guards heads and pooling, which no shape tells."""
    weights = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64).state_dict()
    with pytest.raises(CheckpointError, match=r"--model\.backbone"):
        take_backbone(weights, where="file")
    found = take_backbone(weights, where="file", backbone="vit_tiny_patch16_224")
    assert found.part.image_side == 64


def test_parts_that_the_named_network_lacks_are_refused() -> None:
    """Guards layer scale and registers that would be left out: another network has them."""
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32).state_dict()
    for key in ("blocks.0.ls1.gamma", "reg_token", "blocks.12.norm1.weight"):
        with pytest.raises(CheckpointError, match=f"continues with {key}"):
            take_backbone(
                {**plain, key: torch.ones(192)}, where="file", backbone="vit_tiny_patch16_224"
            )
