"""Every tensor exactly as it was saved, and none that its bytes do not hold."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import pytest
import torch

from massrl.errors import CheckpointError
from massrl.weights.pickled import Call, External, Global
from massrl.weights.safe_reader import read_weights
from massrl.weights.tensors import Storage, TensorBuilder

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16)
COMPLEX = (torch.complex64, torch.complex128)
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)


def expected(path: Path) -> Any:
    """What torch itself reads from a file that is known to be harmless."""
    return torch.load(path, weights_only=False)


def as_bytes(tensor: torch.Tensor) -> list[int]:
    return tensor.reshape(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, *COMPLEX, *EIGHT_BITS, torch.bool])
def test_tensor_of_each_dtype_is_read_as_it_was_saved(
    tmp_path: Path, dtype: torch.dtype, zipped: bool
) -> None:
    """Guards each dtype; also those that torch stores without a type (16-bit unsigned, 8-bit floats)."""
    content = {
        "a": (torch.arange(24) % 7).reshape(2, 3, 4).to(dtype),
        "b": torch.ones(()).to(dtype),
    }
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    weights = read_weights(tmp_path / "x.pth")
    for name, tensor in content.items():
        assert weights[name].dtype == dtype
        assert weights[name].shape == tensor.shape
        assert as_bytes(weights[name]) == as_bytes(tensor)


def test_views_parameters_and_odd_shapes_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    """Guards offsets and strides; also tied weights, wrappers of tensors, and tensors without values."""
    whole = torch.arange(24.0).reshape(4, 6)
    noted = torch.ones(3)
    noted.note = "an attribute"  # type: ignore[attr-defined]
    content = {
        "column": whole[:, 2],
        "transposed": whole.t(),
        "expanded": torch.arange(3.0).expand(4, 3),
        "empty": torch.zeros(0, 5),
        "number": torch.tensor(3.0),
        "parameter": torch.nn.Parameter(whole[1:3, ::2]),
        "noted": noted,
        "tied": [whole, whole],
        "ordered": collections.OrderedDict(x=whole),
        "counts": collections.Counter(x=1),
    }
    for zipped in (True, False):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        weights, wanted = read_weights(tmp_path / "x.pth"), expected(tmp_path / "x.pth")
        for name in ("column", "transposed", "expanded", "empty", "number", "parameter", "noted"):
            assert torch.equal(weights[name], wanted[name].detach()), name
        assert {"tied/0", "tied/1", "ordered/x"} <= set(weights)
        assert weights["tied/0"].data_ptr() == weights["tied/1"].data_ptr()


def storage(
    numel: Any, *, kind: str = "torch.FloatStorage", key: Any = "0", tag: str = "storage"
) -> External:
    return External((tag, Global(kind), key, "cpu", numel))


def dense(offset: Any, size: Any, stride: Any, *, numel: Any = 6, metadata: Any = None) -> Call:
    args = (storage(numel), offset, size, stride, False, Call("collections.OrderedDict"))
    return Call("torch._utils._rebuild_tensor_v2", args if metadata is None else (*args, metadata))


def build(call: Call, *, max_bytes: int = 1 << 20) -> Any:
    def read(storage: Storage) -> torch.Tensor:
        return torch.arange(storage.num_bytes).to(torch.uint8)

    return TensorBuilder(read, max_bytes=max_bytes).build(call)


def test_tensor_inside_its_storage_is_made() -> None:
    """Guards the tests below: refusing everything would pass them."""
    assert build(dense(0, (2, 3), (3, 1))).shape == (2, 3)
    assert build(dense(5, (1,), (1,))).shape == (1,)
    assert build(dense(9, (0,), (1,))).shape == (0,)


@pytest.mark.parametrize(
    "call",
    [
        dense(0, (7,), (1,)),
        dense(1, (6,), (1,)),
        dense(0, (2, 3), (4, 1)),
        dense(-1, (2,), (1,)),
        dense(5, (2,), (-1,)),
        dense(0, (-2,), (1,)),
        dense(0, (2,), (1, 1)),
        dense(0, (1 << 62, 4), (0, 0)),
        dense(0, (0, 1 << 59, 1 << 59), (1, 1, 1)),
        dense(0, (1 << 40,), (0,)),
        dense(0, (1,) * 100, (0,) * 100),
        dense(0, (True,), (1,)),
        dense(0, (2.0,), (1,)),
        dense(0, None, (1,)),
        dense(0, (1,), (1,), numel=-6),
        dense(0, (1,), (1,), numel=1 << 62),
        dense(0, (1,), (1,), numel="6"),
        dense(0, (1,), (1,), metadata=Call("builtins.dict", pairs=[("conj", True)])),
        Call("torch._utils._rebuild_tensor_v2", (None, 0, (1,), (1,))),
        Call(
            "torch._utils._rebuild_tensor", (storage(6, kind="torch.QInt8Storage"), 0, (1,), (1,))
        ),
        Call("torch._utils._rebuild_tensor", (storage(6, tag="module"), 0, (1,), (1,))),
        Call("torch._utils._rebuild_parameter", (3,)),
        Call("torch.Tensor", (1 << 40,)),
    ],
)
def test_tensor_outside_of_its_storage_is_refused(call: Call) -> None:
    """Guards memory beside a storage from being read, and a number for each side from being trusted.

    Also of this kind: strides of 0 that make a terabyte of one number, and products that overflow.
    """
    with pytest.raises(CheckpointError):
        build(call)


def test_many_views_of_one_storage_are_refused_in_sum() -> None:
    """Guards memory when a program copies the weights: each may be small enough by itself."""
    builder = TensorBuilder(
        lambda item: torch.zeros(item.num_bytes, dtype=torch.uint8), max_bytes=0
    )
    calls = [dense(0, (1 << 20,), (0,)) for _ in range(100)]
    with pytest.raises(CheckpointError, match="many times larger than the file"):
        list(map(builder.build, calls))


def test_endless_wrappers_are_refused() -> None:
    """Guards the stack: a parameter of a parameter of a parameter, and so on."""
    call = dense(0, (1,), (1,))
    for _ in range(10_000):
        call = Call("torch._utils._rebuild_parameter", (call, False, None))
    with pytest.raises(CheckpointError, match="parameter"):
        build(call)
