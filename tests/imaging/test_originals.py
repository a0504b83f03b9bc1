"""Photos as they are: 16 bits from the file's own values, grey, own colours; and what a file says beside its pixels."""

import struct
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_helpers import P3, encoded, icc_profile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin
from test_odd_files import LARGE, ROWS, chunk, directory, write_png

from minisrgan.errors import ImageError
from minisrgan.imaging import tiff, writing
from minisrgan.imaging.about import About, Text
from minisrgan.imaging.files import load_photo
from minisrgan.imaging.originals import load_original, pictures, survey
from minisrgan.imaging.pixels import (
    grey_of,
    levels_as,
    levels_from_sr,
    lr_from_levels,
    lr_from_uint8,
    luma,
    uint8_from_sr,
)
from minisrgan.imaging.plugins import PLUGINS
from minisrgan.imaging.writing import FORMATS, encode_animation

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def read(data):
    return load_original("a photo", data)


def together(original):
    return original.pixels if original.alpha is None else np.concatenate([original.pixels, original.alpha], axis=2)


# Pixels


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@settings(deadline=None, max_examples=8)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_what_is_written_strip_by_strip_is_read_again(suffix, dtype, channels, height, width, seed):
    if (suffix, dtype, channels) == (".tif", np.uint16, 2):
        return  # which Pillow cannot read
    photo = noise(height, width, channels, dtype=dtype, seed=seed)
    original = read(encoded(suffix, photo))
    assert original.pixels.dtype == dtype
    np.testing.assert_array_equal(together(original), photo)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_tiff_is_read_by_others_too(channels, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    for limit in (tiff.LIMIT, 0):  # the second makes a BigTIFF of it
        monkeypatch.setattr(tiff, "LIMIT", limit)
        photo = noise(90, 411, channels, dtype=np.uint16)
        file = tifffile.TiffFile(BytesIO(encoded(".tif", photo)))
        np.testing.assert_array_equal(file.asarray().reshape(photo.shape), photo)
        assert file.is_bigtiff == (limit == 0) and len(file.pages[0].dataoffsets) > 1


def test_beyond_4_gib_a_tiff_has_wide_offsets():
    tifffile = pytest.importorskip("tifffile")
    head = tiff.head((60000, 60000, 3), np.dtype(np.uint8), About())
    page = tifffile.TiffFile(BytesIO(head)).pages[0]
    assert page.dataoffsets[0] == len(head) and sum(page.databytecounts) == 60000 * 60000 * 3
    assert page.dataoffsets[-1] + page.databytecounts[-1] == len(head) + 60000 * 60000 * 3


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_colours_of_other_writers(order, channels, compression):
    """Of both byte orders, and unpacked by libtiff, which gives this machine's order."""
    tifffile = pytest.importorskip("tifffile")
    photo, file = noise(20, 13, channels, dtype=np.uint16), BytesIO()
    more = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(file, photo, photometric="rgb", byteorder=order, compression=compression, **more)
    np.testing.assert_array_equal(together(read(file.getvalue())), photo)


def test_colours_multiplied_by_alpha_are_divided_again():
    tifffile = pytest.importorskip("tifffile")
    photo, file = noise(20, 13, 4, dtype=np.uint16), BytesIO()
    alpha = photo[..., 3:].astype(float)
    photo[..., :3] = np.round(photo[..., :3] * alpha / 65535)
    tifffile.imwrite(file, photo, photometric="rgb", extrasamples=["assocalpha"])
    original = read(file.getvalue())
    np.testing.assert_array_equal(original.alpha, photo[..., 3:])
    expected = np.minimum(photo[..., :3].astype(float) * 65535 / np.maximum(alpha, 1), 65535)
    assert np.abs(original.pixels - expected).max() <= 0.5


def test_an_interlaced_png_of_16_bits():
    photo = noise(9, 7, 3, dtype=np.uint16)
    rows, passes = photo.astype(">u2"), [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
    parts = [rows[y::dy, x::dx] for y, x, dy, dx in [*passes, (0, 1, 2, 2), (1, 0, 2, 1)]]
    data = b"".join(b"\0" + line.tobytes() for part in parts if part.size for line in part)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 9, 16, 2, 0, 0, 1))
    file = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(read(file).pixels, photo)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_turned_upright_as_8_are(orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo, about = noise(4, 6, 3), About(exif=exif, dpi=(100.0, 200.0))
    eight, sixteen = (read(encoded(suffix, each, about)) for each in (photo, photo.astype(np.uint16) * 257))
    np.testing.assert_array_equal(sixteen.pixels, eight.pixels.astype(np.uint16) * 257)
    again = encoded(suffix, sixteen.pixels, sixteen.about)
    np.testing.assert_array_equal(read(again).pixels, sixteen.pixels)  # it is not turned once more
    assert Image.open(BytesIO(again)).getexif().get(0x0112, 1) == 1
    expected = (200, 100) if orientation > 4 else (100, 200)
    np.testing.assert_allclose([*map(float, Image.open(BytesIO(again)).info["dpi"])], expected, atol=0.1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_a_photo_without_a_profile_is_that_which_load_photo_reads(tmp_path, mode):
    pixels = noise(9, 8, len(Image.new(mode, (1, 1)).getbands()))
    image = Image.fromarray(noise(9, 8, dtype=np.uint16)) if mode == "I;16" else Image.frombytes(
        "L" if mode == "1" else mode, (8, 9), pixels.tobytes()).convert(mode)  # fmt: skip
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    image.save(path)
    photo, original = load_photo(path), load_original(path)
    assert original.pixels.shape[2] == (1 if photo.grey else 3)
    np.testing.assert_array_equal(levels_as(original.pixels, "uint8").repeat(3 if photo.grey else 1, axis=2), photo.rgb)
    np.testing.assert_array_equal(original.alpha is None, photo.alpha is None)


def test_every_level_comes_back_from_the_networks_range():
    for dtype in ("uint8", "uint16"):
        levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
        np.testing.assert_array_equal(levels_from_sr(lr_from_levels(levels) * 2 - 1, dtype), levels)
    sr, eight = np.linspace(-1.1, 1.1, 999, dtype=np.float32), np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(levels_from_sr(sr, "uint8"), uint8_from_sr(sr))
    np.testing.assert_array_equal(lr_from_levels(eight), lr_from_uint8(eight))
    np.testing.assert_array_equal(levels_as(levels_as(eight, "uint16"), "uint8"), eight)
    rgb = noise(9, 3).astype(float)
    np.testing.assert_allclose(16 + grey_of(rgb)[..., 0] * 219 / 255, luma(rgb), atol=0.01)


# What the file says


def described(turned=1):
    """An About with something of each kind."""
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0112: turned, 0x8298: "Somebody"})
    exif[ExifTags.IFD.Exif] = {0x829A: (1, 50), 0xA002: 6, 0xA003: 4, 0x927C: b"notes of the maker"}
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (52.0, 30.0, 15.5)}
    xmp = b'<x:xmpmeta><rdf tiff:Orientation="6" tiff:ImageWidth="6"/><xmp:Thumbnails>AAAA</xmp:Thumbnails></x:xmpmeta>'
    text = (b"tEXt", b"Title\0a title")
    return About(icc_profile(P3), exif, xmp, (300.0, 150.0), b"a comment", (text,))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".heic"])
def test_what_a_photo_says_goes_through_each_format(suffix):
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    first = encoded(suffix, noise(4, 6, 3), described())
    about = read(first).about.upright(1)
    data = encoded(suffix, noise(12, 24, 3), about)
    image = Image.open(BytesIO(data))
    image.load()
    exif = image.getexif()
    assert exif[0x010F] == "Maker" and exif[0x8298] == "Somebody"
    inside, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert (inside[0xA002], inside[0xA003]) == (24, 12) and inside[0x927C] == b"notes of the maker"
    assert place[1] == "N" and [float(each) for each in place[2]] == [52, 30, 15.5]
    assert exif.get(0x0112, 1) == 1
    assert image.info["icc_profile"] == icc_profile(P3)
    xmp = image.tag_v2[700] if suffix == ".tif" else image.info["xmp"]
    assert b'tiff:Orientation="6"' not in xmp and b'ImageWidth="24"' in xmp and b"Thumbnails" not in xmp
    if suffix in (".png", ".jpg", ".tif"):
        np.testing.assert_allclose([float(each) for each in image.info["dpi"]], (300, 150), atol=0.1)
    if suffix == ".png":
        assert image.text["Title"] == "a title" and image.text["Comment"] == "a comment"
    if suffix == ".jpg":
        assert image.info["comment"] == b"a comment"


def test_colours_of_a_wider_space_stay_in_it():
    """Converted to sRGB, the green of P3 would be clipped."""
    photo = noise(9, 8, 3)
    photo[0, 0] = (0, 255, 0)
    for suffix in (".png", ".tif", ".webp"):
        original = read(encoded(suffix, photo, About(profile=icc_profile(P3))))
        np.testing.assert_array_equal(original.pixels, photo)
        assert original.about.profile == icc_profile(P3)


def test_a_damaged_png_is_refused_and_never_half_a_photo(tmp_path):
    """However far its pixels can be read."""
    data = bytearray(encoded(".png", noise(200, 150, 3)))
    data[len(data) // 2] ^= 0x40
    (tmp_path / "x.png").write_bytes(data)
    for load in (load_original, load_photo):
        with pytest.raises(ImageError, match="cannot be read"):
            load(tmp_path / "x.png")
    frames = bytearray(animation(".png", [noise(60, 50, 3, seed=i) for i in range(3)], [40] * 3, 0))
    frames[1000] ^= 0x40  # in the first of them
    for load in (load_original, survey):
        with pytest.raises(ImageError, match="cannot be read"):
            load("x", bytes(frames))


def test_texts_of_exif_beyond_ascii_keep_their_bytes():
    """Programs write them in UTF-8, cameras in Latin-1; in directories of their own too."""
    texts = ["Jürgen Müller".encode(), "© 2024 日本".encode(), "Grün".encode("latin-1")]
    exif = Image.Exif()
    exif.update({0x013B: Text(texts[0].decode("latin-1")), 0x8298: Text(texts[1].decode("latin-1"))})
    exif[ExifTags.IFD.Exif] = {0xA434: Text(texts[2].decode("latin-1"))}
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        about = read(encoded(suffix, noise(4, 6, 3), About(exif=exif))).about
        data = encoded(suffix, noise(8, 12, 3), about)
        assert all(text in data for text in texts), suffix
        kept = Image.open(BytesIO(data)).getexif()
        found = [kept[0x013B], kept[0x8298], kept.get_ifd(ExifTags.IFD.Exif)[0xA434]]
        assert [each.encode("latin-1") for each in found] == texts


def test_a_comment_in_any_encoding_becomes_a_text_of_a_png():
    for comment, text in [("é 日本".encode(), "é 日本"), ("é".encode("latin-1"), "é"), (b"plain", "plain")]:
        original = read(encoded(".jpg", noise(8, 8, 3), About(comment=comment)))
        assert Image.open(BytesIO(encoded(".png", original.pixels, original.about))).text["Comment"] == text


def test_a_profile_of_other_pixels_does_not_go_on(tmp_path):
    Image.fromarray(noise(9, 8, 4), "CMYK").save(tmp_path / "x.tif", icc_profile=SRGB)
    assert load_original(tmp_path / "x.tif").about.profile is None
    for profile in (icc_profile(None, space=b"GRAY"), b"no profile"):
        Image.fromarray(noise(9, 8, 3)).save(tmp_path / "x.png", icc_profile=profile)
        assert load_original(tmp_path / "x.png").about.profile is None
    grey = icc_profile(None, space=b"GRAY")
    Image.fromarray(noise(9, 8)).save(tmp_path / "x.png", icc_profile=grey)
    assert load_original(tmp_path / "x.png").about.profile == grey


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_grey_profile_stays_where_it_can_and_elsewhere_the_greys_become_srgb(tmp_path, suffix, channels):
    """Browsers do not show an AVIF with one, and in the formats without grey it would be for other pixels."""
    form, profile = FORMATS[suffix], icc_profile(None, gamma=1.0, space=b"GRAY")
    if form.name in PLUGINS:
        pytest.importorskip({"JXL": "pillow_jxl", "HEIF": "pillow_heif"}[form.name])
    photo = np.full((16, 256, 1), 255, np.uint8)
    photo[..., 0] = np.arange(256)
    photo = np.concatenate([photo, np.full_like(photo, 255)][:channels], axis=2)
    (tmp_path / "x.png").write_bytes(encoded(".png", photo, About(profile=profile)))
    (tmp_path / f"y{suffix}").write_bytes(encoded(suffix, photo, About(profile=profile)))
    kept = load_original(tmp_path / f"y{suffix}").about.profile
    assert (kept == profile) == (form.name in ("PNG", "JPEG", "TIFF"))
    seen, expected = (load_photo(tmp_path / name).rgb.astype(int) for name in (f"y{suffix}", "x.png"))
    assert np.abs(seen - expected).max() <= {"GIF": 16, "JPEG": 24, "AVIF": 8, "HEIF": 8}.get(form.name, 1)


def test_a_pngs_own_words_on_its_colours_go_on_and_damaged_ones_do_not(tmp_path):
    gamma, white = struct.pack(">I", 100000), bytes(range(32))
    before = [chunk(b"gAMA", gamma), chunk(b"cHRM", white), chunk(b"cICP", b"\0"), chunk(b"zTXt", b"Long\0\0" + LARGE)]
    path = write_png(tmp_path / "x.png", ROWS, *before, after=chunk(b"iTXt", "Wort\0\0\0\0\0Grün".encode()))
    again = encoded(".png", load_original(path).pixels, load_original(path).about)
    assert chunk(b"gAMA", gamma) in again and chunk(b"cHRM", white) in again and b"cICP" not in again
    image = Image.open(BytesIO(again))
    assert image.text == {"Wort": "Grün"}


FILES = {suffix: encoded(suffix, noise(6, 8, 3), described(6)) for suffix in (".png", ".jpg", ".tif")} | {
    suffix: b"".join(
        encode_animation(FORMATS[suffix], (6, 8, 3), [[noise(6, 8, 3, seed=i)] for i in range(3)], [40] * 3, 0, About())
    )
    for suffix in (".webp", ".gif")
}


@pytest.mark.parametrize("odd", [{305: (4, [7])}, {270: (3, [1, 2])}, {282: (10, [-1, 0])}, {306: (10, [1, 0])}])
def test_of_an_odd_exif_the_rest_is_kept(odd, recwarn):
    file, exif = BytesIO(), directory(">", {0x4746: (3, [5])} | odd, 8)
    Image.fromarray(noise(8, 8, 3)).save(file, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + exif)
    about = read(file.getvalue()).about
    assert about.exif[0x4746] == 5
    assert Image.open(BytesIO(encoded(".png", noise(8, 8, 3), about))).getexif()[0x4746] == 5 and not recwarn


def test_more_than_a_jpeg_can_say_is_left_out(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {0x927C: bytes(70000)}
    image = Image.open(BytesIO(encoded(".jpg", noise(8, 8, 3), About(exif=exif, xmp=bytes(70000)))))
    assert image.size == (8, 8) and "exif" not in image.info


@settings(deadline=None, max_examples=60)
@given(suffix=st.sampled_from([".png", ".jpg", ".tif", ".webp", ".gif"]), data=st.data())
def test_a_damaged_file_gives_a_photo_or_an_image_error(suffix, data):
    """A photo, what it says and its pictures, which can be written again, or one line."""
    damaged = bytearray(FILES[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        original = read(bytes(damaged))
        if original.pixels.size < 1e6:
            encoded(".png", original.pixels, original.about)
        if original.moving:
            found = survey("x", bytes(damaged))
            assert sum(1 for _ in pictures("x", bytes(damaged), found)) == len(found.durations)
    except ImageError as error:
        assert "\n" not in str(error)


# Formats


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_format_is_written_and_read(suffix, channels):
    form = FORMATS[suffix]
    if form.name in PLUGINS:
        pytest.importorskip({"JXL": "pillow_jxl", "HEIF": "pillow_heif"}[form.name])
    y, x = np.mgrid[:24, :32]
    photo = (
        np.dstack([4 * x + 3 * y, 255 - 4 * x, 60 + 5 * y][: 1 if channels < 3 else 3]).clip(0, 255).astype(np.uint8)
    )
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[:8] = 0
    original = read(encoded(suffix, photo if channels in (1, 3) else np.dstack([photo, alpha])))
    shown = alpha[..., 0] == 255
    near = {"GIF": 16, "JPEG": 8, "AVIF": 8, "HEIF": 8}.get(form.name, 0)
    expected = photo.repeat(3 // photo.shape[2], axis=2).astype(int)
    assert np.abs(original.pixels - expected)[shown].max() <= near
    if channels in (2, 4) and form.alpha:
        np.testing.assert_array_equal(original.alpha, alpha)
    elif channels in (2, 4):
        assert original.pixels[~shown].min() > 240
    if form.grey and channels == 1 and form.name not in ("HEIF", "GIF", "JXL", "AVIF"):
        assert original.pixels.shape[2] == 1


def test_quality_makes_smaller_files():
    photo = np.kron(noise(12, 12, 3), np.ones((8, 8, 1), np.uint8))
    for suffix in (".jpg", ".webp", ".avif"):
        low, high = (len(encoded(suffix, photo, quality=quality)) for quality in (20, 95))
        assert low < high


def test_a_missing_plugin_is_named(monkeypatch, tmp_path):
    for suffix, start, module, package in [
        (".jxl", b"\xff\x0a" + bytes(20), "pillow_jxl", "pillow-jxl-plugin"),
        (".heic", b"\0\0\0\x1cftypheic" + bytes(60), "pillow_heif", "pillow-heif"),
    ]:
        monkeypatch.setitem(sys.modules, module, None)
        (tmp_path / f"x{suffix}").write_bytes(start)
        for attempt in (lambda: load_original(tmp_path / f"x{suffix}"), lambda: encoded(suffix, noise(8, 8, 3))):  # noqa: B023
            with pytest.raises(ImageError, match=f"needs a plugin: pip install {package}"):
                attempt()


def test_a_profile_that_the_jxl_plugin_would_lose_is_refused():
    pytest.importorskip("pillow_jxl")
    assert read(encoded(".jxl", noise(8, 8, 3), About(profile=SRGB))).pixels.shape == (8, 8, 3)
    with pytest.raises(ImageError, match="writes no colour profile"):
        encoded(".jxl", noise(8, 8, 3), About(profile=icc_profile(P3)))


# Animations


def animation(suffix, frames, durations, plays):
    strips = (iter([each[:5], each[5:]]) for each in frames)
    return b"".join(encode_animation(FORMATS[suffix], frames[0].shape, strips, durations, plays, About()))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
@pytest.mark.parametrize("plays", [0, 1, 3])
@pytest.mark.parametrize("channels", [3, 4])
def test_an_animation_goes_through_each_format(suffix, plays, channels):
    """Transparent pixels show nothing of the picture before."""
    frames = [np.zeros((12, 16, 4), np.uint8) for _ in range(3)]
    for i, frame in enumerate(frames):
        frame[2 + 3 * i : 5 + 3 * i, 4:9] = (250, 40 * i, 90, 255)
        if channels == 3:
            frame[..., 3] = 255
    data = animation(suffix, [frame[..., :channels] for frame in frames], [100, 40, 250.0], plays)
    found = survey("x", data)
    assert found.durations == [100, 40, 250] and found.plays == plays and found.shape == (12, 16, channels)
    for frame, picture in zip(frames, pictures("x", data, found), strict=True):
        shown = frame[..., 3] > 0
        np.testing.assert_array_equal(picture[..., 3] > 0, shown)
        assert np.abs(picture[shown].astype(int) - frame[shown]).max() <= (0 if suffix == ".png" else 24)
    assert load_original("x", data).moving and load_original("x", data).frames == 3


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_animation_is_turned_upright_as_a_photo_is(suffix, orientation):
    exif, file = Image.Exif(), BytesIO()
    exif[0x0112] = orientation
    frames = [Image.fromarray(noise(6, 9, 3, seed=i)) for i in range(3)]
    frames[0].save(file, FORMATS[suffix].name, save_all=True, append_images=frames[1:], exif=exif, lossless=True)
    found, first = survey("x", file.getvalue()), load_original("x", file.getvalue())
    assert found.shape == first.pixels.shape == (*((9, 6) if orientation > 4 else (6, 9)), 3)
    assert found.about.exif is None or found.about.exif.get(0x0112, 1) == 1
    seen = [picture[..., :3] for picture in pictures("x", file.getvalue(), found)]
    np.testing.assert_array_equal(seen[0], first.pixels)
    assert len(seen) == 3 and (seen[0] != seen[1]).any()


def test_the_pictures_of_a_grey_animation_are_in_colour_and_its_profile_is_not():
    file, frames = BytesIO(), [Image.fromarray(noise(6, 5, seed=i)) for i in range(3)]
    grey = icc_profile(None, space=b"GRAY")
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], icc_profile=grey)
    assert survey("x", file.getvalue()).about.profile is None


def test_frames_that_are_alike_stay_apart_in_a_png():
    data = animation(".png", [noise(6, 5, 3)] * 4, [10, 20, 30, 40], 0)
    assert survey("x", data).durations == [10, 20, 30, 40]


def test_a_picture_for_where_animations_are_not_shown_is_no_part_of_it():
    file, frames = BytesIO(), [Image.fromarray(noise(6, 5, 3, seed=i)) for i in range(3)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=True, duration=70)
    found = survey("x", file.getvalue())
    assert found.durations == [70, 70]
    np.testing.assert_array_equal(next(pictures("x", file.getvalue(), found))[..., :3], np.asarray(frames[1]))


def test_animations_that_cannot_be_are_refused_with_what_can(monkeypatch):
    with pytest.raises(ImageError, match="JPEG holds no animation, .* use one of GIF, PNG, WEBP"):
        animation(".jpg", [noise(6, 5, 3)] * 2, [10, 20], 0)
    monkeypatch.setattr(writing, "FRAMES_MEMORY", 200)
    with pytest.raises(ImageError, match="use PNG, which is written picture by picture"):
        animation(".webp", [noise(6, 5, 3)] * 2, [10, 20], 0)
    animation(".png", [noise(6, 5, 3)] * 2, [10, 20], 0)


def test_pillow_reads_the_texts_of_a_png_with_text(tmp_path):
    words = PngImagePlugin.PngInfo()
    words.add_text("parameters", "a long prompt, as programs that draw write it" * 50, zip=True)
    words.add_itxt("Titel", "Grün", lang="de")
    Image.fromarray(noise(6, 5, 3)).save(tmp_path / "x.png", pnginfo=words, dpi=(72, 72))
    original = load_original(tmp_path / "x.png")
    image = Image.open(BytesIO(encoded(".png", original.pixels, original.about)))
    before = Image.open(tmp_path / "x.png")
    assert image.text == before.text and len(image.text) == 2 and image.info["dpi"] == before.info["dpi"]
