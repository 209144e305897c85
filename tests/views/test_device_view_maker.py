"""DeviceViewMaker: crops and programs of a batch that give the views of each image."""

from __future__ import annotations

import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from tests.views.conftest import photograph

from massrl.errors import ConfigError, ImageError
from massrl.registry import LAYOUTS
from massrl.views.device import execute
from massrl.views.device_view_maker import DeviceViewMaker
from massrl.views.layouts import layout_named
from massrl.views.view_maker import ViewMaker


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_batch_of_a_layout_is_the_views_of_each_image(name: str) -> None:
    """Guards which crop a view shows, and a batch whose views and images are exchanged."""
    layout = layout_named(name)
    images = [photograph(40 + 8 * seed, 64, seed=seed) for seed in range(5)]
    makers = ViewMaker(layout, size=32, seed=2), DeviceViewMaker(layout, size=32, seed=2)
    wanted = np.stack([makers[0](image, epoch=1, index=i) for i, image in enumerate(images)], 1)
    crops = torch.empty((makers[1].shape[0], len(images), *makers[1].shape[1:]), dtype=torch.uint8)
    notes = [
        makers[1].write(image, epoch=1, index=i, out=crops.numpy()[:, i])
        for i, image in enumerate(images)
    ]
    made = execute(makers[1].batch(crops, notes))
    assert made.shape == wanted.shape
    assert np.abs(made.numpy().astype(int) - wanted).mean() <= 0.2
    one = makers[1](images[3], epoch=1, index=3)
    assert np.array_equal(one, made[:, 3].numpy())


def test_large_jpeg_is_the_same_alone_and_in_a_batch() -> None:
    """Guards a replay on the device's way: called with one image, it must decode as a batch does."""
    coarse = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    photo = cv2.resize(coarse, (800, 600), interpolation=cv2.INTER_CUBIC)
    encoded = cv2.imencode(".jpg", photo)[1].tobytes()
    maker = DeviceViewMaker("massrl", size=32)
    crops = torch.empty((maker.shape[0], 1, *maker.shape[1:]), dtype=torch.uint8)
    note = maker.write(encoded, epoch=0, index=4, out=crops.numpy()[:, 0])
    made = execute(maker.batch(crops, [note]))[:, 0].numpy()
    assert np.array_equal(maker(encoded, index=4), made)


def test_local_crops_are_refused() -> None:
    """Guards against small views that are made as large as the others."""
    layout = replace(layout_named("massrl"), local_crops=2)
    with pytest.raises(ConfigError, match="views.local_crops"):
        DeviceViewMaker(layout, size=64)


def test_maker_and_its_batch_can_be_sent_to_another_process() -> None:
    """Guards loader workers that are spawned, and batches that come back from them."""
    maker = pickle.loads(pickle.dumps(DeviceViewMaker("massrl", size=16, seed=1)))
    image = photograph(20, 30)
    crops = torch.empty((maker.shape[0], 1, *maker.shape[1:]), dtype=torch.uint8)
    note = maker.write(image, epoch=0, index=2, out=crops.numpy()[:, 0])
    batch = pickle.loads(pickle.dumps(maker.batch(crops, [note])))
    assert np.array_equal(execute(batch)[:, 0].numpy(), maker(image, index=2))


def test_wrong_index_and_broken_image_are_refused_as_by_the_view_maker() -> None:
    """Guards one check of arguments for both makers."""
    maker = DeviceViewMaker("byol", size=8)
    with pytest.raises(ConfigError, match="epoch is -1"):
        maker(photograph(9, 9), epoch=-1)
    with pytest.raises(ImageError, match="image 7: "):
        maker(b"no picture", index=7)
