"""Read weights from an untrusted file without running any code from it.

The file's pickle is parsed into plain data (``pickled``), and tensors are made of checked numbers
(``tensors``). A class that is neither is accepted only from the packages in which training frameworks keep
their settings: the settings are lost, the weights are not, and no code that the file refers to is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from massrl.errors import CheckpointError
from massrl.weights.archive import Archive, open_archive
from massrl.weights.arrays import check_array_call
from massrl.weights.pickled import Call
from massrl.weights.tensors import NAMES, REBUILD, TensorBuilder

# Packages whose classes only hold settings. A file with classes of any other is refused.
_SETTINGS_PACKAGES = (
    "argparse",
    "collections",
    "hydra",
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "typing",
    "yacs",
)
_PLAIN = {
    f"builtins.{name}"
    for name in (
        "bool",
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "set",
        "str",
        "tuple",
    )
}
_MAPPINGS = {"builtins.dict", "collections.OrderedDict", "collections.Counter"}
_SETS = {"builtins.set", "builtins.frozenset"}
_MAX_SHARED = 4  # sizes of all tensors together over file size: some share a storage
_MAX_DEPTH = 1_000  # of containers in each other
_MAX_PLAIN_DEPTH = 100
_MAX_REASON = 300  # characters
_MAX_PATH = 10_000  # characters of a tensor's name
_MAX_CHARACTERS = 1 << 26  # of all tensors' names together


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return every tensor in a file by its path of keys.

    Args:
        path: a safetensors file, or one of ``torch.save``: a state dict, or a checkpoint that has one.

    Returns:
        Tensors on the CPU. Nested keys are joined by ``/``, such as
        ``teacher/module.backbone.conv1.weight``; list positions are numbers.

    Raises:
        CheckpointError: if the file is missing or damaged, has no weights, or cannot be read without
            running code.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from None
    try:
        with _open(path) as (archive, builder):
            weights = dict(_named(archive.content, builder))
    except Exception as error:  # of half a dozen types, all of them "not readable"
        raise CheckpointError(
            f"{path} is refused: {_reason(error)}; state dicts and safetensors are accepted"
        ) from None
    if not weights:
        raise CheckpointError(f"{path} has no named weights")
    return weights


def read_content(path: Path) -> Any:
    """Return the content of a file of ``torch.save``: mappings, lists, numbers, texts and tensors.

    Args:
        path: the file.

    Returns:
        Mappings of any kind as ``dict``, arrays of NumPy as tensors; tensors on the CPU.

    Raises:
        CheckpointError: if the file is missing or damaged, or has anything else in it.
    """
    try:
        with _open(path) as (archive, builder):
            return _plain(archive.content, builder, {}, depth=0)
    except Exception as error:  # as above
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {_reason(error)}") from None


@contextmanager
def _open(path: Path) -> Iterator[tuple[Archive, TensorBuilder]]:
    with path.open("rb") as file:
        archive = open_archive(file, path=path, accept=_accept)
        for call in archive.calls:
            check_array_call(call)
        yield archive, TensorBuilder(archive.read, max_bytes=_MAX_SHARED * path.stat().st_size)


def _reason(error: Exception) -> str:
    """Return an error's text as a part of one line, whatever names a file has put into it."""
    text = f"{error}" if isinstance(error, CheckpointError) else f"{type(error).__name__}: {error}"
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())[:_MAX_REASON]
    return text if isinstance(error, CheckpointError) else f"it is damaged ({text})"


def _accept(name: str) -> None:
    """Refuse a file that names a class or function which is no tensor's and no settings'."""
    if name.partition(".")[0] in _SETTINGS_PACKAGES or name in NAMES or name in _PLAIN:
        return
    if name.startswith(REBUILD):
        raise CheckpointError(f"it has a tensor of {name}, which is not read; dense ones are")
    raise CheckpointError(f"reading it would run {name.removeprefix('builtins.')}")


def _named(content: Any, builder: TensorBuilder) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor by its path; each container is visited once, however often it occurs."""
    visited: set[int] = set()
    levels: list[tuple[str, Iterator[tuple[str, Any]]]] = [("", iter([("", content)]))]
    num_characters = 0
    while levels:
        prefix, parts = levels[-1]
        key, item = next(parts, (None, None))
        if key is None:
            levels.pop()
        if not isinstance(item, Call | list | tuple):
            continue
        path = f"{prefix}/{key}" if prefix else str(key)
        tensor = builder.build(item) if isinstance(item, Call) else None
        if tensor is not None:
            num_characters += len(path)
            yield path, tensor
        elif id(item) not in visited:
            visited.add(id(item))
            levels.append((path, iter(_parts(item))))
        if len(path) > _MAX_PATH or num_characters > _MAX_CHARACTERS or len(levels) > _MAX_DEPTH:
            raise CheckpointError(
                f"its weights lie over {_MAX_DEPTH} containers deep, or have names too long"
            )


def _parts(item: Call | list[Any] | tuple[Any, ...]) -> Iterable[tuple[str, Any]]:
    """Return what a container contains, by key or position."""
    if not isinstance(item, Call):
        return ((str(place), part) for place, part in enumerate(item))
    pairs = _pairs(item)
    if item.name not in _SETS:
        pairs += enumerate(item.items or ())
    return {_text(key, place): part for place, (key, part) in enumerate(pairs)}.items()


def _pairs(item: Call) -> list[tuple[Any, Any]]:
    pairs = list(item.pairs or ())
    if item.name in _MAPPINGS and item.args:  # filled when it was made, as in files of Python 2
        first = item.args[0]
        pairs = [*((first.pairs or ()) if isinstance(first, Call) else first), *pairs]
    return pairs


def _plain(item: Any, builder: TensorBuilder, known: dict[int, Any], *, depth: int) -> Any:
    """Return what an item stands for; ``known`` holds what has been made, so that nothing is made twice."""
    if item is None or isinstance(item, bool | int | float | str | bytes):
        return item
    if id(item) not in known:
        if depth > _MAX_PLAIN_DEPTH:
            raise CheckpointError(f"it is nested over {_MAX_PLAIN_DEPTH} deep")
        tensor = builder.build(item) if isinstance(item, Call) else None
        if isinstance(item, list | tuple):
            parts = [_plain(part, builder, known, depth=depth + 1) for part in item]
            known[id(item)] = parts if isinstance(item, list) else tuple(parts)
        elif isinstance(item, Call) and item.name in _MAPPINGS and not item.items:
            known[id(item)] = {
                _plain_key(key): _plain(part, builder, known, depth=depth + 1)
                for key, part in _pairs(item)
            }
        elif tensor is not None:
            known[id(item)] = tensor
        else:
            name = getattr(item, "name", type(item).__name__)
            raise CheckpointError(f"it has {name} in it, which is neither data nor a tensor")
    return known[id(item)]


def _plain_key(key: Any) -> Any:
    if not (key is None or isinstance(key, str | int | float)):
        raise CheckpointError("it has a key that is neither text nor number")
    return key


def _text(key: Any, place: int) -> str:
    """Return a key as it stands in names: its text or number, else its type and its place."""
    if isinstance(key, bytes):
        key = key.decode("utf-8", "replace")
    known = isinstance(key, str | int | float) or key is None
    return str(key) if known else f"<{type(key).__name__} {place}>"
