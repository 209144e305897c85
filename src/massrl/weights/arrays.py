"""Make tensors from what a pickle says of NumPy's arrays, without NumPy's own code for pickles.

That code trusts a file: a dtype may say that its bytes are objects, and NumPy then takes numbers of the file
for pointers. Here bytes are only ever read as numbers of a dtype in a table, from a checked length.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from massrl.errors import CheckpointError
from massrl.weights.pickled import Call

# NumPy's codes of dtypes: kind, and bytes of an item.
_CODES = (
    *("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"),
    *("f2", "f4", "f8", "c8", "c16"),
)
_NO_NUMBERS = "OSUMm"  # objects, texts and dates, which are no weights
_CORES = ("numpy.core", "numpy._core")
_ARRAYS = {f"{core}.multiarray._reconstruct" for core in _CORES}
_BUFFERS = {f"{core}.numeric._frombuffer" for core in _CORES}
# What makes arrays, but does not stand in files of arrays.
_NEVER_CALLED = {"numpy.ndarray", "numpy.frombuffer", "numpy.fromstring", "numpy.fromfile"}
MAX_NUMEL = 1 << 60
_MAX_DIMS = 64


def check_array_call(call: Call) -> None:
    """Refuse a description of numbers that only NumPy's own code would understand.

    Raises:
        CheckpointError: with the name.
    """
    if call.name in _NEVER_CALLED:
        raise CheckpointError(f"reading it would run {call.name}")
    if call.name == "numpy.dtype":
        _dtype_code(call)


def is_array(call: Call) -> bool:
    """Return whether a call describes an array."""
    return call.name in _ARRAYS or call.name in _BUFFERS


def array_content(call: Call) -> tuple[str, tuple[int, ...], bool, Any] | None:
    """Return what a call says of an array; ``None`` for an array of texts or objects.

    Returns:
        NumPy's code of the dtype with its byte order, the shape, whether columns come first, and what should
        be the bytes.

    Raises:
        CheckpointError: if it is no array of numbers.
    """
    if call.name in _BUFFERS:
        raw, dtype, size, order = call.args
        by_columns = order == "F"
    elif isinstance(call.state, tuple) and len(call.state) == 5:
        _, size, dtype, by_columns, raw = call.state
    else:
        raise CheckpointError("it has an array without content")
    code = _dtype_code(dtype)
    return None if code is None else (code, shape_of(size), bool(by_columns), raw)


def tensor_of_array(code: str, shape: tuple[int, ...], by_columns: bool, raw: Any) -> Tensor:
    """Return a tensor of an array's numbers, in this machine's byte order; see ``array_content``.

    Raises:
        CheckpointError: if the bytes are not as many as the shape needs.
    """
    dtype = np.dtype(code)
    content = _as_bytes(raw, math.prod(shape) * dtype.itemsize)
    if dtype == np.bool_:  # any byte but 0 is true
        values = np.frombuffer(content, np.uint8) != 0
    else:
        values = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
    array = values.reshape(shape, order="F" if by_columns else "C")
    return torch.from_numpy(np.ascontiguousarray(array).reshape(shape))


def shape_of(size: Any) -> tuple[int, ...]:
    """Return a shape, whose product is below ``MAX_NUMEL`` even without sides of 0.

    Raises:
        CheckpointError: if it is none.
    """
    shape = naturals_of(size)
    if math.prod(max(side, 1) for side in shape) >= MAX_NUMEL:
        raise CheckpointError(f"it has a tensor of shape {shape}")
    return shape


def naturals_of(size: Any) -> tuple[int, ...]:
    """Return a shape or strides: natural numbers.

    Raises:
        CheckpointError: if they are anything else.
    """
    if isinstance(size, Call) and size.name == "torch.Size" and len(size.args) == 1:
        size = size.args[0]
    if not isinstance(size, tuple | list) or len(size) > _MAX_DIMS:
        raise CheckpointError("it has a tensor without a shape")
    if not all(type(side) is int and 0 <= side < MAX_NUMEL for side in size):
        raise CheckpointError("it has a tensor with a side that is no natural number")
    return tuple(size)


def _dtype_code(dtype: Any) -> str | None:
    """Return NumPy's code, with byte order, of a dtype of numbers; ``None`` for texts and objects."""
    if not isinstance(dtype, Call) or dtype.name != "numpy.dtype" or not dtype.args:
        raise CheckpointError("it has an array of no dtype")
    code, order = _as_text(dtype.args[0]), "="
    parts: tuple[Any, ...] = ()
    if isinstance(dtype.state, tuple) and len(dtype.state) >= 5:
        order, parts = _as_text(dtype.state[1]), dtype.state[2:5]
    elif dtype.state is not None:
        raise CheckpointError("it has an array of a damaged dtype")
    if order not in ("<", ">", "=", "|"):
        raise CheckpointError("it has an array of a damaged dtype")
    if any(part is not None for part in parts):
        raise CheckpointError(f"reading it would run numpy.dtype {code!r} with parts in it")
    if code[:1] in _NO_NUMBERS:
        return None
    code = "b1" if code == "?" else code
    if code not in _CODES:
        raise CheckpointError(f"reading it would run numpy.dtype {code!r}, which is no number")
    return f"{order.replace('|', '=')}{code}"


def _as_text(item: Any) -> str:
    text = item.decode("latin-1") if isinstance(item, bytes) else item
    if not isinstance(text, str) or not text:
        raise CheckpointError("it has an array of a damaged dtype")
    return text


def _as_bytes(raw: Any, count: int) -> bytes:
    """Return an array's content, which must have ``count`` bytes."""
    if isinstance(raw, Call) and raw.name in ("builtins.bytes", "builtins.bytearray"):
        raw = raw.args[0] if raw.args else b""
    if isinstance(raw, Call) and raw.name == "_codecs.encode":
        text = raw.args[0]  # bytes in a pickle for Python 2: as text of Latin-1
        raw = text.encode("latin-1") if isinstance(text, str) and len(text) == count else text
    if not isinstance(raw, bytes) or len(raw) != count:
        raise CheckpointError(f"it has an array that should have {count} bytes and does not")
    return raw
