"""Interface of a kind of data source: which specs it recognises, and how it opens them.

A package adds a kind with a subclass of ``SourceKind`` and an entry point::

    class GradientsKind(SourceKind):
        names = ("gradients",)

        def matches(self, spec):
            return self.is_name(spec)

        def open(self, spec, options):
            return Gradients(options.split)  # a massrl.data.source.Source

    [project.entry-points."massrl.sources"]
    gradients = "my_package:GradientsKind"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from massrl.data.annotated import ObjectSource
from massrl.data.source import Source
from massrl.errors import DataError

_PREFIXES = {"labelled": True, "labeled": True, "unlabelled": False, "unlabeled": False}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The text that a user names a data source by, taken apart.

    Attributes:
        text: the spec without a ``labelled:`` or ``unlabelled:`` before it.
        labelled: what that prefix says; None without one.
        is_path: whether the text can only be a path: a ``Path`` object, or behind a prefix.
    """

    text: str
    labelled: bool | None = None
    is_path: bool = False

    @property
    def path(self) -> Path:
        """The text as a path, with ``~`` expanded."""
        return Path(self.text).expanduser()

    @property
    def name(self) -> str:
        """``cifar10`` of ``cifar10:train``."""
        return self.text.partition(":")[0]

    @property
    def part(self) -> str:
        """``train`` of ``cifar10:train``; empty without one."""
        return self.text.partition(":")[2]


def parse_spec(spec: str | Path) -> Spec:
    """Take a spec apart.

    Example:
        >>> parse_spec("unlabelled:photos")
        Spec(text='photos', labelled=False, is_path=True)
    """
    text = str(spec)
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _PREFIXES:
        return Spec(text=rest, labelled=_PREFIXES[prefix], is_path=True)
    return Spec(text=text, is_path=isinstance(spec, Path))


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How a source is opened.

    Attributes:
        split: ``"train"``, ``"val"``, ``"unlabelled"`` or ``"whole"``.
        root: folder of the sets that have a name; None for the default.
        download: whether a missing set may be downloaded.
        flag: where the user gave the spec, for errors.
        draw: whether training and validation images are drawn of a set with annotations that has no such
            parts; all of it is opened otherwise.
    """

    split: str = "train"
    root: Path | None = None
    download: bool = True
    flag: str = "--data.train"
    draw: bool = True


class SourceKind(ABC):
    """One kind of data source; a row of ``registry.SOURCES`` names a subclass.

    Kinds are tried in the order of the table; the first whose ``matches`` is true opens the spec.

    Attributes:
        names: names of data sets, for error suggestions.
        is_fallback: whether the kind takes whatever no other kind does, and so is tried last.
        objects_form: how a spec looks that ``open_objects`` accepts, for errors; empty for none.
    """

    names: tuple[str, ...] = ()
    is_fallback: bool = False
    objects_form: str = ""

    @abstractmethod
    def matches(self, spec: Spec) -> bool:
        """Whether ``open`` is for this spec. Called for specs of any kind, so it must be quick."""

    @abstractmethod
    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """Open the images.

        Raises:
            DataError: if they cannot be used; one line that ends with the flag.
        """

    def check(self, spec: Spec, options: OpenOptions) -> None:
        """Raise what ``open`` would, as far as that takes a moment; nothing by default.

        Called for a spec that the kind matches, before torch is imported.

        Raises:
            MassrlError: as ``open``.
        """
        return

    def is_name(self, spec: Spec) -> bool:
        """Whether the spec is a name, which means the same in every folder, and no path."""
        return not spec.is_path and spec.name in self.names

    def matches_objects(self, spec: Spec) -> bool:
        """Whether ``open_objects`` is for this spec."""
        return False

    def open_objects(self, spec: Spec, options: OpenOptions, *, maps: bool) -> ObjectSource:
        """Open the images with the objects in them.

        Args:
            spec: the source.
            options: how it is opened.
            maps: whether a class for every pixel is needed, rather than boxes.

        Raises:
            DataError: if they cannot be used.
        """
        raise DataError(f"{spec.text!r} has no objects ({options.flag})")

    def annotated_parts(self, spec: Spec) -> Sequence[tuple[str, bool]]:
        """Return what ``massrl data check`` opens with objects: ``split`` and ``maps`` of each part."""
        return (("train", False), ("val", False))

    def validation_spec(self, spec: Spec) -> str | None:
        """Return the spec of the set that ``split="val"`` opens the validation images of.

        Returns:
            None where the set has no validation images of its own.
        """
        return None

    def multilabel_specs(self, spec: Spec, options: OpenOptions) -> tuple[str, str] | None:
        """Return specs of the training and the test images of a set with several labels an image.

        Returns:
            Two specs that ``open_objects`` accepts; None for any other set.
        """
        return None
