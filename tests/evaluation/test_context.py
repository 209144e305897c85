"""What tasks are given: images as the backbone needs them, cached features, crops, provenance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import photos
from tests.evaluation.conftest import CPU, Backbone, colours, context_of

from massrl.config.evaluation import EvaluateConfig
from massrl.data.catalogue import open_source
from massrl.data.source import Normalization
from massrl.errors import ImageError
from massrl.evaluation import context as module
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.data import EvaluationData
from massrl.evaluation.features import evaluation_view

ABOUT = {"size": 8, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}


def plain(**fields: Any) -> EvaluationContext:
    """Return a context with the package's own crops."""
    context = EvaluationContext(network=Backbone().eval(), about=ABOUT, hardware=CPU, **fields)
    return context.on(EvaluationData(colours(40, seed=0), colours(20, seed=1)))


def test_images_are_normalised_as_the_backbone_needs_them() -> None:
    """Guards features against constants of the data set, which the backbone was not trained with."""
    context = plain()
    wanted = Normalization(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert context.train.normalization == context.test.normalization == wanted
    assert (context.size, context.num_classes) == (8, 4)


def test_features_of_an_image_set_are_extracted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards "extracted once, shared by the tasks"."""
    extracted, real = [], module.extract_features
    monkeypatch.setattr(
        module, "extract_features", lambda *a, **o: extracted.append(1) or real(*a, **o)
    )
    context = plain()
    for _ in range(2):
        assert context.train_features.values.shape == (40, 6)
        assert context.test_features.values.shape == (20, 6)
    assert len(extracted) == 2


def test_features_are_cached_for_the_backbone_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards fine-tuned networks against the features of the backbone they started from."""
    monkeypatch.setenv("MASSRL_CACHE", str(tmp_path))
    context = plain(cache_key="key")
    first = context.train_features.values
    files = list((tmp_path / "features").iterdir())
    assert len(files) == 1
    assert torch.equal(
        plain(cache_key="key").train_features.values, first
    )  # other weights, same key
    tuned = Backbone().eval()
    assert not torch.equal(context.extract(tuned, context.train).values, first)
    assert list((tmp_path / "features").iterdir()) == files
    assert len(plain().train_features) == 40
    assert list((tmp_path / "features").iterdir()) == files


def test_crops_are_random_flipped_and_the_same_for_a_seed() -> None:
    """Guards training on crops: every image once per epoch, in another order, normalised."""
    context = plain()

    def batches(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(context.crops(context.train, batch_size=16, epochs=2, seed=seed))

    first, again, other = batches(1), batches(1), batches(2)
    assert [len(indices) for _, indices in first] == [16] * 4
    assert len(set(torch.cat([indices for _, indices in first[:2]]).tolist())) == 32
    for (images, indices), (same, same_indices) in zip(first, again, strict=True):
        assert torch.equal(images, same)
        assert torch.equal(indices, same_indices)
        assert images.shape == (16, 3, 8, 8)
    assert not torch.equal(first[0][1], other[0][1])
    # Undoing the constants gives pixels of the images again.
    std, mean = (torch.tensor(ABOUT[key]).view(3, 1, 1) for key in ("std", "mean"))
    pixels = first[0][0] * std + mean
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 1
    means = pixels.mean(dim=(0, 2, 3)) * 255
    np.testing.assert_allclose(means, [125, 125, 125], atol=15)


def test_broken_image_ends_crops_with_its_name(tmp_path: Path) -> None:
    """Guards a training against an image that is silently left out."""
    folder = photos(tmp_path / "photos", "a", "b")
    (folder / "a" / "2.png").write_bytes(b"broken")
    source = open_source(folder)
    context = plain()
    with pytest.raises(ImageError, match=r"2\.png"):
        list(context.crops(source, batch_size=10, epochs=1, seed=0))


def test_names_of_files_tell_weights_apart(tmp_path: Path) -> None:
    """Guards the pictures of the trained weights against those of a baseline."""
    context = plain(folder=tmp_path, suffix="-random-init")
    assert context.output("detect", ".png") == tmp_path / "detect-random-init.png"
    assert plain(folder=tmp_path).output("features") == tmp_path / "features"
    assert plain().output("features") is None


def test_provenance_names_configuration_images_software_and_hardware() -> None:
    """Guards a metric against standing in a file without what it was measured with."""
    context = plain()
    held = replace(context.data, held_out=True, left_out=3)  # type: ignore[type-var]
    provenance = replace(context, data=held).provenance(EvaluateConfig(task=("knn",), k=7))
    assert json.loads(json.dumps(provenance)) == provenance  # lists, as in the file
    assert provenance["config"]["k"] == 7
    assert provenance["config"]["task"] == ["knn"]
    assert provenance["data"]["train"]["num_images"] == 40
    assert provenance["data"]["val"]["fingerprint"] == context.test.fingerprint()
    assert (provenance["data"]["held_out"], provenance["data"]["left_out"]) == (True, 3)
    assert {"software", "hardware", "commit"} <= set(provenance)


def test_context_on_other_images_has_features_of_its_own() -> None:
    """Guards transfer against the features of the data set before."""
    context = context_of(colours(40, seed=0), colours(20, seed=1))
    first = context.test_features.values
    other = context.on(EvaluationData(context.train, colours(20, seed=2)))
    assert not torch.equal(other.test_features.values, first)
    assert torch.equal(context.test_features.values, first)


def test_extracted_features_are_those_of_centre_views() -> None:
    """Guards evaluation against random crops."""
    context = plain()
    image = context.test.read(3)
    assert isinstance(image, np.ndarray)
    view = torch.from_numpy(evaluation_view(image, 8)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(ABOUT[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        wanted = context.network(((view - mean) / std)[None])[0]
    torch.testing.assert_close(context.test_features.values[3], wanted)
