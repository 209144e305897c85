"""From what the user wrote, a name or a path, to a source of images."""

from __future__ import annotations

import re
from pathlib import Path

from massrl.data.annotated import ObjectSource
from massrl.data.source import Source, Subset
from massrl.data.sources import folders
from massrl.data.sources import torchvision_sets as named
from massrl.data.sources.coco import CocoSource
from massrl.data.sources.packed import PackedSource
from massrl.data.sources.shapes import NUM_SCENES, ShapesSource
from massrl.data.sources.voc import VocSource, is_voc, listed
from massrl.errors import ConfigError, DataError, MassrlError, suggest
from massrl.registry import bind_call, parse_call

SPLITS = ("train", "val", "unlabelled", "whole")
_SHAPES = re.compile(r"\s*shapes\s*(\(|$)")
_KINDS = {
    "labelled": "labelled",
    "labeled": "labelled",
    "unlabelled": "unlabelled",
    "unlabeled": "unlabelled",
}


def is_name(spec: str) -> bool:
    """Whether a text names a data set, and so is no path."""
    known = (*named.NAMES, *named.VOC_NAMES)
    return bool(_SHAPES.match(spec)) or spec.partition(":")[0] in known


def absolute_spec(spec: str) -> str:
    """What the user wrote, so that it means the same images in any folder."""
    if is_name(spec):
        return spec
    prefix, path = _prefix_and_path(spec)
    return f"{prefix}{path}"


def holds(spec: str, path: str | Path) -> bool:
    """Whether a path lies within the folder of images that a text asks for."""
    folder = _prefix_and_path(spec)[1]
    inside = Path(path).expanduser().resolve().is_relative_to(folder)
    return inside and folder.is_dir() and not is_name(spec)


def _prefix_and_path(spec: str) -> tuple[str, Path]:
    """``labelled:photos`` as its prefix with the colon and the absolute path."""
    kind, colon, rest = spec.partition(":")
    prefix, path = (f"{kind}:", rest) if colon and kind in _KINDS else ("", spec)
    return prefix, Path(path).expanduser().resolve()


def without_kind(spec: str) -> str:
    """A spec without ``labelled:`` or ``unlabelled:`` before it."""
    kind, _, rest = spec.partition(":")
    return rest if kind in _KINDS else spec


def open_source(
    spec: str | Path,
    *,
    split: str = "train",
    root: str | Path | None = None,
    download: bool = True,
    flag: str | None = None,
) -> Source:
    """Open the images a user asked for.

    Args:
        spec: ``"shapes"`` or ``"shapes(count=4000,size=32,seed=0,objects=1)"``; the name of one of
            torchvision's sets, also as ``"name:split"``; else a path: a folder of images (labelled
            when every image lies in ``DIR/CLASS/`` and there are two classes or more), a text file of
            paths, or packed images as ``"OUT-*.tar"``. Of a set in Pascal VOC's layout, whose folders are
            no classes, the list that is named (``"VOC2007:trainval"``, ``"voc2007"``), or all images but
            those of its lists ``val`` and ``test``, which detectors are judged by. ``"labelled:DIR"`` and
            ``"unlabelled:DIR"`` decide it by hand. A ``Path`` object is never taken for a name.
        split: ``"train"``, ``"val"`` or ``"unlabelled"``. A folder that holds ``train/`` and
            ``val/`` (or ``test/``) is entered accordingly, but for ``"whole"``.
        root: where torchvision's sets lie; default ``$MASSRL_DATA``, else
            ``~/.cache/massrl/datasets``.
        download: whether torchvision may fetch a set that is not there.
        flag: where the user said so, for errors; by default ``--data.val`` for ``"val"`` and
            ``--data.train`` for the others.

    Raises:
        ConfigError: for an unknown split or wrong arguments of ``shapes``.
        DataError: if nothing of that name or path can be used.
    """
    flag = flag or ("--data.val" if split == "val" else "--data.train")
    if split not in SPLITS:
        raise ConfigError(f"split {split!r} is unknown: {suggest(split, SPLITS)} ({flag})")
    text = str(spec)
    root = Path(root).expanduser() if root else None
    if isinstance(spec, str):
        if _SHAPES.match(spec):
            return _open_shapes(spec, split=split, flag=flag)
        name, colon, own_split = spec.partition(":")
        if name in named.NAMES:
            chosen = own_split if colon else split
            return named.open_named(name, split=chosen, root=root, download=download, flag=flag)
    kind, colon, rest = text.partition(":")
    if text.endswith(".tar"):
        return _open_packed(rest if colon and kind in _KINDS else text, kind=kind, flag=flag)
    if colon and kind in _KINDS:
        path, labelled = Path(rest).expanduser(), _KINDS[kind] == "labelled"
        return folders.open_path(path, split=split, labelled=labelled, flag=flag)
    path = Path(text).expanduser()
    if isinstance(spec, str) or is_voc(path):
        photographs = _open_voc(text, root=root, download=download, flag=flag)
        if photographs is not None:
            return photographs
    if not path.exists():
        known = suggest(text, ["shapes", *named.NAMES])
        raise DataError(f"{text!r} is neither a path that exists nor a dataset; {known} ({flag})")
    return folders.open_path(path, split=split, labelled=None, flag=flag)


def open_objects(
    spec: str,
    *,
    split: str = "train",
    maps: bool = False,
    root: str | None = None,
    download: bool = True,
    flag: str,
) -> ObjectSource:
    """Open images with the objects in them.

    Args:
        spec: ``"shapes(count=400,size=96,objects=3)"``; a folder in the layout of Pascal VOC, also with a
            list of its own as ``"VOC2007:trainval"``; ``voc2007`` or ``voc2012``; or a JSON file in COCO's
            layout.
        split: ``"train"`` or ``"val"``.
        maps: whether a class for every pixel is wanted, rather than boxes.
        root: folder of COCO's images, where they lie elsewhere, and of sets by name.
        download: whether a set by name may be fetched.
        flag: where the user said so, for errors.

    Raises:
        DataError: if nothing of that name or path has objects.
    """
    if _SHAPES.match(spec):
        source = _open_shapes(spec, split=split, flag=flag)
        assert isinstance(source, ObjectSource)
        return source
    path = Path(spec).expanduser()
    if path.suffix == ".json":
        return CocoSource(path, images=Path(root).expanduser() if root else None, flag=flag)
    if (found := find_voc(spec, split=split, root=root, download=download)) is not None:
        return VocSource(*found, maps=maps, flag=flag)
    raise DataError(
        f"{spec!r} has no objects: a folder in Pascal VOC's layout (JPEGImages, Annotations, ImageSets), "
        f"{' or '.join(named.VOC_NAMES)}, a JSON file in COCO's, or shapes is wanted ({flag})"
    )


def find_voc(
    spec: str, *, split: str, root: str | None = None, download: bool = True
) -> tuple[Path, str] | None:
    """Folder and list of a spec that means a set in Pascal VOC's layout, ``None`` of any other.

    Args:
        spec: ``voc2007``, a folder, or either with a list of its own as ``"voc2007:trainval"``.
        split: the list where none is named, ``"train"`` or ``"val"``: of voc2007 these are its ``trainval``
            and its ``test``.
        root: folder of sets by name.
        download: whether such a set may be fetched.
    """
    for name, part in ((spec, ""), spec.rpartition(":")[::2]):
        if name in named.VOC_NAMES:
            folder = named.voc_folder(name, root=Path(root) if root else None, download=download)
            return folder, part or named.VOC_NAMES[name][split]
        if name and is_voc(Path(name).expanduser()):
            return Path(name).expanduser(), part or split
    return None


def _open_voc(text: str, *, root: Path | None, download: bool, flag: str) -> Source | None:
    """The photographs of a set in Pascal VOC's layout, ``None`` of anything else; see ``open_source``."""
    found = find_voc(text, split="train", root=str(root) if root else None, download=download)
    if found is None:
        return None
    folder, part = found
    everything = folders.open_path(folder / "JPEGImages", split="whole", labelled=False, flag=flag)
    stems = [Path(name).stem for name in everything.names]
    if is_voc(Path(text).expanduser()):
        judged = {name for word in ("val", "test") for name in listed(folder, word)}
        kept = [index for index, stem in enumerate(stems) if stem not in judged]
    else:
        wanted = set(listed(folder, part))
        kept = [index for index, stem in enumerate(stems) if stem in wanted]
    if not kept:
        raise DataError(
            f"{text} has no image in its list {part!r}, or outside val and test ({flag})"
        )
    return everything if len(kept) == len(stems) else Subset(everything, kept)


def _open_packed(pattern: str, *, kind: str, flag: str) -> Source:
    source = PackedSource(pattern, flag=flag)
    if _KINDS.get(kind) == "unlabelled":
        source.labels, source.class_names = None, ()
    elif _KINDS.get(kind) == "labelled" and source.labels is None:
        raise DataError(f"{pattern} has no labels ({flag})")
    return source


def _open_shapes(spec: str, *, split: str, flag: str) -> Source:
    def shapes(
        count: int = NUM_SCENES.get(split, 0), size: int = 32, seed: int = 0, objects: int = 1
    ) -> Source:
        try:
            return ShapesSource(count, size, seed=seed, objects=objects, split=split)
        except MassrlError as error:
            raise type(error)(f"{error} ({flag})") from None

    source: Source = bind_call(parse_call(spec, flag=flag), shapes, flag=flag)
    return source
