"""Make tensors from what a pickle says of them, with every number checked against the bytes there are.

torch's own functions trust a file: a tensor may be said to be larger than its storage, or a terabyte of one
number. Here bytes are only ever read as numbers of a dtype in a table, and inside their storage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from massrl.errors import CheckpointError
from massrl.weights.arrays import (
    MAX_NUMEL,
    array_content,
    is_array,
    naturals_of,
    shape_of,
    tensor_of_array,
)
from massrl.weights.pickled import Call, External, Global

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "UntypedStorage": torch.uint8,
}
_DTYPES = {
    str(dtype): dtype
    for dtype in (
        *_STORAGES.values(),
        *(torch.uint16, torch.uint32, torch.uint64),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
    )
}
REBUILD = "torch._utils._rebuild_"
_DENSE = {f"{REBUILD}tensor", f"{REBUILD}tensor_v2", f"{REBUILD}tensor_v3"}
# Calls whose first argument is the tensor or array itself.
_WRAPPERS = {
    f"{REBUILD}parameter",
    f"{REBUILD}parameter_with_state",
    f"{REBUILD}device_tensor_from_numpy",
    f"{REBUILD}device_tensor_from_cpu_tensor",
    "torch.nn.parameter.Parameter",
}
_TYPED = "torch._tensor._rebuild_from_type_v2"  # its first two arguments are a call's
NAMES = {
    *_DENSE,
    *_WRAPPERS,
    _TYPED,
    *_DTYPES,
    *(f"torch.{name}" for name in _STORAGES),
    *(f"torch.cuda.{name}" for name in _STORAGES),
    "torch.storage.UntypedStorage",
    *("torch.Size", "torch.Tensor", "torch.device"),
    *("_codecs.encode", "builtins.bytes", "builtins.bytearray"),
}
"""What files of dense tensors and arrays name."""
_MAX_WRAPPERS = 8
_SLACK = 1 << 26  # bytes of tensors that any file may have, however small


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Numbers that tensors share.

    Attributes:
        key: its name in the file.
        dtype: of its numbers.
        numel: how many.
    """

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def num_bytes(self) -> int:
        """Size in the file."""
        return self.numel * self.dtype.itemsize


def storage_of(external: External) -> tuple[Storage, int, int]:
    """Return the storage that a file refers to, and the part of it that is meant: start and length.

    Raises:
        CheckpointError: if it refers to anything else, or to a storage of no known dtype.
    """
    match external.key:
        case ("storage" | b"storage", Global(), str() | bytes() | int(), _, int(), *rest):
            _, kind, key, _, numel = external.key[:5]
        case _:
            raise CheckpointError("it refers to something that is no storage of numbers")
    name = kind.name.rpartition(".")[2]
    if name not in _STORAGES or type(numel) is not int or not 0 <= numel < MAX_NUMEL:
        raise CheckpointError(f"it has a storage of {numel} numbers by {kind.name}")
    start, length = 0, numel
    if rest and rest[0] is not None:  # a view of it, in files of before PyTorch 1.6
        _, start, length = rest[0]
        if not (type(start) is type(length) is int and 0 <= start <= start + length <= numel):
            raise CheckpointError(f"it has a view outside of its storage {key!r}")
    key = key.decode() if isinstance(key, bytes) else str(key)
    return Storage(key=key, dtype=_STORAGES[name], numel=numel), start, length


class TensorBuilder:
    """Makes each tensor of a file once.

    Args:
        read: returns the bytes of a storage, as ``uint8``.
        max_bytes: of all tensors together.
    """

    def __init__(self, read: Callable[[Storage], Tensor], *, max_bytes: int) -> None:
        self._read = read
        self._bytes_left = max_bytes + _SLACK
        self._storages: dict[Storage, Tensor] = {}
        self._built: dict[int, Tensor | None] = {}

    def build(self, call: Call) -> Tensor | None:
        """Return the tensor or array that a call describes; ``None`` where it describes neither.

        Raises:
            CheckpointError: if it describes one that its bytes do not hold.
        """
        if id(call) not in self._built:
            self._built[id(call)] = self._build(call)
        return self._built[id(call)]

    def _build(self, call: Call) -> Tensor | None:
        for _ in range(_MAX_WRAPPERS):
            if call.name == _TYPED:
                function, _, args = call.args[:3]
                call = Call(function.name, args)
            elif call.name in _WRAPPERS:
                call = call.args[0]
                if not isinstance(call, Call):
                    raise CheckpointError("it has a parameter that is no tensor")
            else:
                break
        else:
            raise CheckpointError(f"it has a parameter in over {_MAX_WRAPPERS} parameters")
        if call.name in _DENSE:
            return self._tensor(call)
        if is_array(call):
            return self._array(call)
        if call.name == "torch.Tensor":
            raise CheckpointError("it has a tensor of a PyTorch before 0.2, which is not read")
        return None

    def _tensor(self, call: Call) -> Tensor:
        """Make a view of a storage."""
        external, offset, size, stride, *rest = call.args
        if not isinstance(external, External):
            raise CheckpointError("it has a tensor without a storage")
        storage, start, length = storage_of(external)
        if call.name.endswith("_v3"):
            dtype = _DTYPES[rest[2].name]
            if storage.num_bytes % dtype.itemsize or (start, length) != (0, storage.numel):
                raise CheckpointError(f"it has a storage of {storage.num_bytes} bytes for {dtype}")
            length = storage.num_bytes // dtype.itemsize
            storage = Storage(key=storage.key, dtype=dtype, numel=length)
            rest.pop(2)
        if len(rest) > 2 and isinstance(rest[2], Call) and any(on for _, on in rest[2].pairs or ()):
            raise CheckpointError("it has a tensor that is negated or conjugated later")
        shape, strides = shape_of(size), naturals_of(stride)
        if type(offset) is not int or offset < 0 or len(shape) != len(strides):
            raise CheckpointError(f"it has a tensor of shape {shape} and strides {strides}")
        last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
        values = math.prod(shape)
        if values and last >= length:
            raise CheckpointError(
                f"it has a tensor of shape {shape} outside of its {length} numbers"
            )
        self._count(values * storage.dtype.itemsize)
        if not values:
            return torch.empty(shape, dtype=storage.dtype)
        if storage not in self._storages:
            self._storages[storage] = _as_numbers(self._read(storage), storage.dtype)
        return self._storages[storage].as_strided(shape, strides, start + offset)

    def _array(self, call: Call) -> Tensor | None:
        """Make a tensor with an array's numbers; ``None`` for one of texts or objects."""
        content = array_content(call)
        if content is None:
            return None
        code, shape, by_columns, raw = content
        self._count(math.prod(shape) * int(code[2:]))
        return tensor_of_array(code, shape, by_columns, raw)

    def _count(self, num_bytes: int) -> None:
        """Refuse tensors that are views of much less: a copy of them would fill the memory."""
        self._bytes_left -= num_bytes
        if self._bytes_left < 0:
            raise CheckpointError("its tensors are many times larger than the file")


def _as_numbers(raw: Tensor, dtype: torch.dtype) -> Tensor:
    return raw != 0 if dtype == torch.bool else raw.view(dtype)
