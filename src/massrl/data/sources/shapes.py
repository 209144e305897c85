"""The embedded data set: rendered scenes of plain shapes, with classes, boxes and masks.

It needs no download and no file. A scene is a pure function of (split, seed, index), so an index is
the same image in every process and for every count. Tones, size, position and rotation are drawn
independently of the class: only the outline shows it, which a person sees at once, and a nearest-neighbour
classifier on raw pixels one time in three (chance: one in ten).

All surfaces are plain and of the same two colours: with colour or texture that differ from scene to scene,
a network that is trained to tell images apart could ignore the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.source import Normalization, digest
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.shape_outlines import CLASS_NAMES, Outline, draw_outline
from massrl.errors import ConfigError, DataError, MassrlError, suggest
from massrl.registry.calls import bind_call, parse_call

NUM_SCENES = {"train": 4000, "val": 1000}
# Over the 4,000 scenes of the default training split: python -c "import numpy as np; from
# massrl.data.sources.shapes import ShapesSource as S; s = S(); x = np.stack([s.read(i) for i in
# range(len(s))]) / 255; print(x.mean((0, 1, 2)), x.std((0, 1, 2)))"
SHAPES_NORMALIZATION = Normalization(mean=(0.540, 0.525, 0.550), std=(0.210, 0.199, 0.142))

_SPEC = re.compile(r"\s*shapes\s*(\(|$)")
_STREAMS = {"train": 1, "val": 2}  # half of the generator's key: the splits share no scene
_LABELS, _SCENES = 1, 2  # last word of its counter
_WORD = 2**64 - 1
_CACHE_BYTES = 256 * 2**20  # larger sets are rendered at each reading
_MIN_SIDE, _MAX_OBJECTS = 16, 8
_SINGLE, _MAIN, _OTHER = (0.38, 0.62), (0.36, 0.50), (0.20, 0.34)  # extent, as share of the side
_CONTRAST = 0.30  # least difference of tone between an object and its background
_SHADING, _GRAIN = 0.04, 0.02  # amplitudes of the gradient and of the noise on a surface
# The two colours of every scene: tone 0 is indigo, tone 1 is cream.
_INK = np.array([0.08, 0.09, 0.24], np.float32)[:, None, None]
_PAPER = np.array([1.00, 0.96, 0.86], np.float32)[:, None, None]
_NUM_TRIES = 12  # positions tried for each further object
_SHIFT = 4  # fractional bits of a polygon's corners


class ShapesKind(SourceKind):
    """Rendered scenes of ten shapes: ``shapes(count=4000,size=32,seed=0,objects=1)``."""

    names = ("shapes",)
    objects_form = "shapes(objects=3)"

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``."""
        return self.is_name(spec)

    def check(self, spec: Spec, options: OpenOptions) -> None:
        """See ``SourceKind.check``: nothing is rendered yet."""
        self.open(spec, options)

    def is_name(self, spec: Spec) -> bool:
        """See ``SourceKind.is_name``: the name alone, or with arguments in brackets."""
        return not spec.is_path and _SPEC.match(spec.text) is not None

    def matches_objects(self, spec: Spec) -> bool:
        """See ``SourceKind.matches_objects``."""
        return self.is_name(spec)

    def open(self, spec: Spec, options: OpenOptions) -> ShapesSource:
        """See ``SourceKind.open``."""

        def shapes(
            count: int = NUM_SCENES.get(options.split, 0),
            size: int = 32,
            seed: int = 0,
            objects: int = 1,
        ) -> ShapesSource:
            try:
                return ShapesSource(count, size, seed=seed, objects=objects, split=options.split)
            except MassrlError as error:
                raise type(error)(f"{error} ({options.flag})") from None

        call = parse_call(spec.text, flag=options.flag)
        source: ShapesSource = bind_call(call, shapes, flag=options.flag)
        return source

    def open_objects(self, spec: Spec, options: OpenOptions, *, maps: bool) -> ObjectSource:
        """See ``SourceKind.open_objects``."""
        return self.open(spec, options)

    def validation_spec(self, spec: Spec) -> str:
        """See ``SourceKind.validation_spec``."""
        return spec.text


class ShapesSource(ObjectSource):
    """Rendered scenes of ten shapes; an image's label is the class of its largest object.

    Args:
        count: number of scenes; default 4,000 of ``train`` and 1,000 of ``val``.
        size: side of the square images in pixels, at least 16.
        seed: of the data set.
        objects: maximum number of objects in a scene, 1 to 8.
        split: ``"train"`` or ``"val"``, which have no scene in common.

    Raises:
        ConfigError: for a count, size or number of objects out of range.
        DataError: for another split.
    """

    def __init__(
        self,
        count: int | None = None,
        size: int = 32,
        *,
        seed: int = 0,
        objects: int = 1,
        split: str = "train",
    ) -> None:
        if split not in _STREAMS:
            raise DataError(f"shapes has no part {split!r}: {suggest(split, _STREAMS)}")
        count = NUM_SCENES[split] if count is None else count
        if count < 1 or size < _MIN_SIDE or not 1 <= objects <= _MAX_OBJECTS:
            raise ConfigError(
                f"shapes(count={count}, size={size}, objects={objects}): accepted are count >= 1, "
                f"size >= {_MIN_SIDE}, objects from 1 to {_MAX_OBJECTS}"
            )
        self.name = f"shapes/{split}"
        self.class_names = self.object_names = CLASS_NAMES
        self.has_masks = self.has_maps = True
        self.normalization = SHAPES_NORMALIZATION
        self.size, self.seed, self.objects = size, seed, objects
        self._key = np.array([seed & _WORD, _STREAMS[split]], np.uint64)
        self.labels = self._draw_labels(count)
        self._x, self._y = _grid(size)
        self._make_cache()

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, index: int) -> np.ndarray:
        """Return the scene's image, uint8 ``(size, size, 3)``, RGB; rendered once and cached."""
        if self._cache is None:
            return self._paint(index)[0]
        if not self._rendered[index]:
            # Two threads may render the same scene: both write the same pixels, then the flag.
            self._cache[index] = self._paint(index)[0]
            self._rendered[index] = True
        return np.array(self._cache[index])

    def describe(self, index: int) -> str:
        """Return the source's name with the index."""
        return f"{self.name}[{index}]"

    def fingerprint(self) -> str:
        """See ``Source.fingerprint``: every option that a scene depends on."""
        options = (self.name, len(self), self.size, self.seed, self.objects)
        return digest([repr(options).encode(), self._labels.tobytes()])

    def scene(self, index: int) -> Scene:
        """Render one scene with its boxes, masks and labels; the largest object comes first.

        Raises:
            IndexError: if there is no such scene.
        """
        image, objects, covers = self._paint(index)
        masks: list[np.ndarray] = []
        for cover in covers:
            visible = cover >= 0.5
            masks = [mask & ~visible for mask in masks] + [visible]
        by_area = sorted(zip(masks, objects, strict=True), key=lambda pair: -pair[0].sum())
        return Scene(
            image=image,
            boxes=np.array([_tight_box(mask) for mask, _ in by_area], np.float32),
            masks=np.stack([mask for mask, _ in by_area]),
            labels=np.array([item.label for _, item in by_area], np.int64),
            crowd=np.zeros(len(by_area), bool),
        )

    def _paint(self, index: int) -> tuple[np.ndarray, list[Outline], list[np.ndarray]]:
        """Render the image, its objects from back to front, and each object's coverage of the pixels."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        generator = self._generator(index, _SCENES)
        numbers = iter(generator.random(192).tolist())
        # The main object is painted last, so that none hides a part of it.
        objects = self._place(int(self._labels[index]), numbers)[::-1]
        ground = 0.12 + 0.76 * next(numbers)
        canvas = self._surface(ground, numbers)
        covers = [_coverage(item.contours, size=self.size) for item in objects]
        for cover in covers:
            canvas += cover * (self._surface(_apart(ground, numbers), numbers) - canvas)
        grain = generator.random(canvas.shape[1:], np.float32) - np.float32(0.5)
        canvas += np.float32(_GRAIN) * grain
        # convertScaleAbs rounds and clips.
        pixels = cv2.convertScaleAbs(np.maximum(canvas, 0).reshape(3, -1), alpha=255)
        planes = np.asarray(pixels).reshape(canvas.shape)
        return np.asarray(cv2.merge(list(planes)), np.uint8), objects, covers

    def _generator(self, index: int, kind: int) -> np.random.Generator:
        counter = np.array([0, 0, index, kind], np.uint64)
        return np.random.Generator(np.random.Philox(key=self._key, counter=counter))

    def _draw_labels(self, count: int) -> np.ndarray:
        """Draw each class once in every ten scenes, so that any count is balanced and prefixes agree."""
        num_classes = len(CLASS_NAMES)
        lots = self._generator(0, _LABELS).random((-(-count // num_classes), num_classes))
        self._labels: np.ndarray = lots.argsort(axis=1).reshape(-1)[:count].astype(np.int64)
        return self._labels

    def _make_cache(self) -> None:
        shape = (len(self), self.size, self.size, 3)
        self._cache = np.zeros(shape, np.uint8) if np.prod(shape) <= _CACHE_BYTES else None
        self._rendered = np.zeros(len(self), bool)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_cache"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)  # a worker renders the scenes itself: cheaper than sending pixels
        self._make_cache()

    def _place(self, label: int, numbers: Iterator[float]) -> list[Outline]:
        """Draw and place the objects, the largest (whose class is the label) first."""
        count = 1 + int(next(numbers) * self.objects)
        main = draw_outline(label, _SINGLE if count == 1 else _MAIN, numbers=numbers)
        placed = [main.at(next(numbers), next(numbers))]
        for _ in range(count - 1):
            other = draw_outline(int(next(numbers) * len(CLASS_NAMES)), _OTHER, numbers=numbers)
            other = other.scaled(min(1.0, np.sqrt(0.7 * main.area / other.area)))
            for _ in range(_NUM_TRIES):
                candidate = other.at(next(numbers), next(numbers))
                if not any(candidate.overlaps(item) for item in placed):
                    placed.append(candidate)
                    break
        return placed

    def _surface(self, tone: float, numbers: Iterator[float]) -> np.ndarray:
        """Paint a plain surface of this tone, a little lighter towards one side.

        Returns:
            float32 ``(3, S, S)``, R, G, B of 0 to 1: channels first while a scene is painted, as NumPy
            is fast along long last axes.
        """
        angle = next(numbers) * 2 * np.pi
        along = self._x * np.float32(np.cos(angle)) + self._y * np.float32(np.sin(angle))
        shaded = np.float32(tone) + np.float32(_SHADING) * along
        return np.asarray(_INK + shaded * (_PAPER - _INK))


def _coverage(contours: list[np.ndarray], *, size: int) -> np.ndarray:
    """Return the covered share of each pixel, float32 ``(S, S)``; where two contours overlap is a hole."""
    fine = 4 if size <= 64 else 2
    stencil = np.zeros((size * fine, size * fine), np.uint8)
    scale = size * fine * (1 << _SHIFT)
    half = (1 << _SHIFT) / 2  # OpenCV's origin is the middle of the first pixel
    corners = [np.round(contour * scale - half).astype(np.int32) for contour in contours]
    cv2.fillPoly(stencil, corners, 255, lineType=cv2.LINE_8, shift=_SHIFT)
    cover = cv2.resize(stencil, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cover.astype(np.float32) / 255)


def _apart(tone: float, numbers: Iterator[float]) -> float:
    """Draw another tone in [0.08, 0.94], at least the contrast away."""
    below, above = max(0.0, tone - _CONTRAST - 0.08), max(0.0, 0.94 - tone - _CONTRAST)
    drawn = next(numbers) * (below + above)
    return 0.08 + drawn if drawn < below else tone + _CONTRAST + drawn - below


def _tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the pixels' centres, -1 … 1, float32."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)
    return axis[None, :], axis[:, None]
