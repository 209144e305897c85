"""One image of a source: whatever a reader raises is that image's error."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image

from massrl.errors import ImageError
from massrl.images.reading import read_image, read_pixels


class Faulty:
    """A source whose images raise."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, index: int) -> bytes:
        """Raise."""
        raise self.error

    def describe(self, index: int) -> str:
        """Return a name."""
        return f"mine/{index}"


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), MemoryError(), RecursionError(), OSError(5, "I/O error"), ValueError("a\nb")],
)
def test_error_of_a_source_is_the_images(error):
    """Guards a run that ends at a source of another package, "unexpected ...": also out of memory."""
    for read in (read_image, read_pixels):
        with pytest.raises(ImageError, match=r"^mine/3: cannot be read \(") as caught:
            read(Faulty(error), 3)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="^a: b$"):
        read_image(Faulty(ImageError("a", "b")), 0)
    with pytest.raises(KeyboardInterrupt):
        read_image(Faulty(KeyboardInterrupt()), 0)


@pytest.mark.parametrize(
    ("form", "owner", "function"),
    [
        ("JPEG", simplejpeg, "decode_jpeg"),
        ("GIF", Image, "open"),
        ("TIFF", Image, "open"),
        ("TIFF", tifffile, "TiffFile"),
    ],
)
@pytest.mark.parametrize(
    "error", [MemoryError(), IndexError("out of range"), OverflowError("too big")]
)
def test_error_of_a_decoder_is_the_images(form, owner, function, error, photo, encode, monkeypatch):
    """Guards the same of decoders, whatever they raise."""
    image = photo[..., 0].astype(np.uint16) * 257 if function == "TiffFile" else photo
    tiff = {"tiffinfo": {262: 0}} if function == "TiffFile" else {}
    encoded = encode(image, form, **tiff)

    class Source:
        def read(self, index: int) -> bytes:
            return encoded

        def describe(self, index: int) -> str:
            return "a/b"

    def fails(*_: object, **__: object) -> None:
        raise error

    assert read_pixels(Source(), 0).shape == (48, 64, 3)
    monkeypatch.setattr(owner, function, fails)
    with pytest.raises(ImageError, match=r"^a/b: "):
        read_pixels(Source(), 0)
