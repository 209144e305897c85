"""Objects in images: COCO's JSON, VOC's XML, lists, masks and label maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from massrl.data.annotated import ObjectSource
from massrl.data.catalogue import open_objects, open_source
from tests.fuzz import case
from tests.fuzz.mutation import HOSTILE_VALUES, mutated_bytes, mutated_json, mutated_lines

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
            **{"area": 16, "segmentation": {"counts": "04\\5", "size": [12, 16]}},
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


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.coco, self.voc = folder / "coco", folder / "voc"
        parts = (
            "JPEGImages",
            "Annotations",
            "SegmentationClass",
            "ImageSets/Main",
            "ImageSets/Segmentation",
        )
        for path in (self.coco, *(self.voc / name for name in parts)):
            path.mkdir(parents=True)
        generator = np.random.default_rng(0)
        self.files: dict[Path, bytes] = {}
        for name in "01":
            image = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            colours = generator.integers(0, 3, (12, 16))
            mask = Image.fromarray(COLOURS[colours])
            image.save(self.coco / f"{name}.png")
            image.save(self.voc / "JPEGImages" / f"{name}.png")
            mask.save(self.voc / "SegmentationClass" / f"{name}.png")
            self._add(self.voc / "Annotations" / f"{name}.xml", XML.format(name))
        for part in ("Main", "Segmentation"):
            for name, line in (("train", "0\n"), ("val", "1\n")):
                self._add(self.voc / "ImageSets" / part / f"{name}.txt", line)
        self._add(self.voc / "labelmap.txt", LABEL_MAP)
        mask_path = self.voc / "SegmentationClass" / "0.png"
        self.files[mask_path] = mask_path.read_bytes()
        self._add(self.coco / "x.json", json.dumps(COCO))
        self._use(coco=True)
        self._use(coco=False)

    def _add(self, path: Path, text: str) -> None:
        path.write_text(text)
        self.files[path] = text.encode()

    def run(self, generator: np.random.Generator) -> None:
        """Damage one file, then read every image with its objects, boxes, masks and maps."""
        for path, data in self.files.items():
            path.write_bytes(data)
        coco = bool(generator.integers(0, 2))
        if coco:
            path = self.coco / "x.json"
            path.write_bytes(mutated_json(self.files[path].decode(), generator))
        else:
            path = list(self.files)[int(generator.integers(0, len(self.files) - 1))]
            path.write_bytes(self._damaged(path, generator))
        self._use(coco=coco)

    def _damaged(self, path: Path, generator: np.random.Generator) -> bytes:
        data = self.files[path]
        if path.suffix == ".png":
            return mutated_bytes(data, generator)
        if path.suffix == ".xml" and generator.integers(0, 2):
            words = data.decode().split(">")
            place = int(generator.integers(0, len(words)))
            value = str(HOSTILE_VALUES[int(generator.integers(0, len(HOSTILE_VALUES)))])
            words[place] = value + "</" + words[place].rpartition("</")[2]
            return ">".join(words).encode("utf-8", "surrogatepass")
        return mutated_lines(data.decode(), generator)

    def _use(self, *, coco: bool) -> None:
        if coco:
            read_objects(open_objects(str(self.coco / "x.json"), flag="--data.train"))
            return
        for maps in (False, True):
            for split in ("train", "val"):
                source = open_objects(str(self.voc), split=split, maps=maps, flag="--data.val")
                read_objects(source, has_boxes=not maps)
        open_source(self.voc)


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
