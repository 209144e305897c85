"""Compressed data of TIFFs, walked: whole strips of other programs have no problem, cut ones have."""

from __future__ import annotations

import zlib

import imagecodecs
import numpy as np
import pytest

from massrl.images.tiff_codes import deflate_problem, lzw_problem, packbits_problem

PROBLEMS = {
    "lzw": lambda data, size: lzw_problem(data, least=size),
    "packbits": lambda data, size: packbits_problem(data, least=size),
    "zlib": lambda data, size: deflate_problem(data, least=size, most=size + 9),
}


def contents() -> list[bytes]:
    draw = np.random.default_rng(0)
    ramp = np.arange(40_000) // 50 % 256
    return [
        b"\x07",
        bytes(70_000),
        draw.integers(0, 256, 50_000, dtype=np.uint8).tobytes(),
        draw.integers(0, 3, 50_000, dtype=np.uint8).tobytes(),
        ramp.astype(np.uint8).tobytes(),
    ]


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("number", range(5))
def test_whole_data_have_no_problem(name, number):
    """Guards the walk: widths of codes, full tables and clearing, against imagecodecs' encoders."""
    content = contents()[number]
    data = bytes(getattr(imagecodecs, f"{name}_encode")(content))
    assert PROBLEMS[name](data, len(content)) == ""
    assert PROBLEMS[name](data, len(content) + 1) != ""
    assert PROBLEMS[name](data[: len(data) // 2], len(content)) != ""


def test_code_in_no_table_is_found():
    """Guards what libtiff prints: "Using code not yet in table"."""
    assert lzw_problem(bytes([0x80, 0x0F, 0xFF, 0xFF]), least=9).endswith("in no table")


def test_deflate_with_more_behind_its_end_is_fine():
    """Guards writers that pad a strip."""
    assert deflate_problem(zlib.compress(b"ab") + b"\0\0", least=2, most=9) == ""
