"""Every array exactly as it was saved, and nothing that only NumPy's own code would understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from massrl.errors import CheckpointError
from massrl.weights.arrays import check_array_call
from massrl.weights.pickled import Call, Global
from massrl.weights.safe_reader import read_weights
from massrl.weights.tensors import TensorBuilder

NUMPY_CODES = ("?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "F", "D")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", NUMPY_CODES)
def test_array_of_each_dtype_is_read_as_numpy_wrote_it(
    tmp_path: Path, code: str, order: str, protocol: int
) -> None:
    """Guards NumPy's arrays, which its own code may not rebuild; both byte orders, rows or columns first."""
    array = (np.arange(24) % 5).reshape(2, 3, 4).astype(np.dtype(code).newbyteorder(order))
    content = {
        "rows": array,
        "columns": np.asfortranarray(array),
        "part": array[:, 1, ::2],
        "empty": array[:0],
        "number": array[1, 1, 1:2].reshape(()),
    }
    torch.save(content, tmp_path / "x.pth", pickle_protocol=protocol)
    weights = read_weights(tmp_path / "x.pth")
    for name, value in content.items():
        assert weights[name].numpy().dtype == np.dtype(code)
        assert np.array_equal(weights[name].numpy(), value), name
        assert weights[name].shape == value.shape


def test_arrays_that_are_no_weights_are_left_out(tmp_path: Path) -> None:
    """Guards checkpoints with names of classes beside their weights; they are never decoded."""
    content = {
        "a": torch.ones(2),
        "names": np.array(["cat", "dog"]),
        "objects": np.array([None, {}], dtype=object),
        "days": np.array(["2024-01-01"], dtype="datetime64[D]"),
        "score": np.float64(3.5),
    }
    torch.save(content, tmp_path / "x.pth")
    assert list(read_weights(tmp_path / "x.pth")) == ["a"]


def array(dtype: Call, raw: Any, *, shape: Any = (2,)) -> Call:
    made = Call("numpy.core.multiarray._reconstruct", (Global("numpy.ndarray"), (0,), b"b"))
    made.state = (1, shape, dtype, False, raw)
    return made


def numpy_dtype(code: Any, *, order: Any = "<", parts: Any = (None, None, None)) -> Call:
    return Call("numpy.dtype", (code, False, True), state=(3, order, *parts, -1, -1, 0))


def build(call: Call) -> torch.Tensor | None:
    return TensorBuilder(lambda storage: torch.empty(0), max_bytes=0).build(call)


def test_array_of_its_length_is_made() -> None:
    """Guards the tests below: refusing everything would pass them."""
    made = build(array(numpy_dtype("f4"), np.ones(2, "<f4").tobytes()))
    assert made is not None
    assert made.tolist() == [1, 1]


SUB_ARRAY = (Call("numpy.dtype", ("O", False, True)), (1,))


@pytest.mark.parametrize(
    "dtype",
    [
        numpy_dtype("f8", parts=(SUB_ARRAY, None, None)),
        numpy_dtype("V8", parts=(None, ("a",), {"a": 0})),
        numpy_dtype("V8"),
        numpy_dtype("f16"),
        numpy_dtype("f8", order="!"),
        numpy_dtype("i3"),
        numpy_dtype("(2,)f4"),
        numpy_dtype("f4,f4"),
        numpy_dtype(3),
        Call("numpy.dtype"),
        Call("numpy.dtype", ("f4", False, True), state={"a": 1}),
        Call("numpy.ndarray", ((1,), numpy_dtype("f8"), b"\0" * 8)),
    ],
)
def test_dtype_that_is_no_plain_number_is_refused(dtype: Call) -> None:
    """Guards against bytes of a file that are taken for pointers: a dtype that says "one object".

    Also of this kind: structured dtypes, sub-arrays, raw bytes, long doubles, codes with parts of their
    own, and arrays that are made by calling NumPy.
    """
    with pytest.raises(CheckpointError):
        check_array_call(dtype)


@pytest.mark.parametrize(
    "raw", [b"\0" * 7, b"\0" * 9, "\0" * 8, None, 8, [0] * 8, Call("builtins.bytes")]
)
def test_array_of_another_length_is_refused(raw: Any) -> None:
    """Guards memory beside an array's bytes."""
    with pytest.raises(CheckpointError, match="should have 8 bytes"):
        build(array(numpy_dtype("f4"), raw))
