"""TIFFs: the right pixels, or one line that says what the file is; never pixels that no reader decoded."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.images.tiffs import tiff

from massrl.errors import ImageError, ImageKindError
from massrl.images import tiff as module
from massrl.images.decode import decode
from massrl.images.tiff_page import read_page

HEIGHT, WIDTH = 22, 37


@pytest.fixture
def rgb() -> np.ndarray:
    """A picture without black or white: uint8 ``(22, 37, 3)``."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([20 + 5 * x, 30 + 9 * y, 100 + x * y % 120], axis=2).astype(np.uint8)


def written(image: np.ndarray, **options: object) -> bytes:
    """What tifffile writes, with its own codecs."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, **options)
    return stream.getvalue()


def by_pillow(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as opened:
        return np.asarray(opened.convert("RGB"))


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "jpeg2000"])
@pytest.mark.parametrize(
    "layout",
    [{}, {"tile": (16, 16)}, {"rowsperstrip": 5}, {"byteorder": ">", "bigtiff": True}],
    ids=["one strip", "tiles", "strips", "big"],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_are_exact_for_every_lossless_compression_and_layout(
    compression, layout, bits, rgb
):
    """Guards the kind: compressions, strips, tiles, byte orders, and depths, each read by another branch."""
    stored = rgb if bits == 8 else rgb.astype(np.uint16) * 257
    options = {"reversible": True} if compression == "jpeg2000" else {}
    encoded = written(
        stored, photometric="rgb", compression=compression, compressionargs=options, **layout
    )
    assert np.array_equal(decode(encoded), rgb)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("bits", [8, 16])
def test_predictor_and_separate_planes_are_undone(compression, bits, rgb):
    """Guards differences shown as pixels, and one plane shown three times."""
    stored = rgb if bits == 8 else rgb.astype(np.uint16) * 257
    planes = np.ascontiguousarray(np.moveaxis(stored, 2, 0))
    encoded = written(
        planes, photometric="rgb", planarconfig="separate", compression=compression, rowsperstrip=6
    )
    assert np.array_equal(decode(encoded), rgb)
    encoded = written(
        stored, photometric="rgb", compression=compression, predictor=bool(compression)
    )
    assert np.array_equal(decode(encoded), rgb)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_of_each_depth_spans_black_to_white(photometric, bits, order):
    """Guards depths that come out dark (12 bits are not 16), and min-is-white left negative."""
    top = (1 << bits) - 1
    levels = np.linspace(0, top, 40).round().astype(np.uint16)
    image = np.tile(levels, (8, 1))
    if bits in (8, 16):
        data = image.astype(np.uint8 if bits == 8 else order + "u2").tobytes()
    else:  # packed by hand: each row's bits, the most significant first
        as_bits = (image[..., None] >> np.arange(bits)[::-1]) & 1
        data = np.packbits(as_bits.reshape(8, -1), axis=1).tobytes()
    white_first = photometric == "miniswhite"
    tags = {258: (3, [bits]), 277: (3, [1]), 262: (3, [0 if white_first else 1])}
    pixels = decode(tiff([data], size=(8, 40), tags=tags, order=order))
    shown = top - image if white_first else image
    expected = shown * 255 // top if bits <= 8 else shown >> (bits - 8)
    assert np.array_equal(pixels, three(expected))


@pytest.mark.parametrize("extra", [[0], [1], [2], []])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", [255, 128, 3])
def test_alpha_is_dropped_and_multiplies_nothing(extra, bits, alpha):
    """Guards colours multiplied by alpha in 16 bits, when they are not in 8.

    Of associated alpha the file has the colours multiplied already; what is shown is the colour itself,
    as Pillow does.
    """
    colour = np.array([200, 100, 50])
    stored = np.round(colour * alpha / 255) if extra == [1] else colour
    pixel = np.array([*stored, alpha], int) * (257 if bits == 16 else 1)
    data = np.tile(pixel, (4, 4, 1)).astype(np.uint8 if bits == 8 else "<u2").tobytes()
    tags = {258: (3, [bits] * 4), 277: (3, [4])} | ({338: (3, extra)} if extra else {})
    encoded = tiff([data], size=(4, 4), tags=tags)
    expected = colour if extra != [1] else np.minimum(255, stored * 255 / alpha)
    assert np.abs(decode(encoded)[1, 1].astype(float) - expected).max() <= 1
    assert np.array_equal(decode(encoded), by_pillow(encoded))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("extra", [1, 2])
def test_grey_with_alpha_is_grey(bits, extra):
    """Guards alpha taken for a second band."""
    value, alpha, factor = 60, 180, 257 if bits == 16 else 1
    stored = round(value * alpha / 255) if extra == 1 else value
    data = np.tile([stored * factor, alpha * factor], (4, 5, 1))
    data = data.astype(np.uint8 if bits == 8 else "<u2").tobytes()
    tags = {258: (3, [bits] * 2), 277: (3, [2]), 262: (3, [1]), 338: (3, [extra])}
    pixels = decode(tiff([data], size=(4, 5), tags=tags))
    assert pixels.shape == (4, 5, 3)
    assert np.abs(pixels.astype(int) - value).max() <= 1


@pytest.mark.parametrize("bands", [2, 3, 4, 8, 13])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
def test_bands_without_colours_are_refused_as_such(bands, bits, planar):
    """Guards the first of several bands in silence, and "damaged" of a whole file."""
    data = (
        np.tile(np.arange(bands) * 15, (8, 8, 1)).astype(np.uint8 if bits == 8 else "<u2").tobytes()
    )
    tags = {
        258: (3, [bits] * bands), 277: (3, [bands]), 262: (3, [1]), 284: (3, [planar]),
        338: (3, [0] * (bands - 1)),
    }  # fmt: skip
    size = len(data) // bands
    parts = [data] if planar == 1 else [data[n * size :][:size] for n in range(bands)]
    with pytest.raises(
        ImageKindError, match=f"{bands} bands of {bits}-bit unsigned samples"
    ) as caught:
        decode(tiff(parts, size=(8, 8), tags=tags | {278: (4, [8])}))
    assert "accepted: grey, RGB" in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_bands_beyond_the_colours_are_dropped(rgb):
    """Guards red, green, blue and infrared, where the file says which are the colours."""
    for bits, more in ((8, 1), (8, 5), (16, 1), (16, 5)):
        stored = rgb if bits == 8 else rgb.astype(np.uint16) * 257
        image = np.concatenate([stored, stored[..., :1].repeat(more, axis=2)], axis=2)
        encoded = written(image, photometric="rgb", extrasamples=[0] * more)
        assert np.array_equal(decode(encoded), rgb)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("i1", "8-bit signed"),
        ("i2", "16-bit signed"),
        ("i4", "32-bit signed"),
        ("u4", "32-bit unsigned"),
        ("f2", "16-bit floating-point"),
        ("f4", "32-bit floating-point"),
        ("f8", "64-bit floating-point"),
        ("c8", "64-bit complex"),
    ],
)
def test_samples_without_a_fixed_range_are_refused(dtype, words, rgb):
    """Guards -1 that becomes white, and floats or 32 bits scaled by a guess."""
    with pytest.raises(ImageKindError, match=f"1 band of {words} samples"):
        decode(written(rgb[..., 0].astype(dtype), photometric="minisblack"))


@pytest.mark.parametrize("code", [0, 6, 12345, 34887, 50013, 65535])
@pytest.mark.parametrize("bits", [8, 16])
def test_unknown_compression_is_refused_by_its_number(code, bits):
    """Guards compressions that OpenCV left black and readable: slide scanners, satellites, nonsense."""
    tags = {259: (3, [code]), 258: (3, [bits] * 3)}
    with pytest.raises(ImageKindError, match=rf"compression {code}|old-style JPEG|LERC"):
        decode(tiff([b"\x55" * 200], size=(8, 8), tags=tags))


@pytest.mark.parametrize("code", [33005, 34712, 50002, 34933, 50001, 50000, 3, 4, 5])
def test_content_of_another_compression_is_never_black(code, rgb):
    """Guards the number that says one thing, and data that are another."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG")
    tags = {259: (3, [code])}
    if code in (3, 4):
        tags |= {258: (3, [1]), 277: (3, [1]), 262: (3, [1])}
    with pytest.raises(ImageError):
        decode(tiff([stream.getvalue()], size=(HEIGHT, WIDTH), tags=tags))


@pytest.mark.parametrize("missing", ["jpeg2000", "jpegxl", "webp", "zstd"])
def test_compression_without_its_package_names_the_extra(missing, rgb, monkeypatch):
    """Guards "damaged" of a whole file; what Pillow reads must not need the extra."""
    options = {"compressionargs": {"level": 100}} if missing == "webp" else {}
    encoded = written(rgb, photometric="rgb", compression=missing, **options)

    def fails(*_: object, **__: object) -> None:
        raise ValueError("requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", fails)
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ImageKindError, match=r"needs imagecodecs: pip install 'massrl\[tiff\]'"):
        decode(encoded)
    for compression in (None, "lzw", "zlib", "packbits"):
        whole = written(rgb, photometric="rgb", compression=compression)
        assert np.array_equal(decode(whole), rgb)


@pytest.mark.parametrize("compression", ["lzw", "adobe_deflate", "packbits", "jpeg"])
def test_strips_that_were_never_written_are_refused(compression, encode):
    """Guards half a black picture: the room is there, its bytes are zeros, as a broken copy leaves them."""
    draw = np.random.default_rng(0).integers(80, 256, (64, 64, 3), dtype=np.uint8)
    picture = np.kron(draw, np.ones((4, 4, 1), np.uint8))
    name = compression if compression in ("packbits", "jpeg") else f"tiff_{compression}"
    whole = encode(picture, "TIFF", compression=name)
    assert np.abs(decode(whole).astype(int) - picture).mean() < 12
    page = tifffile.TiffFile(io.BytesIO(whole)).pages.first
    first, last = page.dataoffsets[0], page.dataoffsets[-1] + page.databytecounts[-1]
    for start in (first + 60, (first + last) // 2):
        broken = bytearray(whole)
        broken[start:last] = bytes(last - start)
        with pytest.raises(ImageError, match=r"strip \d+ of \d+"):
            decode(bytes(broken))


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("compression", [1, 8])
def test_missing_strips_and_tiles_are_refused(tiled, compression):
    """Guards sparse files, cut ones, and lists of strips that are too short: they would be black.

    Also of the kind: an offset of 0, a length of 0, a strip beyond the end of the file, one too short.
    """
    part = np.full((16, 16, 3), 99, np.uint8).tobytes()
    data = part if compression == 1 else zlib.compress(part)
    layout = {322: (4, [16]), 323: (4, [16])} if tiled else {}
    tags = {259: (3, [compression]), **layout}
    offset_tag, length_tag = (324, 325) if tiled else (273, 279)
    place = 8 + len(data)
    assert (decode(tiff([data, data], size=(32, 16), tags=tags)) == 99).all()
    for changed in (
        {offset_tag: (4, [8, 0])},
        {length_tag: (4, [len(data), 0])},
        {offset_tag: (4, [8, 1 << 30])},
        {length_tag: (4, [len(data), 1 << 30])},
        {length_tag: (4, [len(data), len(data) // 2])},
        {offset_tag: (4, [8])},
        {offset_tag: (4, [8, place]), length_tag: (4, [len(data)])},
    ):
        with pytest.raises(ImageError, match="(strip|tile) 2 of 2"):
            decode(tiff([data, data], size=(32, 16), tags=tags | changed))


def test_deflate_with_a_wrong_checksum_is_refused(rgb):
    """Guards wrong pixels that libtiff does not look for: it stops before the checksum."""
    data = bytearray(zlib.compress(rgb.tobytes()))
    data[-1] ^= 1
    with pytest.raises(ImageError, match="strip 1 of 1 is damaged: Error -3"):
        decode(tiff([bytes(data)], size=rgb.shape[:2], tags={259: (3, [8])}))


def test_deflate_that_expands_without_end_is_refused_early():
    """Guards a strip of kilobytes that becomes gigabytes: only a picture's worth is inflated."""
    data = zlib.compress(bytes(64 << 20))
    with pytest.raises(ImageError, match="it has no end"):
        decode(tiff([data], size=(4, 4), tags={259: (3, [8])}))


def test_tiles_far_larger_than_the_picture_are_refused():
    """Guards a small picture in one tile of gigabytes."""
    tags = {322: (4, [1 << 20]), 323: (4, [1 << 20]), 259: (3, [5])}
    with pytest.raises(ImageError, match="too large: its tiles"):
        decode(tiff([b"\x80" * 99], size=(4, 4), tags=tags))


@pytest.mark.parametrize("side", [700, 40_000])
def test_jpeg2000_that_says_another_size_is_refused_before_it_is_decoded(side, rgb):
    """Guards a size in the data that the tags do not have."""
    encoded = written(rgb, photometric="rgb", compression="jpeg2000")
    page = tifffile.TiffFile(io.BytesIO(encoded)).pages.first
    start = page.dataoffsets[0]
    assert encoded[start : start + 4] == b"\xff\x4f\xff\x51"
    broken = bytearray(encoded)
    broken[start + 8 : start + 12] = side.to_bytes(4, "big")
    with pytest.raises(ImageError, match=rf"strip 1 of 1 says {side} x"):
        decode(bytes(broken))


@pytest.mark.parametrize("place", [0.4, 0.7])
def test_jpeg_in_a_tiff_is_heard(place, rgb, encode, capfd):
    """Guards wrong blocks in a strip: libtiff drops what libjpeg complains about."""
    big = np.random.default_rng(1).integers(60, 220, (128, 128, 3), dtype=np.uint8)
    encoded = bytearray(encode(big, "TIFF", compression="jpeg", quality=95))
    assert decode(bytes(encoded)).shape == (128, 128, 3)
    page = tifffile.TiffFile(io.BytesIO(bytes(encoded))).pages.first
    start = page.dataoffsets[0] + int(page.databytecounts[0] * place)
    encoded[start : start + 20] = b"\x13" * 20
    with pytest.raises(ImageError, match="strip 1 of"):
        decode(bytes(encoded))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("old", [False, True])
def test_palette_has_colours_of_16_or_8_bits(bits, compression, old):
    """Guards indices shown as grey, and the 8-bit palettes of old programs, which would be black."""
    colours = np.random.default_rng(bits).integers(40, 256, (1 << bits, 3))
    indices = np.arange(64).reshape(8, 8) % (1 << bits)
    as_bits = (indices[..., None] >> np.arange(bits)[::-1]) & 1
    data = np.packbits(as_bits.astype(np.uint8).reshape(8, -1), axis=1).tobytes()
    entries = colours.T.ravel() * (1 if old else 257)
    tags = {
        258: (3, [bits]), 277: (3, [1]), 262: (3, [3]), 320: (3, entries.tolist()),
        259: (3, [compression]),
    }  # fmt: skip
    data = data if compression == 1 else zlib.compress(data)
    assert np.array_equal(decode(tiff([data], size=(8, 8), tags=tags)), colours[indices])


def test_index_beyond_the_palette_is_an_error():
    """Guards a foreign error, and a colour that the file does not have."""
    tags = {258: (3, [8]), 277: (3, [1]), 262: (3, [3]), 320: (3, [99] * 12)}
    with pytest.raises(ImageError, match=r"palette"):
        decode(tiff([bytes(range(64))], size=(8, 8), tags=tags))


def test_cielab_becomes_the_colours_of_its_formula():
    """Guards Lab shown as RGB: lightness in red. The right values come from CIE's formula, at D50."""
    lab = np.array([[[50, 0, 0], [80, 10, 40], [30, -20, 15]]], float)
    data = np.stack([lab[..., 0] * 255 / 100, lab[..., 1] % 256, lab[..., 2] % 256], axis=2)
    pixels = decode(
        tiff([data.round().astype(np.uint8).tobytes()], size=(1, 3), tags={262: (3, [8])})
    )
    light = (lab[..., 0] + 16) / 116
    parts = np.stack([light + lab[..., 1] / 500, light, light - lab[..., 2] / 200], axis=2)
    xyz = np.where(parts > 6 / 29, parts**3, 3 * (6 / 29) ** 2 * (parts - 4 / 29))
    xyz *= [0.9642, 1.0, 0.8249]
    to_rgb = np.array(  # from XYZ at D50, adapted by Bradford (Lindbloom)
        [[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]
    )
    linear = np.clip(xyz @ to_rgb.T, 0, 1)
    srgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    assert np.abs(pixels - srgb * 255).max() <= 3


def test_cmyk_and_ycbcr_agree_with_pillow(rgb, encode):
    """Guards inverted inks, and luma shown as red."""
    ink = Image.fromarray(rgb).convert("CMYK")
    for compression in ("raw", "tiff_lzw"):
        encoded = encode(ink, "TIFF", compression=compression)
        assert np.array_equal(decode(encoded), np.asarray(ink.convert("RGB")))
    luma = Image.fromarray(np.kron(rgb, np.ones((8, 8, 1), np.uint8))).convert("YCbCr")
    encoded = encode(luma, "TIFF", compression="jpeg", quality=95)
    assert np.abs(decode(encoded).astype(int) - tifffile.imread(io.BytesIO(encoded))).mean() < 1
    assert np.abs(decode(encoded).astype(int) - np.asarray(luma.convert("RGB"))).mean() < 3


def test_first_page_is_taken(rgb):
    """Guards a stack of pages shown as one of its others, or refused."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for page in (rgb, 255 - rgb, rgb[:5, :5]):
            writer.write(page, photometric="rgb")
    assert np.array_equal(decode(stream.getvalue()), rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_orientation_is_applied_by_either_reader(orientation, photometric, encode):
    """Guards scans on their side; 16 bits, and white first, are read by tifffile."""
    grey = np.arange(6 * 9, dtype=np.uint16).reshape(6, 9) * 1000
    extratags = [(274, 3, 1, orientation, True)]
    encoded = written(grey, photometric=photometric, extratags=extratags)
    shown = three((65535 - grey if photometric == "miniswhite" else grey) >> 8)
    exif = Image.Exif()
    exif[0x112] = orientation
    reference = encode(shown, "PNG", exif=exif)  # read by OpenCV
    assert np.array_equal(decode(encoded), decode(reference))


def test_readers_agree_where_both_read(rgb, monkeypatch):
    """Guards a reader's own faults: Pillow and tifffile give the same pixels for what both know."""
    for stored in (
        rgb,
        rgb[..., 0],
        rgb.astype(np.uint16) * 257 + 5,
        rgb[..., 1].astype(np.uint16) * 250,
    ):
        kind = "rgb" if stored.ndim == 3 else "minisblack"
        for compression in (None, "lzw", "zlib", "packbits"):
            encoded = written(stored, photometric=kind, compression=compression)
            page = read_page(encoded)
            samples = module.read_samples(encoded, page, name="")
            assert np.array_equal(decode(encoded), module._to_rgb(samples, page, encoded))


def ccitt(encode, *, photometric: int = 1, rows: int = 40) -> tuple[np.ndarray, bytes]:
    """A picture of two levels, bool ``(40, 50)``, and its file."""
    picture = np.indices((40, 50)).prod(axis=0) % 7 < 3
    options = {"tiffinfo": {262: photometric}, "strip_size": rows * 7}
    return picture, encode(Image.fromarray(picture), "TIFF", compression="group4", **options)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("rows", [40, 9])
def test_scans_of_text_in_ccitt_group_4_are_read(photometric, rows, encode):
    """Guards white for black, and strips that are compared with others."""
    picture, encoded = ccitt(encode, photometric=photometric, rows=rows)
    assert np.array_equal(decode(encoded), three(picture * 255))


def test_damaged_ccitt_group_4_is_refused(encode):
    """Guards rows left white: neither libtiff nor imagecodecs says that they were not decoded.

    Every third bit is turned. A few of such files are what another picture is encoded as.
    """
    _, encoded = ccitt(encode)
    page = tifffile.TiffFile(io.BytesIO(encoded)).pages.first
    start, length = page.dataoffsets[0], page.databytecounts[0]
    errors = 0
    for bit in range(0, 8 * length, 3):
        broken = bytearray(encoded)
        broken[start + bit // 8] ^= 1 << bit % 8
        try:
            decoded = decode(bytes(broken))
        except ImageError:
            errors += 1
        else:
            again = encode(Image.fromarray(decoded[..., 0] > 0), "TIFF", compression="group4")
            strip = tifffile.TiffFile(io.BytesIO(again)).pages.first
            data = again[strip.dataoffsets[0] :][: strip.databytecounts[0]]
            assert broken[start:][:length].rstrip(b"\0") == data.rstrip(b"\0")
    assert errors > 0.9 * 8 * length / 3


@pytest.mark.parametrize("compression", ["group3", "tiff_ccitt"])
def test_other_ccitt_is_refused_by_name(compression, encode):
    """Guards rows left white, where no second encoding would be the same."""
    encoded = encode(Image.new("1", (50, 40), 1), "TIFF", compression=compression)
    with pytest.raises(ImageKindError, match=r"CCITT (Group 3|RLE)"):
        decode(encoded)
