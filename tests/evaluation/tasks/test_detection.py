"""Detection and segmentation: figures against cases placed by hand, networks against their parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import Backbone
from torch import nn

from massrl.config.evaluation import DetectConfig, SegmentConfig
from massrl.data.annotated import Scene
from massrl.data.source import IMAGENET_NORMALIZATION
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import ConfigError, DataError
from massrl.evaluation.average_precision import AveragePrecision
from massrl.evaluation.detectors import build_detector
from massrl.evaluation.overlays import detection_sheet, segmentation_sheet
from massrl.evaluation.stages import Stages
from massrl.evaluation.tasks.detection import detect, example, stepped_rate
from massrl.evaluation.tasks.segmentation import (
    build_segmenter,
    pixel_counts,
    segment,
    union_figures,
)
from massrl.models.backbones import build_backbone

SMALL = DetectConfig(epochs=1, batch_size=4, size=64, width=16, regions=16, pictures=2)
CPU = torch.device("cpu")


def scene(*boxes: tuple[float, float, float, float], crowd: tuple[bool, ...] = ()) -> Scene:
    """Objects of one class in an image of 100 × 100."""
    return Scene(
        image=np.zeros((100, 100, 3), np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.zeros(len(boxes), np.int64),
        masks=None,
        crowd=np.array(crowd or [False] * len(boxes), bool),
    )


def found(*scored: tuple[tuple[float, float, float, float], float]) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.tensor([box for box, _ in scored]).reshape(-1, 4).float(),
        "labels": torch.ones(len(scored), dtype=torch.int64),
        "scores": torch.tensor([score for _, score in scored]),
    }


A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 90.0)
# Of A's twenty columns seventeen and a half: an intersection over union of 0.875.
NEAR_A = (10.0, 10.0, 27.5, 30.0)


@pytest.mark.parametrize(
    ("said", "truth", "ap50", "ap75", "ap"),
    [
        (found((A, 0.9), (B, 0.8)), scene(A, B), 100.0, 100.0, 100.0),
        # One of two is found: precision 1 up to a recall of a half, at 51 of 101 recalls.
        (found((A, 0.9)), scene(A, B), 100 * 51 / 101, 100 * 51 / 101, 100 * 51 / 101),
        # 0.875 passes the thresholds 0.5 … 0.85: eight of ten.
        (found((NEAR_A, 0.9)), scene(A), 100.0, 100.0, 80.0),
        # A false one before the true one: precision a half at every recall.
        (found((B, 0.9), (A, 0.8)), scene(A), 50.0, 50.0, 50.0),
        # A crowd is neither missed when it is not found nor wrong when it is.
        (found((A, 0.9), (B, 0.95)), scene(A, B, crowd=(False, True)), 100.0, 100.0, 100.0),
        (found(), scene(A), 0.0, 0.0, 0.0),
    ],
)
def test_average_precision_of_cases_placed_by_hand(
    said: dict[str, torch.Tensor], truth: Scene, ap50: float, ap75: float, ap: float
) -> None:
    """Guards AP, AP50 and AP75 against being swapped, scaled or counted over the wrong objects."""
    pytest.importorskip("pycocotools")
    precision = AveragePrecision(masks=False)
    precision.add(said, truth)
    figures = precision.figures()
    assert figures == pytest.approx({"ap": ap, "ap50": ap50, "ap75": ap75}, abs=0.01)


def test_boxes_and_masks_are_mirrored_with_the_image() -> None:
    """Guards half of all training images against boxes on the other side."""
    source = ShapesSource(4, 32, objects=3)
    plain, target = example(source.scene(1), mirrored=False, device=CPU)
    flipped, mirrored = example(source.scene(1), mirrored=True, device=CPU)
    assert torch.equal(flipped, plain.flip(2))
    assert torch.equal(mirrored["masks"], target["masks"].flip(2))
    for mask, box in zip(mirrored["masks"], mirrored["boxes"], strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert box.tolist() == [int(side) for side in tight]


def test_rate_rises_and_falls_twice() -> None:
    """Guards the schedule of the field: a tenth at two thirds and at eight ninths."""
    rates = [stepped_rate(step, total=900) for step in range(900)]
    assert rates[0] == pytest.approx(1 / 90)
    assert rates[89:600] == [1.0] * 511
    assert rates[600:800] == pytest.approx([0.1] * 200)
    assert rates[800:] == pytest.approx([0.01] * 100)


@pytest.mark.parametrize("stem", ["small", "small-pad2"])
def test_strides_of_small_stems_are_whole(stem: str) -> None:
    """Guards anchors: padding makes outputs a pixel larger than the stride says."""
    assert Stages(build_backbone("resnet18", stem=stem, image_side=32)).strides == [1, 2, 4, 8]


def test_difficult_object_takes_what_overlaps_it_by_half_and_nothing_else() -> None:
    """Guards VOC's rule against COCO's, by which a large difficult box would hide every false one."""
    pytest.importorskip("pycocotools")
    large = (0.0, 0.0, 60.0, 60.0)
    truth = replace(scene(large, B), difficult=np.array([True, False]))
    in_range = found((A, 0.95), (B, 0.9))  # a false one that lies within the difficult object
    upon = found(((0.0, 0.0, 55.0, 60.0), 0.95), (B, 0.9))
    for said, wanted in ((in_range, 50.0), (upon, 100.0)):
        precision = AveragePrecision(masks=False)
        precision.add(said, truth)
        assert precision.figures()["ap50"] == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("name", ["resnet10-narrow", "resnet18", "timm:resnet18"])
def test_stages_have_the_channels_and_strides_of_their_outputs(name: str) -> None:
    """Guards pyramids and anchors: they are built from these numbers."""
    network = build_backbone(name, stem="standard", image_side=64)
    stages = Stages(network)
    widths = [32, 64, 128, 256] if "narrow" in name else [64, 128, 256, 512]
    assert (stages.channels, stages.strides) == (widths, [4, 8, 16, 32])
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        last = stages.body(("layer4",)).eval()(images)["layer4"]
        torch.testing.assert_close(last.mean(dim=(2, 3)), network.eval()(images))


def test_refined_stages_keep_their_weights_and_see_as_wide() -> None:
    """Guards dilation: four times the outputs, each of what the coarse one saw at its place."""
    stages = Stages(build_backbone("resnet10-narrow", stem="standard"))
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        coarse = stages.body(("layer4",)).eval()(images)["layer4"]
        stages.refine("layer4", 2)
        fine = stages.body(("layer4",)).eval()(images)["layer4"]
    assert fine.shape[2:] == (8, 8)
    torch.testing.assert_close(fine[:, :, 2:6:2, 2:6:2], coarse[:, :, 1:3, 1:3])


def test_backbone_without_stages_is_refused() -> None:
    """Guards against a detector on whatever a network's children happen to be."""
    with pytest.raises(ConfigError, match="no stages layer1 to layer4"):
        Stages(Backbone())


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: item.clone() for name, item in network.state_dict().items()}


@pytest.mark.parametrize("head", ["fpn", "c4"])
def test_detector_holds_the_backbone_and_leaves_it_as_it_is(head: str) -> None:
    """Guards pre-trained weights against being left out, and against being changed in place."""
    pytest.importorskip("pycocotools")
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    before = weights_of(network)
    config = DetectConfig(head=head, epochs=0.5, batch_size=2, size=32, width=16, regions=8)
    detector = build_detector(
        network,
        num_classes=10,
        config=config,
        normalization=IMAGENET_NORMALIZATION,
        masks=True,
    )
    own = {id(item): item for item in detector.state_dict().values()}
    for name, item in before.items():
        assert any(
            item.shape == other.shape and torch.equal(item, other) for other in own.values()
        ), name
    boxes = ShapesSource(4, 32, objects=2)
    result = detect(
        network,
        boxes,
        boxes,
        config,
        normalization=IMAGENET_NORMALIZATION,
        device=CPU,
        seed=0,
        progress=lambda *_: None,
    )
    assert set(result.figures) == {"ap", "ap50", "ap75", "mask_ap", "mask_ap50", "mask_ap75"}
    assert all(torch.equal(before[name], item) for name, item in network.state_dict().items())


def test_detector_learns_boxes_and_masks() -> None:
    """Guards the way from objects to figures: eight scenes must be learnt by heart within seconds."""
    pytest.importorskip("pycocotools")
    torch.manual_seed(0)
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    source = ShapesSource(8, 32, objects=2)
    result = detect(
        network,
        source,
        source,
        replace(SMALL, epochs=40, lr=0.08, size=32, pictures=0),
        normalization=IMAGENET_NORMALIZATION,
        device=CPU,
        seed=0,
        progress=lambda *_: None,
    )
    assert result.figures["ap50"] > 40  # below 20 after a step
    assert result.figures["mask_ap50"] > 15  # 0 after a step


def test_detector_is_the_same_for_a_seed_and_finds_masks_where_they_are_known() -> None:
    """Guards figures that nobody could make again."""
    pytest.importorskip("pycocotools")
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    source, other = ShapesSource(8, 32, objects=2), ShapesSource(4, 32, objects=2, split="val")
    results = [
        detect(
            network,
            source,
            other,
            SMALL,
            normalization=IMAGENET_NORMALIZATION,
            device=CPU,
            seed=seed,
            progress=lambda *_: None,
        )
        for seed in (0, 0, 1)
    ]
    assert {"ap", "mask_ap", "mask_ap75"} <= set(results[0].figures)
    first, again, third = (result.shown[0][1]["boxes"] for result in results)
    np.testing.assert_array_equal(first, again)
    assert first.shape != third.shape or not np.allclose(first, third)
    sheet = detection_sheet(results[0].shown, source.object_names)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] > 700


def test_figures_of_pixels_are_those_counted_by_hand() -> None:
    """Guards the mean over classes, and pixels that nobody is asked for."""
    truth = np.array([[0, 0, 1, 1], [0, 255, 1, 1]], np.uint8)
    said = np.array([[0, 1, 1, 1], [0, 3, 0, 1]], np.uint8)
    counts = pixel_counts(truth, said, num_classes=4)
    figures, per_class = union_figures(counts, ("background", "a", "b", "c"))
    # Background: 2 right, 1 missed, 1 too many; a: 3 right, 1 missed, 1 too many.
    assert per_class == {"background": 50.0, "a": 60.0, "b": None, "c": None}
    assert figures["miou"] == pytest.approx(55.0)
    assert figures["pixel_accuracy"] == pytest.approx(100 * 5 / 7)


@pytest.mark.parametrize("head", ["fcn", "deeplab"])
def test_segmenter_gives_every_pixel_a_class(head: str) -> None:
    """Guards both heads, and the resolution of their input."""
    network = build_backbone("resnet10-narrow", stem="standard", image_side=64)
    segmenter = build_segmenter(network, num_classes=3, head=head).eval()
    with torch.inference_mode():
        assert segmenter(torch.randn(1, 3, 64, 48)).shape == (1, 3, 64, 48)
        assert segmenter.body(torch.randn(1, 3, 64, 48))["layer4"].shape[2:] == (8, 6)


def test_segmenter_is_the_same_for_a_seed_whatever_was_drawn_before() -> None:
    """Guards figures against what ran before them: the head drops features at random."""
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    config = SegmentConfig(epochs=1, batch_size=4, size=32, pictures=1)
    maps = []
    for seed in (0, 0, 1):
        torch.rand(5)
        result = segment(
            network,
            ShapesSource(8, 32),
            ShapesSource(2, 32, split="val"),
            config,
            normalization=IMAGENET_NORMALIZATION,
            device=CPU,
            seed=seed,
            progress=lambda *_: None,
        )
        maps.append(result.shown[0][2])
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])
    with pytest.raises(DataError, match="too few to learn from"):
        segment(
            network,
            ShapesSource(1, 32),
            ShapesSource(2, 32),
            config,
            normalization=IMAGENET_NORMALIZATION,
            device=CPU,
            seed=0,
            progress=lambda *_: None,
        )


def test_segmenter_learns_and_leaves_the_backbone_as_it_is() -> None:
    """Guards the way from maps to figures: it must tell objects from background within seconds."""
    torch.manual_seed(0)
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    before = weights_of(network)
    config = SegmentConfig(epochs=10, batch_size=8, lr=0.2, size=32, pictures=2)
    result = segment(
        network,
        ShapesSource(64, 32),
        ShapesSource(20, 32, split="val"),
        config,
        normalization=IMAGENET_NORMALIZATION,
        device=CPU,
        seed=0,
        progress=lambda *_: None,
    )
    assert all(torch.equal(before[name], item) for name, item in network.state_dict().items())
    background = result.per_class["background"]
    assert background is not None
    assert background > 85  # guessing background everywhere gives about 80
    assert segmentation_sheet(result.shown).shape[1] > 1000
