"""Ways to damage bytes, text and trees of JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

INTERESTING_BYTES = (0, 1, 127, 128, 254, 255, 10, 13, 32, 46)
HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 255, 1 << 31, 1 << 63, -(1 << 70), 10**400),
    *(0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), float("-inf")),
    *("", " ", "0", "-1", "nan", "x" * 3_000, "\0", "a\nb", "../../x", "\ud800", "é", "{}", "null"),
    *([], {}, [[]], [None], [1, 2], {"": None}, {"a": {"b": [1]}}),
)


def mutated_bytes(data: bytes, generator: np.random.Generator, *, most: int = 8) -> bytes:
    """Return bytes with up to ``most`` places changed, removed, repeated or cut off."""
    result = bytearray(data)
    for _ in range(int(generator.integers(1, most + 1))):
        place = int(generator.integers(0, len(result) + 1))
        length = int(generator.integers(1, 17))
        match generator.integers(0, 8):
            case 0 | 1:
                result[place : place + 1] = [int(generator.integers(0, 256))]
            case 2:
                result[place : place + 1] = [int(generator.choice(INTERESTING_BYTES))]
            case 3:
                del result[place : place + length]
            case 4:
                result[place:place] = generator.bytes(length)
            case 5:
                source = int(generator.integers(0, len(result) + 1))
                result[place:place] = result[source : source + length]
            case 6:
                number = int(generator.choice([0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]))
                result[place : place + 4] = number.to_bytes(4, generator.choice(["little", "big"]))
            case _:
                if generator.integers(0, 4) == 0:
                    del result[place:]
    return bytes(result)


def mutated_tree(tree: Any, generator: np.random.Generator, *, most: int = 4) -> Any:
    """Return a tree of JSON with up to ``most`` values replaced, removed, repeated or exchanged."""
    root = [copy.deepcopy(tree)]
    for _ in range(int(generator.integers(1, most + 1))):
        places = list(_places(root))
        parent, key = places[int(generator.integers(0, len(places)))]
        other, other_key = places[int(generator.integers(0, len(places)))]
        match generator.integers(0, 6):
            case 0 | 1 | 2:
                choice = int(generator.integers(0, len(HOSTILE_VALUES)))
                parent[key] = copy.deepcopy(HOSTILE_VALUES[choice])
            case 3:
                if parent is not root:
                    del parent[key]
            case 4:
                parent[key] = copy.deepcopy(other[other_key])
            case _:
                if isinstance(parent, list):
                    parent.insert(key, copy.deepcopy(parent[key]))
                else:
                    parent[str(other_key)] = parent[key]
    return root[0]


def _places(tree: Any) -> Any:
    """Yield every container in a tree with each of its keys."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, dict | list):
            for key in list(item) if isinstance(item, dict) else range(len(item)):
                yield item, key
                stack.append(item[key])


def mutated_json(text: str, generator: np.random.Generator) -> bytes:
    """Return JSON with damaged values, or, one time in four, damaged bytes."""
    if generator.integers(0, 4) == 0:
        return mutated_bytes(text.encode(), generator)
    return json.dumps(mutated_tree(json.loads(text), generator)).encode()


def mutated_lines(text: str, generator: np.random.Generator) -> bytes:
    """Return text with damaged lines or fields, line ends, byte order marks, or bytes."""
    if generator.integers(0, 3) == 0:
        return mutated_bytes(text.encode(), generator)
    lines = text.splitlines()
    for _ in range(int(generator.integers(1, 4))):
        place = int(generator.integers(0, len(lines)))
        value = str(HOSTILE_VALUES[int(generator.integers(0, len(HOSTILE_VALUES)))])
        words = lines[place].split(",")
        match generator.integers(0, 6):
            case 0:
                lines[place] = value
            case 1:
                words[int(generator.integers(0, len(words)))] = value
                lines[place] = ",".join(words)
            case 2:
                lines.insert(place, lines[place])
            case 3:
                lines[place] = f"  {lines[place]}\t"
            case 4:
                lines[place] += f",{value}"
            case _:
                lines.pop(place)
                lines = lines or [""]
    end = generator.choice(["\n", "\r\n", "\r"])
    mark = "\ufeff" if generator.integers(0, 5) == 0 else ""
    return f"{mark}{end.join(lines)}{end}".encode("utf-8", "surrogatepass")
