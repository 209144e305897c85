"""Parse pickled bytes into plain data; nothing that they name is ever imported, made or called.

A pickle is a program for a small stack machine. This one knows the opcodes that make numbers, text and
containers. Where a file names a class or function, the name is kept (``Global``); where it would call
one, the name and the arguments are (``Call``). What becomes of them is for the reader of the result.
"""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass
from struct import unpack
from typing import Any, BinaryIO

from massrl.errors import CheckpointError

_MAX_OPCODES = 3_000_000  # bounds time and memory; a checkpoint has some 10 for each tensor
_MAX_NAME = 1_000  # bytes of a module's or a class's name
_SMALL = 4_096  # bytes that are asked for without looking at how many the file has
CUT = "it ends in the middle of its content"
DAMAGED = "it is damaged, or not a weights file"


@dataclass(eq=False, slots=True)
class Global:
    """A class or function by its name, such as ``collections.OrderedDict``."""

    name: str


@dataclass(eq=False, slots=True)
class Call:
    """What a file would have made: a call, and what the result would have been filled with.

    Attributes:
        name: of the class or function; ``builtins.dict`` and ``builtins.set`` for those that have
            opcodes of their own.
        args: its arguments.
        state: what would have been given to ``__setstate__``.
        pairs: keys and values that would have been set, in order.
        items: elements that would have been appended or added.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    pairs: list[tuple[Any, Any]] | None = None
    items: list[Any] | None = None


@dataclass(eq=False, slots=True)
class External:
    """A reference to something that the file keeps outside of the pickle, such as a storage."""

    key: Any


class Unpickler:
    """A stack machine for one pickle.

    Args:
        file: the bytes, from its present position.
        size: of the whole file, bytes.
        accept: called with each name that the pickle refers to; raises for one it refuses.

    Attributes:
        calls: every call, in order.
        externals: every reference to something outside, in order.
    """

    def __init__(self, file: BinaryIO, *, size: int, accept: Callable[[str], None]) -> None:
        self.calls: list[Call] = []
        self.externals: list[External] = []
        self._file, self._size, self._accept = file, size, accept
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # stacks below each mark
        self._memo: dict[int, Any] = {}
        self._protocol = 0

    def load(self) -> Any:
        """Return what the pickle describes: plain values, lists, tuples, and the classes above.

        Raises:
            CheckpointError: if it has an unknown opcode or too many, ends early, or a name is refused.
        """
        read = self._file.read
        for _ in range(_MAX_OPCODES):
            code = read(1)
            if code == pickle.STOP:
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise CheckpointError(DAMAGED)
            step(self)
        raise CheckpointError(f"it has over {_MAX_OPCODES:,} entries")

    def _take(self, count: int) -> bytes:
        """Read exactly ``count`` bytes; memory is only asked for where the file has them."""
        if count > _SMALL and count > self._size - self._file.tell():
            raise CheckpointError(CUT)
        data = self._file.read(count)
        if len(data) < count:
            raise CheckpointError(CUT)
        return data

    def _number(self, code: str, count: int) -> int:
        return int(unpack(code, self._take(count))[0])

    def _counted(self, code: str, count: int) -> bytes:
        return self._take(self._number(code, count))

    def _pop(self) -> Any:
        if not self._stack:
            raise CheckpointError(DAMAGED)
        return self._stack.pop()

    def _push(self, item: Any) -> None:
        self._stack.append(item)

    def _pop_mark(self) -> list[Any]:
        if not self._outer:
            raise CheckpointError(DAMAGED)
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _refer(self, module: str, name: str) -> None:
        if self._protocol < 3:  # of Python 2
            if (module, name) in NAME_MAPPING:
                module, name = NAME_MAPPING[module, name]
            module = IMPORT_MAPPING.get(module, module)
        self._accept(f"{module}.{name}")
        self._push(Global(f"{module}.{name}"))

    def _global(self) -> None:
        lines = [self._file.readline(_MAX_NAME) for _ in range(2)]
        if not all(line.endswith(b"\n") for line in lines):
            raise CheckpointError(DAMAGED)
        module, name = (str(line[:-1], "utf-8") for line in lines)
        self._refer(module, name)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str) or len(name) > _MAX_NAME:
            raise CheckpointError(DAMAGED)
        self._refer(module, name)

    def _call(self) -> None:
        args, function = self._pop(), self._pop()
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise CheckpointError("it calls something that is no function")
        self._made(Call(function.name, args))

    def _call_with_keywords(self) -> None:
        self._pop()
        self._call()

    def _made(self, call: Call) -> None:
        self.calls.append(call)
        self._push(call)

    def _build(self) -> None:
        state = self._pop()
        self._target().state = state

    def _target(self) -> Call:
        """Return the call on top, whose result is to be filled."""
        if not self._stack or not isinstance(self._stack[-1], Call):
            raise CheckpointError("it fills something that is no object")
        found: Call = self._stack[-1]
        return found

    def _append(self, items: list[Any]) -> None:
        if self._stack and isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)
            return
        target = self._target()
        if target.items is None:
            target.items = []
        target.items.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._target()
        if target.pairs is None:
            target.pairs = []
        target.pairs.extend(zip(items[::2], items[1::2], strict=True))

    def _set_one(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _external(self) -> None:
        self.externals.append(External(self._pop()))
        self._push(self.externals[-1])

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise CheckpointError(DAMAGED)
        self._push(self._memo[index])

    def _put(self, index: int) -> None:
        item = self._pop()
        self._memo[index] = item
        self._push(item)

    def _start(self) -> None:
        self._protocol = self._number("<B", 1)


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _text(data: bytes) -> str:
    return str(data, "utf-8", "surrogatepass")


_STEPS: dict[bytes, Callable[[Unpickler], Any]] = {
    pickle.PROTO: Unpickler._start,
    pickle.FRAME: lambda m: m._take(8),  # what it frames follows as if there were no frame
    pickle.MARK: Unpickler._mark,
    pickle.POP: Unpickler._pop,
    pickle.POP_MARK: Unpickler._pop_mark,
    pickle.NONE: lambda m: m._push(None),
    pickle.NEWTRUE: lambda m: m._push(True),
    pickle.NEWFALSE: lambda m: m._push(False),
    pickle.BININT: lambda m: m._push(m._number("<i", 4)),
    pickle.BININT1: lambda m: m._push(m._number("<B", 1)),
    pickle.BININT2: lambda m: m._push(m._number("<H", 2)),
    pickle.LONG1: lambda m: m._push(_long(m._counted("<B", 1))),
    pickle.LONG4: lambda m: m._push(_long(m._counted("<I", 4))),
    pickle.BINFLOAT: lambda m: m._push(unpack(">d", m._take(8))[0]),
    # Text of Python 2 may be bytes as well: it is kept as bytes.
    pickle.SHORT_BINSTRING: lambda m: m._push(m._counted("<B", 1)),
    pickle.BINSTRING: lambda m: m._push(m._counted("<I", 4)),
    pickle.SHORT_BINUNICODE: lambda m: m._push(_text(m._counted("<B", 1))),
    pickle.BINUNICODE: lambda m: m._push(_text(m._counted("<I", 4))),
    pickle.BINUNICODE8: lambda m: m._push(_text(m._counted("<Q", 8))),
    pickle.SHORT_BINBYTES: lambda m: m._push(m._counted("<B", 1)),
    pickle.BINBYTES: lambda m: m._push(m._counted("<I", 4)),
    pickle.BINBYTES8: lambda m: m._push(m._counted("<Q", 8)),
    pickle.BYTEARRAY8: lambda m: m._push(m._counted("<Q", 8)),
    pickle.EMPTY_TUPLE: lambda m: m._push(()),
    pickle.TUPLE1: lambda m: m._tuple(1),
    pickle.TUPLE2: lambda m: m._tuple(2),
    pickle.TUPLE3: lambda m: m._tuple(3),
    pickle.TUPLE: lambda m: m._push(tuple(m._pop_mark())),
    pickle.FROZENSET: lambda m: m._push(tuple(m._pop_mark())),
    pickle.EMPTY_LIST: lambda m: m._push([]),
    pickle.APPEND: lambda m: m._append([m._pop()]),
    pickle.APPENDS: lambda m: m._append(m._pop_mark()),
    pickle.EMPTY_SET: lambda m: m._made(Call("builtins.set")),
    pickle.ADDITEMS: lambda m: m._append(m._pop_mark()),
    pickle.EMPTY_DICT: lambda m: m._made(Call("builtins.dict")),
    pickle.SETITEM: Unpickler._set_one,
    pickle.SETITEMS: lambda m: m._set(m._pop_mark()),
    pickle.BINGET: lambda m: m._get(m._number("<B", 1)),
    pickle.LONG_BINGET: lambda m: m._get(m._number("<I", 4)),
    pickle.BINPUT: lambda m: m._put(m._number("<B", 1)),
    pickle.LONG_BINPUT: lambda m: m._put(m._number("<I", 4)),
    pickle.MEMOIZE: lambda m: m._put(len(m._memo)),
    pickle.GLOBAL: Unpickler._global,
    pickle.STACK_GLOBAL: Unpickler._stack_global,
    pickle.REDUCE: Unpickler._call,
    pickle.NEWOBJ: Unpickler._call,
    pickle.NEWOBJ_EX: Unpickler._call_with_keywords,
    pickle.BUILD: Unpickler._build,
    pickle.BINPERSID: Unpickler._external,
}
"""What each opcode does. Those of calls by module alone, of extensions and of buffers are unknown."""
