"""Ranges of samples, against the arrays that were written."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from massrl.images.header import read_header
from massrl.images.value_range import value_range


def range_of(encoded: bytes) -> tuple[float, float] | None:
    return value_range(encoded, read_header(encoded))


@pytest.mark.parametrize("dtype", ["u2", "i2", "f4", "u4"])
@pytest.mark.parametrize("bands", [1, 5])
def test_range_of_deep_tiffs_is_that_of_their_samples(dtype, bands):
    """Guards ranges of refused kinds, which tell how to convert them; what is not finite does not count."""
    samples = np.random.default_rng(0).integers(0, 3000, (9, 8, bands)).astype(dtype)
    if dtype != "u2" and dtype != "u4":
        samples -= np.array(1000, dtype)
    expected = float(samples.min()), float(samples.max())
    if dtype == "f4":
        samples[0, 0, 0], samples[1, 0, 0] = np.nan, np.inf
        finite = samples[np.isfinite(samples)]
        expected = float(finite.min()), float(finite.max())
    stream = io.BytesIO()
    image = samples[..., 0] if bands == 1 else samples
    planar = {} if bands == 1 else {"planarconfig": "contig"}
    tifffile.imwrite(stream, image, photometric="minisblack", **planar)
    assert range_of(stream.getvalue()) == expected


def test_range_of_a_deep_png_is_that_of_its_samples(photo, encode):
    """Guards 12 bits in a file of 16: they come out dark, and the range says why."""
    assert range_of(encode(photo[..., 0].astype(np.uint16) * 16)) == (
        16.0 * photo[..., 0].min(),
        16.0 * photo[..., 0].max(),
    )


def test_pictures_of_8_bits_and_damaged_ones_have_no_range(photo, encode):
    """Guards a second decoding of every image of a folder, and an error where there is a report."""
    for form in ("PNG", "TIFF", "JPEG"):
        assert range_of(encode(photo, form)) is None
    deep = encode(photo[..., 0].astype(np.uint16) * 16)
    assert range_of(deep[: len(deep) // 2]) is None
