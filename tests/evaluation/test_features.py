"""Features: every image once, in order, and the backbone left as it was."""

from __future__ import annotations

import copy
import threading
import time

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor, nn

from massrl.data.source import Normalization, Source
from massrl.errors import DataError, ImageError, TrainingError
from massrl.evaluation.features import evaluation_view, extract_features


class FakeSource(Source):
    """Images in memory; image i is filled with the number i unless given."""

    def __init__(self, images: list[np.ndarray | bytes], labels: np.ndarray | None = None) -> None:
        self.name = "fake"
        self.class_names = ()
        self.labels = labels
        self.normalization = Normalization(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 0.125))
        self.images = images
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> bytes | np.ndarray:
        """Later images of a batch come back sooner, so that threads finish out of order."""
        self.threads.add(threading.current_thread().name)
        time.sleep(0.001 * (3 - index % 4))
        return self.images[index]

    def describe(self, index: int) -> str:
        """Return the name of the image."""
        return f"fake[{index}]"

    def fingerprint(self) -> str:
        """Return a constant: no test depends on it."""
        return "0" * 16


class Mean(nn.Module):
    """The mean of every channel, after a batch norm whose statistics must not move."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)
        self.layouts: list[bool] = []
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        """From ``(B, 3, H, W)`` to ``(B, 3)``."""
        self.layouts.append(images.is_contiguous(memory_format=torch.channels_last))
        self.batches.append(len(images))
        return self.dropout(self.norm(images)).mean((2, 3))


def _constant(count: int, side: int = 8) -> FakeSource:
    images = [np.full((side, side, 3), [i, 2 * i, 3 * i], np.uint8) for i in range(count)]
    return FakeSource(list(images), labels=np.arange(count) % 3)


def _wanted(count: int) -> np.ndarray:
    level = np.arange(count)[:, None] * np.array([1, 2, 3]) / 255
    normalised = (level - [0.5, 0.25, 0.0]) / [0.5, 0.25, 0.125]
    return normalised / np.sqrt(1 + 1e-5)  # a new batch norm in eval mode


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_features_are_of_every_image_in_order(workers: int, batch_size: int) -> None:
    """A last batch dropped, images in the order threads finish, or constants of another set."""
    source = _constant(11)
    features = extract_features(Mean(), source, side=8, batch_size=batch_size, workers=workers)
    np.testing.assert_allclose(features.values.numpy(), _wanted(11), rtol=1e-5, atol=1e-5)
    assert features.values.dtype == torch.float32
    assert features.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
    assert features.labels.dtype == torch.int64
    assert len(features) == 11
    assert (threading.main_thread().name in source.threads) == (workers == 0)


def test_features_come_in_channels_last_and_the_last_batch_is_kept() -> None:
    """A copy of every batch into the slow layout; a batch that is padded."""
    backbone = Mean()
    extract_features(backbone, _constant(10), side=8, batch_size=4)
    assert backbone.layouts == [True] * 3
    assert backbone.batches == [4, 4, 2]


def test_features_leave_the_backbone_as_it_was() -> None:
    """A probe in the middle of training that moves statistics, or ends training mode."""
    backbone = nn.Sequential(Mean(), nn.BatchNorm1d(3))
    backbone[1].eval()  # frozen on purpose: must not be in training mode afterwards
    state = copy.deepcopy(backbone.state_dict())
    first = extract_features(backbone, _constant(6), side=8, batch_size=4)
    assert backbone.training
    assert backbone[0].norm.training
    assert not backbone[1].training
    assert all(torch.equal(state[key], item) for key, item in backbone.state_dict().items())
    second = extract_features(backbone.eval(), _constant(6), side=8, batch_size=4)
    assert torch.equal(first.values, second.values), "dropout is off in both"
    assert not backbone.training


def test_features_can_be_trained_on() -> None:
    """Tensors of inference mode, which autograd refuses."""
    features = extract_features(Mean(), _constant(4), side=8)
    head = nn.Linear(3, 1)
    head(features.values).sum().backward()
    assert head.weight.grad is not None


def test_features_are_float32_inside_autocast() -> None:
    """A probe in a mixed-precision run that evaluates another network than the saved one."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    plain = extract_features(backbone, _constant(4), side=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = extract_features(backbone, _constant(4), side=8)
    assert torch.equal(plain.values, inside.values)


def test_features_of_an_unlabelled_source_have_no_labels() -> None:
    """Labels of 0 that look like a class."""
    source = _constant(3)
    source.labels = None
    assert extract_features(Mean(), source, side=8).labels.tolist() == [-1, -1, -1]


def test_features_report_their_progress() -> None:
    """A bar that ends short of its end."""
    seen: list[tuple[int, int]] = []
    extract_features(
        Mean(), _constant(10), side=8, batch_size=4, progress=lambda *done: seen.append(done)
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize("workers", [0, 2])
def test_features_with_a_broken_image_name_it_and_restore_the_mode(workers: int) -> None:
    """A hang or a dropped image; a backbone that stays in eval mode after the error."""
    source = _constant(9)
    source.images[5] = b"not an image"
    backbone = Mean()
    with pytest.raises(ImageError, match=r"fake\[5\]"):
        extract_features(backbone, source, side=8, batch_size=2, workers=workers)
    assert backbone.training


def test_features_that_are_not_finite_are_refused() -> None:
    """NaN features, which k-NN and metrics would turn into a figure."""
    backbone = Mean()
    nn.init.constant_(backbone.norm.weight, torch.nan)
    with pytest.raises(TrainingError, match=r"3 of 3 images, first fake\[0\]"):
        extract_features(backbone, _constant(3), side=8)


def test_features_of_an_empty_source_are_refused() -> None:
    """An empty tensor that fails somewhere later."""
    with pytest.raises(DataError, match="no images"):
        extract_features(Mean(), _constant(0), side=8)


def test_features_decode_encoded_images() -> None:
    """Bytes that are taken for pixels, or BGR for RGB."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = 200
    encoded = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    plain = extract_features(Mean(), FakeSource([image]), side=8)
    assert torch.equal(extract_features(Mean(), FakeSource([encoded]), side=8).values, plain.values)


def test_view_of_an_image_of_the_wanted_size_is_the_image() -> None:
    """An image of 224 px that is blurred by going to 256 and back."""
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    assert np.array_equal(evaluation_view(image, 224), image)


def test_view_of_a_small_side_keeps_the_whole_short_side() -> None:
    """CIFAR-like images that lose their border; a crop that is not in the middle."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, 8:40] = 255  # the middle square, and nothing beside it
    view = evaluation_view(image, 32)
    assert view.shape == (32, 32, 3)
    assert (view == 255).all()
    halved = evaluation_view(np.ascontiguousarray(image.transpose(1, 0, 2)), 16)
    assert halved.shape == (16, 16, 3)
    assert (halved == 255).all()


def test_view_of_a_large_side_leaves_the_published_margin() -> None:
    """A crop of the whole square, or of 224 of the original pixels, instead of 224 of 256."""
    image = np.zeros((512, 600, 3), np.uint8)
    image[32:480, 76:524] = 255  # 448 of 512: exactly what 224 of 256 shows
    view = evaluation_view(image, 224)
    assert view.shape == (224, 224, 3)
    assert (view == 255).all()
    image[32:34] = 0  # one row of the view
    assert (evaluation_view(image, 224)[0] == 0).all()


def test_view_when_shrinking_averages_areas() -> None:
    """Aliasing: a chequerboard that becomes black, white or stripes."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    view = evaluation_view(np.repeat(board[..., None], 3, axis=2), 32)
    assert np.abs(view.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("shape", [(300, 400), (150, 140), (231, 1001)])
def test_view_agrees_with_torchvisions_resize_and_crop(shape: tuple[int, int]) -> None:
    """Another part of the image, or another scale; smooth, as the two interpolate differently."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = [rows, columns, rows + columns]
    image = np.stack([255 * plane / plane.max() for plane in planes], axis=2).astype(np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    wanted = tv.center_crop(tv.resize(tensor, [256], antialias=True), [224])
    got = evaluation_view(image, 224).astype(int)
    assert np.abs(got - wanted.permute(1, 2, 0).numpy()).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (3, 5)])
@pytest.mark.parametrize("side", [32, 224])
def test_view_of_an_extreme_shape_has_the_wanted_size(shape: tuple[int, int], side: int) -> None:
    """A strip of 1 × 20,000 pixels that is blown up to gigabytes, or an empty crop."""
    assert evaluation_view(np.zeros((*shape, 3), np.uint8), side).shape == (side, side, 3)
