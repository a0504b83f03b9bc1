"""PNG and TIFF files with odd metadata, rare kinds of pixels, or colours hidden by transparency."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from minisrgan.errors import ImageError
from minisrgan.imaging import files
from minisrgan.imaging.files import load_photo, read_photo
from minisrgan.imaging.transparency import fill_hidden, over_white


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def refusal(path):
    with pytest.raises(ImageError) as caught:
        load_photo(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


# PNG


def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc or zlib.crc32(kind + data))


def write_png(path, rows, *before, bits=8, colour_type=2, width=None, after=b""):
    """A PNG of packed rows, with chunks before and after its data."""
    width = width or len(rows[0]) * 8 // bits // {0: 1, 2: 3}[colour_type]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + data + after + chunk(b"IEND", b""))
    return path


RGB = noise(6, 5, 3)
ROWS = [row.tobytes() for row in RGB]
LARGE = zlib.compress(bytes(2**22))
TURNED = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # an EXIF of nothing but orientation 6


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"zTXt", b"Comment\0\0" + LARGE),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
        chunk(b"tEXt", b"Comment\0" + bytes(2**21)),
        chunk(b"tEXt", b"Comment\0text", crc=1),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + LARGE),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
        chunk(b"eXIf", b"garbage "),
        chunk(b"eXIf", TURNED, crc=1),
        chunk(b"cHRM", b"\0"),
        chunk(b"pHYs", b"\0"),
        chunk(b"acTL", b"\0"),
        chunk(b"iCCP", b"icc\0\0garbage"),
        chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2**21))),
    ],
)
def test_no_note_in_a_png_is_in_the_way_of_its_pixels(tmp_path, odd):
    for place in ({}, {"after": odd}):
        path = write_png(tmp_path / "x.png", ROWS, *([] if place else [odd]), **place)
        photo = load_photo(path)
        np.testing.assert_array_equal(photo.rgb, RGB)
        assert photo.alpha is None and photo.frames == 1 and not photo.grey


def test_a_large_colour_profile_is_used_and_a_huge_one_refused_with_what_to_do(tmp_path):
    """Profiles of printers have megabytes; Pillow takes one at most."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = bytearray(plain)  # red and blue, so that it shows
    for at in range(132, 132 + 12 * struct.unpack(">I", plain[128:132])[0], 12):
        if (name := plain[at : at + 4]) in (b"rXYZ", b"bXYZ"):
            swapped[at : at + 1] = b"b" if name == b"rXYZ" else b"r"
    for size in (len(plain), 2**21):
        profile = struct.pack(">I", size) + bytes(swapped[4:]) + bytes(size - len(plain))
        path = write_png(tmp_path / "x.png", ROWS, chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile)))
        np.testing.assert_allclose(load_photo(path).rgb, RGB[..., ::-1], atol=2)
    path = write_png(tmp_path / "x.png", ROWS, chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2**25))))
    assert "colour profile" in refusal(path) and "save it without" in refusal(path)


@pytest.mark.parametrize(
    "kind, data",
    [
        (b"eXIf", TURNED),
        (b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<rdf tiff:Orientation="6"/>'),
        (
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n32\n" + (b"Exif\0\0" + TURNED).hex().encode()),
        ),
    ],
)
def test_what_says_how_a_png_is_turned_is_read_wherever_it_stands(tmp_path, kind, data):
    for place in ({}, {"after": chunk(kind, data)}):
        path = write_png(tmp_path / "x.png", ROWS, *([] if place else [chunk(kind, data)]), **place)
        np.testing.assert_array_equal(load_photo(path).rgb, np.rot90(RGB, -1))


def test_damaged_pixels_of_a_png_are_not_forgiven(tmp_path):
    path = write_png(tmp_path / "x.png", ROWS, chunk(b"eXIf", TURNED))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 12] ^= 16
    path.write_bytes(data)
    refusal(path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_value_of_a_grey_png_of_few_bits(tmp_path, bits):
    values = np.arange(16).reshape(2, 8) % 2**bits
    packed = (values.reshape(2, -1, 8 // bits) << np.arange(8 - bits, -1, -bits)).sum(axis=2).astype(np.uint8)
    for clear in {0, 1, 2**bits - 1}:
        tRNS = chunk(b"tRNS", struct.pack(">H", clear))
        rows = [row.tobytes() for row in packed]
        photo = load_photo(write_png(tmp_path / "x.png", rows, tRNS, bits=bits, colour_type=0, width=8))
        np.testing.assert_array_equal(photo.rgb[..., 0], values * 255 // (2**bits - 1))
        np.testing.assert_array_equal(photo.alpha, np.where(values == clear, 0, 255))
        assert photo.grey


def test_the_transparent_colour_of_a_png_of_16_bits(tmp_path):
    values = np.array([[[0x1234, 0x5678, 0x9ABC], [0xFF00, 0, 0x00FF]]])
    rows = [row.tobytes() for row in values.astype(">u2")]
    path = write_png(tmp_path / "x.png", rows, chunk(b"tRNS", values[0, 0].astype(">u2").tobytes()), bits=16)
    np.testing.assert_array_equal(load_photo(path).alpha, [[0, 255]])


# TIFF


def directory(order, tags, at, after=0):
    """The bytes of an IFD at a place in a file, {tag: (type, values)}, and of its values after it."""
    sizes, letters = {1: 1, 3: 2, 4: 4, 5: 8, 10: 8}, {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}
    entries, rest = b"", b""
    place = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        count = len(values) // 2 if kind in (5, 10) else len(values)
        data = struct.pack(f"{order}{len(values)}{letters[kind]}", *values)
        if count * sizes[kind] > 4:
            rest, data = rest + data, struct.pack(f"{order}I", place + len(rest))
        entries += struct.pack(f"{order}HHI", tag, kind, count) + data.ljust(4, b"\0")
    end = place + len(rest)
    return struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", after and end) + rest


def tiff(path, *pictures, order="<"):
    """A TIFF of uncompressed pictures: (data, width, height, bits, photometric, {other tag: (type, values)})."""
    file = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 0)
    starts = []
    for data, *_ in pictures:
        starts.append(len(file))
        file += data + bytes(len(data) % 2)
    file = file[:4] + struct.pack(f"{order}I", len(file)) + file[8:]
    for i, ((data, width, height, bits, photometric, others), start) in enumerate(zip(pictures, starts)):
        tags = {
            256: (4, [width]),
            257: (4, [height]),
            258: (3, bits),
            259: (3, [1]),
            262: (3, [photometric]),
            273: (4, [start]),
            277: (3, [len(bits)]),
            278: (4, [height]),
            279: (4, [len(data)]),
        }
        file += directory(order, tags | others, len(file), after=i + 1 < len(pictures))
    path.write_bytes(file)
    return path


GREY16 = np.array([[0, 128, 129, 257, 385, 386], [32767, 32768, 65278, 65406, 65407, 65535]])


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_16_bit_grey_tiff_white_or_black_is_zero(tmp_path, white_is_zero):
    stored = 65535 - GREY16 if white_is_zero else GREY16
    path = tiff(tmp_path / "x.tif", (stored.astype("<u2").tobytes(), 6, 2, [16], 1 - white_is_zero, {}))
    photo = load_photo(path)
    np.testing.assert_array_equal(photo.rgb, np.dstack([np.round(GREY16 / 257)] * 3))
    assert photo.grey and photo.alpha is None


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_tiff_of_other_bits_is_scaled_or_refused(tmp_path, bits, white_is_zero):
    values = np.random.default_rng(0).integers(0, 2**bits, (4, 8))
    stored = 2**bits - 1 - values if white_is_zero else values
    packed = np.packbits((stored[..., None] >> np.arange(bits - 1, -1, -1)) & 1, axis=None)
    path = tiff(tmp_path / "x.tif", (packed.tobytes(), 8, 4, [bits], 1 - white_is_zero, {}))
    if bits == 12 and white_is_zero:
        assert "8 or 16 bits" in refusal(path)
    else:
        np.testing.assert_array_equal(load_photo(path).rgb[..., 0], np.floor(values * 255 / (2**bits - 1) + 0.5))


@pytest.mark.parametrize(
    "dtype, bits, photometric, others, word",
    [
        ("<i2", [16], 1, {339: (3, [2])}, "signed"),
        ("i1", [8], 1, {339: (3, [2])}, "signed"),
        ("<i4", [32], 1, {339: (3, [2])}, "signed"),
        ("<u4", [32], 1, {}, "32 bits"),
        ("<f4", [32], 1, {339: (3, [3])}, "floating-point"),
        ("<f4", [32] * 3, 2, {339: (3, [3] * 3)}, "8 or 16 bits"),
        ("<f2", [16] * 3, 2, {339: (3, [3] * 3)}, "8 or 16 bits"),
        ("<u2", [10], 1, {}, "8 or 16 bits"),
        ("u1", [8] * 3, 6, {}, "save it again as PNG"),
    ],
)
def test_pixels_without_an_agreed_range_are_refused_with_what_to_do(tmp_path, dtype, bits, photometric, others, word):
    data = np.arange(24 * len(bits)).astype(dtype).tobytes()
    assert word in refusal(tiff(tmp_path / "x.tif", (data, 6, 4, bits, photometric, others)))


def test_colours_stored_one_after_another_are_read_with_8_bits_and_refused_with_16(tmp_path):
    starts = {273: (4, [8, 38, 68]), 279: (4, [30] * 3), 284: (3, [2])}
    planes = np.moveaxis(RGB, 2, 0).tobytes()
    path = tiff(tmp_path / "x.tif", (planes, 5, 6, [8] * 3, 2, starts))
    np.testing.assert_array_equal(load_photo(path).rgb, RGB)
    starts = {273: (4, [8, 68, 128]), 279: (4, [60] * 3), 284: (3, [2])}
    wide = (np.moveaxis(RGB, 2, 0).astype("<u2") * 257).tobytes()
    assert "separate planes" in refusal(tiff(tmp_path / "y.tif", (wide, 5, 6, [16] * 3, 2, starts)))


@pytest.mark.parametrize("mark", [{254: (4, [1])}, {255: (3, [2])}, {254: (4, [4])}])
def test_a_thumbnail_is_not_the_photo(tmp_path, mark):
    small = (RGB[:2, :2].tobytes(), 2, 2, [8] * 3, 2, mark)
    photo = load_photo(tiff(tmp_path / "x.tif", small, small, (RGB.tobytes(), 5, 6, [8] * 3, 2, {})))
    np.testing.assert_array_equal(photo.rgb, RGB)
    raw = (RGB.tobytes(), 5, 6, [8] * 3, 32803, {})  # a camera's, which Pillow does not read
    for pictures in ([small], [small, small], [small, raw]):
        assert "only a thumbnail" in refusal(tiff(tmp_path / "x.tif", *pictures))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    "odd",
    [
        {282: (1, [0])},  # the resolution as a byte
        {282: (10, [-1, 0])},
        {305: (4, [7])},  # the software as a number
        {270: (10, [-1, 0])},
        {256: (5, [72, 1])},
    ],
)
def test_of_exif_the_orientation_is_read_and_the_rest_forgiven(tmp_path, odd, orientation):
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + directory(">", {274: (3, [orientation])} | odd, 8)
    smooth = np.kron(np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3), np.ones((16, 16), np.uint8))
    expected = np.dstack([np.rot90(smooth, -1) if orientation == 6 else smooth] * 3)
    for name in ("x.jpg", "x.png", "x.webp"):
        Image.fromarray(smooth).convert("RGB").save(tmp_path / name, exif=exif, lossless=True)
        np.testing.assert_allclose(load_photo(tmp_path / name).rgb, expected, atol=6)
    if 256 not in odd:  # which is the width of a TIFF
        tags = {274: (3, [orientation])} | odd
        path = tiff(tmp_path / "x.tif", (smooth.tobytes(), 48, 32, [8], 1, tags))
        np.testing.assert_array_equal(load_photo(path).rgb, expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\xff", b"Exif\0\0"])
def test_a_photo_with_a_broken_exif_is_read_as_it_lies(tmp_path, exif):
    for name in ("x.png", "x.webp", "x.jpg"):
        Image.new("RGB", (8, 4), (9, 9, 9)).save(tmp_path / name, exif=exif, lossless=True)
        assert load_photo(tmp_path / name).rgb.shape == (4, 8, 3)


# Memory, frames, what grey is


def test_what_would_take_too_much_memory_is_refused_with_the_limit(tmp_path):
    rows = [bytes(3)] * 16
    path = write_png(tmp_path / "x.png", rows)
    data = bytearray(path.read_bytes())
    data[16:33] = chunk(b"IHDR", struct.pack(">IIBBBBB", 13000, 13000, 8, 2, 0, 0, 0))[8:]
    path.write_bytes(data)
    assert "13000 × 13000" in refusal(path) and "1.1 GiB" in refusal(path) and "limit is 1 GiB" in refusal(path)
    strip = {259: (3, [8])}  # deflate: libtiff unpacks the one strip whole
    path = tiff(tmp_path / "x.tif", (zlib.compress(bytes(2**20)), 10000, 10000, [16] * 3, 2, strip))
    assert "limit is 1 GiB" not in refusal(path)
    path = tiff(tmp_path / "x.tif", (zlib.compress(bytes(2**20)), 12000, 12000, [16] * 3, 2, strip))
    assert "limit is 1 GiB" in refusal(path)


def test_pillows_own_limit_is_named_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "20 pixels" in refusal(write_png(tmp_path / "x.png", ROWS))


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tif"])
def test_how_many_pictures_there_are_is_told(tmp_path, name):
    frames = [Image.fromarray(noise(4, 5, 3, seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    assert load_photo(tmp_path / name).frames == 3
    frames[0].save(tmp_path / name)
    assert load_photo(tmp_path / name).frames == 1


def test_grey_is_what_the_file_says(tmp_path):
    grey = noise(4, 5)
    for name, image, expected in [
        ("l.png", Image.fromarray(grey), True),
        ("l.jpg", Image.fromarray(grey), True),
        ("la.png", Image.fromarray(noise(4, 5, 2), "LA"), True),
        ("16.png", Image.fromarray(grey.astype(np.uint16) * 257), True),
        ("1.png", Image.fromarray(grey > 99), True),
        ("rgb.png", Image.fromarray(np.dstack([grey] * 3)), False),
        ("p.png", Image.fromarray(grey).convert("P"), False),
    ]:
        image.save(tmp_path / name)
        assert load_photo(tmp_path / name).grey is expected, name


def test_a_format_that_is_a_program_is_never_run(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args: pytest.fail("Ghostscript runs"))
    (tmp_path / "x.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n%%EndComments\nshowpage\n%%EOF\n")
    assert "not a picture" in refusal(tmp_path / "x.png")


def test_a_conversion_in_bands_is_that_of_the_whole(tmp_path, monkeypatch):
    paths = []
    for name, image in [
        ("rgba.png", Image.fromarray(noise(9, 7, 4))),
        ("16.png", Image.fromarray(noise(9, 7).astype(np.uint16) * 129)),
        ("cmyk.tif", Image.fromarray(noise(9, 7, 4), "CMYK")),
        ("p.gif", Image.fromarray(noise(9, 7, 3)).quantize(8)),
    ]:
        image.save(tmp_path / name)
        paths.append(tmp_path / name)
    whole = [read_photo(path) for path in paths]
    monkeypatch.setattr(files, "BAND", 20)
    for path, (rgb, alpha) in zip(paths, whole):
        np.testing.assert_array_equal(read_photo(path)[0], rgb)
        np.testing.assert_array_equal(read_photo(path)[1], alpha)


# Hidden colours


def test_hidden_pixels_take_the_colour_of_the_nearest_visible_one():
    rgb, alpha = noise(9, 11, 3), np.zeros((9, 11), np.uint8)
    visible = [(0, 0), (4, 6), (8, 2)]
    for y, x in visible:
        alpha[y, x] = 1 + y
    filled = fill_hidden(rgb, alpha)
    for y, x in np.ndindex(alpha.shape):
        steps = {(v, u): abs(y - v) + abs(x - u) for v, u in visible}
        nearest = [rgb[place] for place in visible if steps[place] == min(steps.values())]
        assert any((filled[y, x] == colour).all() for colour in nearest)


def test_visible_pixels_and_photos_without_hidden_ones_stay(tmp_path):
    rgb = noise(9, 11, 3)
    for alpha in (None, np.full((9, 11), 1, np.uint8), np.zeros((9, 11), np.uint8)):
        np.testing.assert_array_equal(fill_hidden(rgb, alpha), rgb)
    alpha = noise(9, 11, seed=1) // 128 * 200
    kept = rgb.copy()
    filled = fill_hidden(rgb, alpha)
    np.testing.assert_array_equal(filled[alpha > 0], rgb[alpha > 0])
    np.testing.assert_array_equal(rgb, kept)


def test_white_paper_shows_through():
    rgb = np.array([[[200, 100, 0]] * 3], np.uint8)
    laid = over_white(rgb, np.array([[0, 255, 128]], np.uint8))
    np.testing.assert_array_equal(laid[0], [[255, 255, 255], [200, 100, 0], [227, 177, 127]])
    assert over_white(rgb, None) is rgb
