"""Open the images that a name or a path stands for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from massrl.data.annotated import ObjectSource
from massrl.data.source import Source
from massrl.data.sources.base import OpenOptions, SourceKind, parse_spec
from massrl.errors import ConfigError, DataError, counted, suggest
from massrl.registry import SOURCES

logger = logging.getLogger("massrl")

SPLITS = ("train", "val", "unlabelled", "whole")
_skipped: set[str] = set()  # rows of other packages that a warning has named


def source_kinds() -> Iterator[SourceKind]:
    """Yield an instance of every kind of source, those that take any path last.

    A kind of another package that cannot be loaded is skipped with a warning.
    """
    fallbacks = []
    for name, row in SOURCES.items():
        try:
            kind = SOURCES.load(name)()
            if not isinstance(kind, SourceKind):
                raise ConfigError(
                    f"data source {name!r} of package {row.package} is no SourceKind: {row.target}"
                )
        except ConfigError as error:
            if name not in _skipped:
                logger.warning("skipped: %s", error)
                _skipped.add(name)
            continue
        if kind.is_fallback:
            fallbacks.append(kind)
        else:
            yield kind
    yield from fallbacks


def is_name(spec: str) -> bool:
    """Return whether a spec names a data set, and so is no path."""
    parsed = parse_spec(spec)
    return any(kind.is_name(parsed) for kind in source_kinds())


def absolute_spec(spec: str) -> str:
    """Return the spec with an absolute path, so that it means the same images in any folder."""
    if is_name(spec):
        return spec
    parsed = parse_spec(spec)
    return f"{spec.removesuffix(parsed.text)}{parsed.path.resolve()}"


def without_prefix(spec: str) -> str:
    """Return the spec without a ``labelled:`` or ``unlabelled:`` before it."""
    return parse_spec(spec).text


def contains(spec: str, path: str | Path) -> bool:
    """Return whether a path is inside the folder of images that a spec names."""
    folder = parse_spec(spec).path.resolve()
    inside = Path(path).expanduser().resolve().is_relative_to(folder)
    return inside and folder.is_dir() and not is_name(spec)


def validation_spec(spec: str) -> str | None:
    """Return the spec of the set that ``split="val"`` opens the validation images of.

    Returns:
        None where the source has no validation images of its own.
    """
    parsed = parse_spec(spec)
    for kind in source_kinds():
        if kind.matches(parsed) or kind.matches_objects(parsed):
            return kind.validation_spec(parsed)
    return None


def multilabel_specs(
    spec: str, *, root: str | Path | None = None, download: bool = True, flag: str = "--data.train"
) -> tuple[str, str] | None:
    """Return specs of the training and the test images of a set with several labels an image.

    Args:
        spec: the set.
        root: folder of the sets that have a name.
        download: whether a missing set may be downloaded.
        flag: where the user gave the spec, for errors.

    Returns:
        Two specs for ``open_objects``; None for a set with one label an image, or none.
    """
    parsed = parse_spec(spec)
    options = OpenOptions(root=_folder(root), download=download, flag=flag)
    for kind in source_kinds():
        if kind.matches_objects(parsed):
            return kind.multilabel_specs(parsed, options)
    return None


def open_source(
    spec: str | Path,
    *,
    split: str = "train",
    root: str | Path | None = None,
    download: bool = True,
    flag: str | None = None,
    draw: bool = True,
) -> Source:
    """Open the images that a user asks for.

    Args:
        spec: ``"shapes"`` or ``"shapes(count=4000,size=32,seed=0,objects=1)"``; the name of one of
            torchvision's sets, also as ``"name:split"``; else a path: a folder of images (labelled
            when every image is in ``DIR/CLASS/`` and there are two classes or more), a text file of
            paths, or packed images as ``"OUT-*.tar"``. Of a set in Pascal VOC's layout, whose folders are
            no classes: the images of a list (``"VOC2007:trainval"``, ``"voc2007"``), or all but those of
            the lists ``val`` and ``test``, on which detectors are evaluated. Of a set in YOLO's layout, or
            with masks: the images of that split. ``"labelled:DIR"`` and
            ``"unlabelled:DIR"`` override the layout. A ``Path`` object is never taken for a name.
            Other packages add kinds of sources by entry points, ``massrl.sources``.
        split: ``"train"``, ``"val"`` or ``"unlabelled"``: of a folder that holds ``train/`` and
            ``val/`` (or ``test/``), that part is opened; ``"whole"`` opens all of it.
        root: folder of torchvision's sets; default ``$MASSRL_DATA``, else
            ``~/.cache/massrl/datasets``.
        download: whether torchvision may download a missing set.
        flag: where the user gave the spec, for errors; default ``--data.val`` for ``"val"`` and
            ``--data.train`` for the others.
        draw: whether parts are drawn of a set with annotations that has none; see ``OpenOptions``.

    Raises:
        ConfigError: for an unknown split or wrong arguments of ``shapes``.
        DataError: if nothing of that name or path can be used.
    """
    flag = flag or ("--data.val" if split == "val" else "--data.train")
    if split not in SPLITS:
        raise ConfigError(f"split {split!r} is unknown: {suggest(split, SPLITS)} ({flag})")
    parsed = parse_spec(spec)
    options = OpenOptions(split=split, root=_folder(root), download=download, flag=flag, draw=draw)
    for kind in source_kinds():
        if kind.matches(parsed):
            return kind.open(parsed, options)
    raise _unknown(spec, flag)


def check_spec(spec: str, *, split: str, flag: str) -> None:
    """Check that a spec names images, with or without objects, as far as that takes a moment.

    Args:
        spec: as for ``open_source`` and ``open_objects``.
        split: likewise.
        flag: where the user gave the spec, for errors.

    Raises:
        MassrlError: if nothing of that name or path can be used.
    """
    parsed = parse_spec(spec)
    for kind in source_kinds():
        if kind.matches(parsed) or kind.matches_objects(parsed):
            return kind.check(parsed, OpenOptions(split=split, flag=flag))
    raise _unknown(spec, flag)


def _unknown(spec: str | Path, flag: str) -> DataError:
    known = suggest(str(spec), (name for kind in source_kinds() for name in kind.names))
    return DataError(f"{str(spec)!r} is neither a path that exists nor a dataset; {known} ({flag})")


def open_objects(
    spec: str,
    *,
    split: str = "train",
    maps: bool = False,
    root: str | Path | None = None,
    download: bool = True,
    flag: str,
    draw: bool = True,
) -> ObjectSource:
    """Open images with the objects in them.

    Args:
        spec: ``"shapes(count=400,size=96,objects=3)"``; a folder in the layout of Pascal VOC, also with one
            of its lists as ``"VOC2007:trainval"``; ``voc2007`` or ``voc2012``; a folder or ``data.yaml`` in
            YOLO's layout; a folder of ``images`` and ``masks``; or a JSON file in COCO's layout.
        split: ``"train"`` or ``"val"``.
        maps: whether a class for every pixel is needed, rather than boxes.
        root: folder of COCO's images, where they are elsewhere, and of the sets that have a name.
        download: whether a missing set may be downloaded.
        flag: where the user gave the spec, for errors.
        draw: whether parts are drawn of a set that has none; see ``OpenOptions``.

    Raises:
        DataError: if nothing of that name or path has objects.
    """
    parsed = parse_spec(spec)
    options = OpenOptions(split=split, root=_folder(root), download=download, flag=flag, draw=draw)
    for kind in source_kinds():
        if kind.matches_objects(parsed):
            source = kind.open_objects(parsed, options, maps=maps)
            for note in source.notes:
                logger.warning("%s: %s", source.name, note)
            return source
    accepted = ", or ".join(kind.objects_form for kind in source_kinds() if kind.objects_form)
    raise DataError(f"{spec!r} has no objects; accepted: {accepted} ({flag})")


def describe_annotations(spec: str, *, root: str | Path | None = None, flag: str) -> list[str]:
    """Return what is in the annotations of a folder or file, a sentence each; nothing without annotations.

    What is left out of them or converted is said, and why a part cannot be used.

    Args:
        spec: as for ``open_objects``.
        root: folder of COCO's images, where they are elsewhere.
        flag: where the user gave the spec, for errors.
    """
    parsed = parse_spec(spec)
    kind = next((kind for kind in source_kinds() if kind.matches_objects(parsed)), None)
    if kind is None or kind.is_name(parsed):
        return []
    lines = []
    for split, maps in kind.annotated_parts(parsed):
        options = OpenOptions(split=split, root=_folder(root), download=False, flag=flag)
        what = "class maps" if maps else "objects"
        try:
            source = kind.open_objects(parsed, options, maps=maps)
        except DataError as error:
            lines.append(f"{what} of {split} cannot be used: {error}")
            continue
        counts = source.object_counts()
        number = ""
        if counts is not None:
            number = (
                f", {counted(int(counts.sum()), 'object')} in {np.count_nonzero(counts)} of them"
            )
        lines.append(f"{what} of {source.name}: {counted(len(source), 'image')}{number}")
        lines += [f"{what} of {source.name}: {note}" for note in source.notes]
    return lines


def _folder(root: str | Path | None) -> Path | None:
    return Path(root).expanduser() if root else None
