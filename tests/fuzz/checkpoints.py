"""Files of other projects' weights: pickles that are damaged, and pickles that mean harm.

An audit hook watches what Python does meanwhile: nothing may be imported, run, or opened for writing.
"""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import pickletools
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors

from massrl.weights import tensors
from massrl.weights.safe_reader import read_content, read_weights
from tests.fuzz import case
from tests.fuzz.case import FaultError
from tests.fuzz.mutation import mutated_bytes

# What a file might name, and what is done with it.
NAMES = (
    *("os system", "posix system", "subprocess Popen", "builtins eval", "builtins exec"),
    *("builtins getattr", "builtins __import__", "builtins open", "builtins bytearray"),
    *("builtins str", "builtins list", "builtins dict", "builtins set", "builtins tuple"),
    *("numpy ndarray", "numpy dtype", "numpy frombuffer", "numpy load", "numpy memmap"),
    *("numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar"),
    *("numpy._core.multiarray _reconstruct", "numpy._core.numeric _frombuffer"),
    *("numpy.ma.core _mareconstruct", "numpy.random._pickle __randomstate_ctor"),
    *("torch Tensor", "torch FloatStorage", "torch LongStorage", "torch BoolStorage", "torch Size"),
    *("torch QInt8Storage", "torch.storage UntypedStorage", "torch.storage TypedStorage"),
    *("torch.storage _load_from_bytes", "torch.serialization load", "torch.nn.parameter Parameter"),
    *("torch float32", "torch float8_e5m2", "torch device", "torch.jit load", "torch.hub load"),
    *("torch._tensor _rebuild_from_type_v2", "torch._utils _rebuild_tensor"),
    *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3"),
    *("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state"),
    *("torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_qtensor"),
    *("torch._utils _rebuild_nested_tensor", "torch._utils _rebuild_wrapper_subclass"),
    *("torch._utils _rebuild_meta_tensor_no_storage", "_codecs encode", "_codecs lookup"),
    *("torch._utils _rebuild_device_tensor_from_numpy", "codecs encode", "copyreg _reconstructor"),
    *("collections OrderedDict", "collections defaultdict", "collections Counter"),
    *("argparse Namespace", "argparse FileType", "pathlib PosixPath", "datetime datetime"),
    *("typing Any", "functools partial", "operator attrgetter", "yacs.config CfgNode"),
)
ALLOWED = tuple(
    name
    for name in NAMES
    if name.replace(" ", ".") in tensors.NAMES
    or name.startswith(
        ("numpy", "collections", "builtins s", "builtins l", "builtins d", "argparse")
    )
)
NUMBERS = (0, 1, 2, 3, 5, 8, 64, 255, 65_535, (1 << 31) - 1, -1, -(1 << 31))
LARGE = (1 << 32, (1 << 63) - 1, 1 << 63, -(1 << 63), 1 << 64, 1 << 200)
TEXTS = (
    "f4",
    "f8",
    "O",
    "O8",
    "V8",
    "i1",
    "b1",
    "U4",
    "<",
    ">",
    "|",
    "=",
    "C",
    "F",
    "0",
    "1",
    "storage",
)
CONSTANTS = (b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f")
ACTIONS = b"Rb\x81aesut0(21\x85\x86\x87\x90\x91\x92\x93\x94QPoild\x97"
PUSHES = b"cJKMXU\x8a\x8c\x8eGN\x88\x89)]}\x8fhj"  # opcodes that push one value, and take none
_WATCHED = (
    "os.",
    "subprocess.",
    "exec",
    "compile",
    "import",
    "socket.",
    "ctypes.",
    "pickle.",
    "shutil.",
)


def crash_of_numpy() -> bytes:
    """A pickle whose dtype is "one object": NumPy takes eight bytes of the file for a pointer."""
    text = b"X%c\0\0\0%s"
    object_dtype = b"cnumpy\ndtype\n(" + text % (1, b"O") + b"\x89\x88tR"
    state = (
        b"(K\x03"
        + text % (1, b"<")
        + b"("
        + object_dtype
        + b"(K\x01ttNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t"
    )
    dtype = b"cnumpy\ndtype\n(" + text % (2, b"f8") + b"\x89\x88tR" + state + b"b"
    raw = b"c_codecs\nencode\n(" + text % (8, b"AAAAAAAA") + text % (6, b"latin1") + b"tR"
    array = b"cnumpy\nndarray\n((K\x01t" + dtype + raw + b"tR"
    return b"\x80\x02}" + text % (1, b"w") + b"cbuiltins\nstr\n(" + array + b"tRs."


def seeds() -> list[Any]:
    """Contents of harmless files, of every form that the reader lets in."""
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    return [
        {
            "state_dict": {
                "a.weight": tensor,
                "b": tensor[:, 1],
                "c": torch.ones(3, dtype=torch.bool),
            }
        },
        {
            "a": array,
            "b": np.asfortranarray(array.astype("f8")),
            "c": np.float32(3),
            "d": np.array(["x"]),
        },
        {
            "hyper_parameters": argparse.Namespace(lr=0.3, out=PurePosixPath("runs")),
            "state_dict": collections.OrderedDict(
                a=torch.nn.Parameter(tensor.bfloat16()), b=tensor.transpose(0, 2)
            ),
            "counts": collections.Counter("aab"),
            "lists": collections.defaultdict(list, x=[1, {2}, b"abc", 1 << 40, "é"]),
        },
        [tensor.to(torch.uint16), torch.zeros(0), {"x": [torch.tensor(1), (1, 2, 3, None)]}],
    ]


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path, self.events, self.is_watched = folder / "x.pth", [], False
        self.pickles: list[tuple[bytes, dict[str, bytes]]] = [(crash_of_numpy(), {})]
        self.files: list[bytes] = [save_safetensors({"a": torch.ones(3), "b": torch.ones(2, 2)})]
        for content in seeds():
            for protocol in (2, 4):
                self._add(content, protocol)
        for place in range(len(self.files)):  # whatever reading imports, it imports now
            self._put(place, self.files[place])
            read_weights(self.path)
        "é".encode("cp437")  # zipfile's, for other names than those of torch
        sys.addaudithook(self._watch)

    def _add(self, content: Any, protocol: int) -> None:
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(
                content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
            )
            self.files.append(buffer.getvalue())
            if zipped:
                with zipfile.ZipFile(buffer) as parts:
                    found = {name: parts.read(name) for name in parts.namelist()}
                data = next(name for name in found if name.endswith("/data.pkl"))
                self.pickles.append((found.pop(data), found))

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_watched:
            return
        writes = event == "open" and (
            (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
            or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        )
        if writes or event.startswith(_WATCHED):
            self.events.append(f"{event} {arguments!r}"[:200])

    def run(self, generator: np.random.Generator) -> None:
        """Read a file as another project's weights, copy them, and read it as a checkpoint of massrl."""
        kind = generator.integers(0, 10)
        if kind == 0:
            place = int(generator.integers(0, len(self.files)))
            self._put(place, mutated_bytes(self.files[place], generator))
        else:
            data, parts = self.pickles[int(generator.integers(0, len(self.pickles)))]
            damage = DAMAGES[int(kind) % len(DAMAGES)]
            self._write(damage(data, generator), parts)
        self.events, self.is_watched = [], True
        try:
            for tensor in read_weights(self.path).values():
                tensor.clone()
            if self.path.suffix == ".pth":
                read_content(self.path)
        finally:
            self.is_watched = False
            if self.events:
                raise FaultError(f"the file made Python do this: {self.events[:3]}")

    def _put(self, place: int, data: bytes) -> None:
        self.path = self.folder / ("x.safetensors" if place == 0 else "x.pth")
        self.path.write_bytes(data)

    def _write(self, data: bytes, parts: dict[str, bytes]) -> None:
        self.path = self.folder / "x.pth"
        with zipfile.ZipFile(self.path, "w") as file:
            file.writestr("x/data.pkl", data)
            for name, content in parts.items():
                file.writestr(f"x/{name.partition('/')[2]}", content)


def name_of(generator: np.random.Generator) -> bytes:
    """Return the opcode of a class or function: mostly one that files of weights may name."""
    allowed = generator.integers(0, 16) > 0
    names = ALLOWED if allowed else NAMES
    return b"c%s\n" % str(generator.choice(names)).replace(" ", "\n").encode()


def value(generator: np.random.Generator) -> bytes:
    """Return an opcode that pushes one value."""
    match generator.integers(0, 7):
        case 0 | 1:
            return name_of(generator)
        case 2:
            return b"J" + int(generator.choice(NUMBERS)).to_bytes(4, "little", signed=True)
        case 3:
            number = pickle.encode_long(LARGE[int(generator.integers(0, len(LARGE)))])
            return b"\x8a" + bytes([len(number)]) + number
        case 4:
            text = str(generator.choice(TEXTS)).encode()
            return b"X" + len(text).to_bytes(4, "little") + text
        case 5:
            return bytes(CONSTANTS[int(generator.integers(0, len(CONSTANTS)))])
        case _:
            return b"h" + bytes([int(generator.integers(0, 12))])


def expression(generator: np.random.Generator, depth: int = 5) -> bytes:
    """Return opcodes that push one value: a call with a state, a container, a storage, or a plain value."""

    def several(most: int) -> bytes:
        count = int(generator.integers(0, most + 1))
        return b"".join(expression(generator, depth - 1) for _ in range(count))

    if depth == 0:
        return value(generator)
    match generator.integers(0, 8):
        case 0 | 1 | 2:
            call = (
                name_of(generator)
                + b"("
                + several(5)
                + b"t"
                + bytes(generator.choice([b"R", b"\x81"]))
            )
            state = b"(" + several(6) + b"tb" if generator.integers(0, 2) else b""
            return call + state + (b"q" + bytes([int(generator.integers(0, 12))]))
        case 3:
            return b"(" + several(4) + b"t"
        case 4:
            return b"](" + several(3) + b"e"
        case 5:
            items = b"".join(value(generator) + expression(generator, depth - 1) for _ in range(2))
            return b"}(" + items + b"u"
        case 6:
            start = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ"
            return start if generator.integers(0, 2) else b"(" + several(6) + b"tQ"
        case _:
            return value(generator)


def opcodes(data: bytes) -> list[bytes]:
    """Split a pickle into opcodes with their arguments."""
    places = [place for _, _, place in pickletools.genops(data)]
    return [data[begin:end] for begin, end in zip(places, [*places[1:], len(data)], strict=True)]


def mutated_values(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a pickle in which some values are others, so that it can still be read to its end."""
    parts = opcodes(data)
    pushes = [place for place, part in enumerate(parts) if part[0] in PUSHES]
    for _ in range(int(generator.integers(1, 4))):
        place = int(generator.choice(pushes))
        if parts[place][:1] == b"c" and generator.integers(0, 4):
            parts[place] = name_of(generator)
        else:
            simple = generator.integers(0, 3)
            parts[place] = value(generator) if simple else expression(generator, depth=2)
    return b"".join(parts)


def mutated_opcodes(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a pickle in which some opcodes are others, removed, or in another place."""
    parts = opcodes(data)
    for _ in range(int(generator.integers(1, 4))):
        place = int(generator.integers(1, len(parts)))
        match generator.integers(0, 4):
            case 0:
                parts.insert(place, value(generator))
            case 1:
                parts.insert(place, bytes([int(generator.choice(list(ACTIONS)))]))
            case 2:
                parts[place] = parts[int(generator.integers(0, len(parts)))]
            case _:
                del parts[place]
        parts = parts if len(parts) > 1 else [*parts, b"."]
    return b"".join(parts)


def random_pickle(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a pickle that is drawn from the start."""
    del data
    known = [value(generator) if place else b"K\x01" for place in range(12)]
    known = [item if item[:1] != b"h" else b"N" for item in known]
    memo = b"".join(item + b"q" + bytes([place]) + b"0" for place, item in enumerate(known))
    parts = [value(generator) + expression(generator) for _ in range(3)]
    return b"\x80\x02" + memo + b"}(" + b"".join(parts) + b"u."


DAMAGES = (
    mutated_values,
    mutated_values,
    mutated_values,
    random_pickle,
    mutated_opcodes,
    mutated_bytes,
)
