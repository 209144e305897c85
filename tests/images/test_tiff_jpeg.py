"""JPEGs in strips and tiles of a TIFF."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.images.tiffs import tiff

from massrl.errors import ImageError
from massrl.images.decode import decode


@pytest.mark.parametrize("mode", ["RGB", "YCbCr", "L"])
def test_colours_of_each_kind_agree_with_tifffile(mode, photo, encode):
    """Guards red taken for luma: the tags decide, not libjpeg's guess; several strips, shared tables."""
    picture = Image.fromarray(photo).resize((160, 120)).convert(mode)
    encoded = encode(picture, "TIFF", compression="jpeg", quality=95, strip_size=160 * 3 * 16)
    expected = tifffile.imread(io.BytesIO(encoded))
    assert len(tifffile.TiffFile(io.BytesIO(encoded)).pages.first.dataoffsets) > 1
    expected = expected if mode != "L" else np.repeat(expected[..., None], 3, axis=2)
    assert np.abs(decode(encoded).astype(int) - expected).max() <= 4
    assert np.abs(decode(encoded).astype(int) - np.asarray(picture.convert("RGB"))).mean() < 4


def test_tiles_are_put_in_their_places(photo):
    """Guards tiles at the edges, of which a part is shown."""
    stream = io.BytesIO()
    options = {"compression": "jpeg", "compressionargs": {"level": 95}, "tile": (32, 32)}
    tifffile.imwrite(stream, photo[:45, :61], photometric="rgb", **options)
    assert np.abs(decode(stream.getvalue()).astype(int) - photo[:45, :61]).mean() < 4


@pytest.mark.parametrize("size", [(48, 60), (40, 64), (96, 128)])
def test_jpeg_of_another_size_than_its_strip_is_refused(size, photo, encode):
    """Guards a part left as it was, and a JPEG far larger than the picture."""
    part = encode(np.resize(photo, (*size, 3)), "JPEG")
    with pytest.raises(ImageError, match=r"damaged TIFF"):
        decode(tiff([part], size=(48, 64), tags={259: (3, [7]), 262: (3, [6])}))
