"""Objects in images: COCO's JSON, VOC's XML, YOLO's text, lists, masks and label maps."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as runs

from massrl.data.annotated import ObjectSource
from massrl.data.catalogue import open_objects, open_source
from tests.fuzz import case
from tests.fuzz.mutation import HOSTILE_VALUES, mutated_bytes, mutated_json, mutated_lines

# The pixels of the second object, as COCO writes crowds: run lengths in text.
RUNS = {
    "counts": runs.frPyObjects({"counts": [0, 4, 188], "size": [12, 16]}, 12, 16)[
        "counts"
    ].decode(),
    "size": [12, 16],
}
COCO = {
    "images": [
        {"id": 1, "file_name": "0.png", "height": 12, "width": 16},
        {"id": 2, "file_name": "1.png", "height": 12, "width": 16},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    "annotations": [
        {
            **{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 6, 5], "iscrowd": 0},
            **{"area": 30, "segmentation": [[1, 2, 7, 2, 7, 7, 1, 7]]},
        },
        {
            **{"id": 2, "image_id": 2, "category_id": 7, "bbox": [0, 0, 4, 4], "iscrowd": 1},
            **{"area": 16, "segmentation": {"counts": [0, 4, 188], "size": [12, 16]}},
        },
        {
            **{"id": 3, "image_id": 2, "category_id": 3, "bbox": [2.5, 1, 4, 4], "iscrowd": 0},
            **{"area": 16, "segmentation": RUNS},
        },
    ],
}
XML = """<annotation><folder>x</folder><filename>{0}.png</filename>
<size><width>16</width><height>12</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>8</xmax><ymax>9</ymax></bndbox></object>
<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>3.5</xmin><ymin>2</ymin><xmax>16</xmax><ymax>12</ymax></bndbox></object></annotation>
"""
COLOURS = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)
LABEL_MAP = "# name:r,g,b\nbackground:0,0,0\ncat:255,0,0\ndog:0,255,0\n"


class Layout(NamedTuple):
    """Images with objects on the disk.

    Attributes:
        spec: what a user names them by.
        files: contents by path, of what may be damaged.
        maps: whether they are read as maps of classes, as boxes, or as both.
    """

    spec: Path
    files: dict[Path, bytes]
    maps: tuple[bool, ...]


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.layouts = [
            layout(folder / "coco", "x.json", coco_files(), maps=(False,)),
            layout(folder / "voc", ".", voc_files(), maps=(False, True)),
            layout(folder / "yolo", ".", yolo_files(), maps=(False,)),
            layout(folder / "masks", ".", mask_files(), maps=(True,)),
        ]
        for one in self.layouts:
            use(one)

    def run(self, generator: np.random.Generator) -> None:
        """Damage one file, then read every image with its objects, boxes, masks and maps."""
        one = self.layouts[int(generator.integers(0, len(self.layouts)))]
        for path, data in one.files.items():
            path.write_bytes(data)
        kinds = sorted({path.suffix for path in one.files})
        kind = str(generator.choice(kinds))
        paths = [path for path in one.files if path.suffix == kind]
        path = paths[int(generator.integers(0, len(paths)))]
        path.write_bytes(damaged(path, one.files[path], generator))
        use(one)


def pictures() -> tuple[bytes, bytes]:
    """Return an image and the mask of its classes, as PNG files."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    mask = COLOURS[generator.integers(0, 3, (12, 16))]
    return as_png(image), as_png(mask)


def as_png(pixels: np.ndarray) -> bytes:
    """Return the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def coco_files() -> dict[str, bytes]:
    """Return contents by name."""
    image, _ = pictures()
    return {"0.png": image, "1.png": image, "x.json": json.dumps(COCO).encode()}


def voc_files() -> dict[str, bytes]:
    """Return contents by name."""
    image, mask = pictures()
    files = {"labelmap.txt": LABEL_MAP.encode()}
    for name, part in (("0", "train"), ("1", "val")):
        files[f"JPEGImages/{name}.png"] = image
        files[f"Annotations/{name}.xml"] = XML.format(name).encode()
        files[f"SegmentationClass/{name}.png"] = mask
        files[f"ImageSets/Main/{part}.txt"] = f"{name}\n".encode()
        files[f"ImageSets/Segmentation/{part}.txt"] = f"{name}\n".encode()
    return files


def yolo_files() -> dict[str, bytes]:
    """Return contents by name."""
    image, _ = pictures()
    names = b"path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"
    files = {"data.yaml": names}
    for part in ("train", "val"):
        files[f"images/{part}/0.png"] = image
        files[f"labels/{part}/0.txt"] = b"0 0.5 0.5 0.25 0.5\n1 0.4 0.4 0.3 0.2\n"
    return files


def mask_files() -> dict[str, bytes]:
    """Return contents by name."""
    image, mask = pictures()
    files = {"labelmap.txt": LABEL_MAP.encode()}
    for part in ("train", "val"):
        files[f"images/{part}/0.png"] = image
        files[f"masks/{part}/0.png"] = mask
    return files


def layout(folder: Path, spec: str, files: dict[str, bytes], *, maps: tuple[bool, ...]) -> Layout:
    """Write files into a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return Layout(folder / spec, {folder / name: files[name] for name in files}, maps)


def damaged(path: Path, data: bytes, generator: np.random.Generator) -> bytes:
    """Return a file's content with damage of its kind."""
    if path.suffix == ".png":
        return mutated_bytes(data, generator)
    if path.suffix == ".json":
        return mutated_json(data.decode(), generator)
    if path.suffix == ".xml" and generator.integers(0, 2):
        words = data.decode().split(">")
        place = int(generator.integers(0, len(words)))
        value = str(HOSTILE_VALUES[int(generator.integers(0, len(HOSTILE_VALUES)))])
        words[place] = value + "</" + words[place].rpartition("</")[2]
        return ">".join(words).encode("utf-8", "surrogatepass")
    return mutated_lines(data.decode(), generator)


def use(one: Layout) -> None:
    """Read everything that tasks read of a layout."""
    for maps in one.maps:
        for split in ("train", "val"):
            source = open_objects(str(one.spec), split=split, maps=maps, flag="--data.train")
            read_objects(source, has_boxes=not maps)
    if one.spec.is_dir():
        open_source(one.spec)


def read_objects(source: ObjectSource, *, has_boxes: bool = True) -> None:
    """Read everything that a task reads of a source.

    Raises:
        FaultError: if boxes, labels or masks are not what they should be.
    """
    source.fingerprint()
    for index in range(len(source)):
        if source.has_maps:
            labels = source.label_map(index)
            known = labels != 255
            if (labels[known] > len(source.object_names)).any():
                raise case.FaultError("a map has a number of no class")
        if not has_boxes:
            continue
        scene = source.scene(index)
        height, width = scene.image.shape[:2]
        boxes = scene.boxes
        if not np.isfinite(boxes).all() or (boxes < 0).any() or (boxes > [width, height] * 2).any():
            raise case.FaultError(f"boxes beside the image: {boxes.tolist()}")
        if len(scene.labels) != len(boxes) or len(scene.crowd) != len(boxes):
            raise case.FaultError("as many labels as boxes are wanted")
        if (scene.labels < 0).any() or (scene.labels >= len(source.object_names)).any():
            raise case.FaultError("a label of no class")
        if scene.masks is not None and scene.masks.shape != (len(boxes), height, width):
            raise case.FaultError(f"masks of shape {scene.masks.shape}")
    if has_boxes:
        source.image_labels()
