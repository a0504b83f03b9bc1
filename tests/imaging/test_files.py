"""Reading photos of every kind, writing photos, and one clear line for every file that is not a photo."""

import os
import struct
import warnings
import zlib
from errno import EACCES
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_helpers import P3, icc_profile
from PIL import Image, ImageCms, ImageFile

from minisrgan.errors import ImageError, ShapeError
from minisrgan.files import check_writable, write_whole
from minisrgan.imaging.files import READ, check_format, find_photos, look_for_photos, read_photo, write_photo
from minisrgan.imaging.plugins import PLUGINS
from minisrgan.imaging.writing import FORMATS

EXACT = [".png", ".webp", ".tif", ".tiff", ".bmp"]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width):
    """A photo that JPEG keeps well. It has colour edges of one pixel, which chroma subsampling would lose."""
    y, x = np.mgrid[:height, :width]
    return np.stack([90 + 8 * y, 60 + 6 * x, np.where(x % 2, 120, 140)], axis=2).astype(np.uint8)


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def png(bits, colour_type, rows, before_data=b""):
    """A PNG file made from its parts, for the kinds that Pillow reads but cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bytes_per_pixel = bits // 8 * {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    header = struct.pack(">IIBBBBB", len(rows[0]) // bytes_per_pixel, len(rows), bits, colour_type, 0, 0, 0)
    transparent = chunk(b"tRNS", before_data) if before_data else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + transparent
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


def refusal(path, of=read_photo):
    """The message with which `of` refuses `path`: one line that starts with the path."""
    with pytest.raises(ImageError) as caught:
        of(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


# What comes in


@pytest.mark.parametrize("suffix", [*EXACT, ".PNG", ".Tif"])
@pytest.mark.parametrize("with_alpha", [False, True])
@settings(deadline=None, max_examples=10)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 999))
def test_any_size_and_format_comes_back_as_written(tmp_path_factory, height, width, suffix, with_alpha, seed):
    path = tmp_path_factory.mktemp("photos") / f"x{suffix}"
    rgb, alpha = noise(height, width, 3, seed=seed), noise(height, width, seed=seed + 1)
    alpha[0, 0] = 0  # the colour of a transparent pixel is kept too
    if suffix == ".bmp" or not with_alpha:
        alpha = None
    write_photo(path, rgb, alpha)
    rgb_again, alpha_again = read_photo(path)
    np.testing.assert_array_equal(rgb_again, rgb)
    assert rgb_again.dtype == np.uint8
    if alpha is None:
        assert alpha_again is None
    else:
        np.testing.assert_array_equal(alpha_again, alpha)
        assert alpha_again.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_an_alpha_that_is_opaque_everywhere_may_be_dropped_but_not_changed(tmp_path, suffix):
    write_photo(tmp_path / f"x{suffix}", noise(4, 5, 3), np.full((4, 5), 255, np.uint8))
    rgb, alpha = read_photo(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(rgb, noise(4, 5, 3))
    assert alpha is None or (alpha == 255).all()


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_keeps_the_colours_at_full_resolution(tmp_path, suffix):
    rgb = smooth(18, 21)
    write_photo(tmp_path / f"x{suffix}", rgb)
    again, alpha = read_photo(tmp_path / f"x{suffix}")
    assert alpha is None and np.abs(again.astype(int) - rgb).max() <= 6


def test_grey_and_one_bit_photos_become_rgb(tmp_path):
    grey = noise(4, 5)
    rgb, alpha = read_photo(saved(tmp_path, Image.fromarray(grey), "l.png"))
    np.testing.assert_array_equal(rgb, np.dstack([grey] * 3))
    assert alpha is None
    rgb, alpha = read_photo(saved(tmp_path, Image.fromarray(grey > 99), "1.png"))
    np.testing.assert_array_equal(rgb, np.dstack([(grey > 99) * 255] * 3))
    assert alpha is None


def test_grey_with_alpha(tmp_path):
    both = noise(4, 5, 2)
    rgb, alpha = read_photo(saved(tmp_path, Image.fromarray(both, "LA"), "la.png"))
    np.testing.assert_array_equal(rgb, np.dstack([both[..., 0]] * 3))
    np.testing.assert_array_equal(alpha, both[..., 1])


def test_palettes_without_and_with_transparency(tmp_path):
    index = np.arange(12, dtype=np.uint8).reshape(3, 4)
    colours = noise(12, 3)
    image = Image.fromarray(index).convert("P")
    image.putpalette(colours.tobytes())
    image.putdata(index.ravel().tolist())
    for name, options, opacity in [
        ("plain.png", {}, None),
        ("one.png", {"transparency": 5}, np.where(np.arange(12) == 5, 0, 255)),
        ("bytes.png", {"transparency": bytes(range(0, 240, 20))}, np.arange(0, 240, 20)),
        ("one.gif", {"transparency": 5}, np.where(np.arange(12) == 5, 0, 255)),
    ]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rgb, alpha = read_photo(saved(tmp_path, image, name, **options))
        shown = slice(None) if opacity is None else opacity[index] > 0
        np.testing.assert_array_equal(rgb[shown], colours[index][shown])
        assert alpha is None if opacity is None else np.array_equal(alpha, opacity[index])


GREY16 = np.array([[0, 128, 129, 257, 385, 386], [32767, 32768, 65278, 65406, 65407, 65535]])


@pytest.mark.parametrize(
    "mode, dtype, suffix",
    [
        ("I;16", "<u2", "png"),
        ("I;16", "<u2", "tif"),
        ("I;16B", ">u2", "tif"),
    ],
)
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, mode, dtype, suffix):
    image = Image.frombytes(mode, GREY16.shape[::-1], GREY16.astype(dtype).tobytes())
    rgb, alpha = read_photo(saved(tmp_path, image, f"x.{suffix}"))
    np.testing.assert_array_equal(rgb, np.dstack([np.round(GREY16 / 257)] * 3))
    assert rgb.dtype == np.uint8 and alpha is None


def test_16_bit_grey_with_a_transparent_value(tmp_path):
    rows = [row.tobytes() for row in GREY16.astype(">u2")]
    (tmp_path / "x.png").write_bytes(png(16, 0, rows, before_data=struct.pack(">H", 386)))
    rgb, alpha = read_photo(tmp_path / "x.png")
    np.testing.assert_array_equal(rgb[..., 0], np.round(GREY16 / 257))
    np.testing.assert_array_equal(alpha, np.where(GREY16 == 386, 0, 255))


@pytest.mark.parametrize("colour_type, channels", [(2, 3), (6, 4)])
def test_16_bit_colour(tmp_path, colour_type, channels):
    values = np.random.default_rng(0).integers(0, 65536, (3, 4, channels))
    (tmp_path / "x.png").write_bytes(png(16, colour_type, [row.tobytes() for row in values.astype(">u2")]))
    rgb, alpha = read_photo(tmp_path / "x.png")
    assert np.abs(rgb - values[..., :3] / 257).max() <= 1
    assert alpha is None if channels == 3 else np.abs(alpha - values[..., 3] / 257).max() <= 1


def test_floating_point_pixels_are_refused(tmp_path):
    assert "floating-point" in refusal(saved(tmp_path, Image.fromarray(np.ones((2, 2), np.float32)), "f.tif"))


@pytest.mark.parametrize("mode, name", [("CMYK", "x.jpg"), ("CMYK", "x.tif"), ("YCbCr", "x.jpg")])
def test_print_colours(tmp_path, mode, name):
    image = Image.new("RGB", (16, 16), (200, 60, 20)).convert(mode)
    rgb, alpha = read_photo(saved(tmp_path, image, name))
    assert np.abs(rgb.astype(int) - (200, 60, 20)).max() <= 4 and alpha is None


def test_ycck_jpeg_as_adobes_programs_write_it(tmp_path):
    """YCCK holds the YCbCr of the inks and the inverse of black; an Adobe marker says so with transform 2."""
    ink = Image.new("RGB", (16, 16), (55, 195, 235))  # cyan, magenta, yellow for RGB 200, 60, 20
    ycc = np.asarray(ink.convert("YCbCr"))
    stored = np.dstack([255 - ycc, np.zeros((16, 16), np.uint8)])  # Pillow inverts all four when it writes
    data = saved(tmp_path, Image.fromarray(stored, "CMYK"), "x.jpg", quality=95).read_bytes()
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0  # plain CMYK
    (tmp_path / "x.jpg").write_bytes(data[:transform] + b"\2" + data[transform + 1 :])
    rgb, _ = read_photo(tmp_path / "x.jpg")
    assert np.abs(rgb.astype(int) - (200, 60, 20)).max() <= 4


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_turned_by_exif_come_upright(tmp_path, name, orientation):
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:8, :8] = 255  # one white corner, the top left
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: np.rot90,
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(undo(upright))), name, exif=exif)
    rgb, _ = read_photo(path)
    np.testing.assert_array_equal(rgb > 127, upright > 127)


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, name):
    first, second = (Image.new("RGB", (6, 4), colour) for colour in [(255, 0, 0), (0, 0, 255)])
    path = saved(tmp_path, first, name, save_all=True, append_images=[second], lossless=True)
    with Image.open(path) as image:
        assert image.n_frames == 2
    rgb, _ = read_photo(path)
    assert (rgb == (255, 0, 0)).all() and rgb.shape == (4, 6, 3)


def test_a_large_photo_is_read_without_a_warning_and_a_bomb_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("RGB", (30, 10)), "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_photo(path)[0].shape == (10, 30, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 149)
    assert "too many pixels" in refusal(path)


SRGB = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.7141]])


def in_srgb(rgb, primaries, gamma=2.2):
    """The colours of a display with these `primaries` and this `gamma`, converted to sRGB by the formulas."""
    linear = (rgb / 255.0) ** gamma @ primaries @ np.linalg.inv(SRGB)
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_colours_of_a_wider_space_come_in_as_srgb(tmp_path, suffix):
    rgb = noise(9, 8, 4)
    options = {"icc_profile": icc_profile(P3), "lossless": True, "exact": True}
    read, alpha = read_photo(saved(tmp_path, Image.fromarray(rgb), f"x{suffix}", **options))
    expected = in_srgb(rgb[..., :3], P3)
    assert np.abs(read - expected).max() < 3 and np.abs(read - rgb[..., :3].astype(float)).max() > 20
    np.testing.assert_array_equal(alpha, rgb[..., 3])


def test_grey_and_palette_photos_follow_their_profiles_if_of_their_kind(tmp_path):
    grey, grey_profile = noise(9, 8), icc_profile(None, gamma=1.8, space=b"GRAY")
    expected = in_srgb(np.dstack([grey] * 3), SRGB, gamma=1.8)
    for image in (Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)):
        read, _ = read_photo(saved(tmp_path, image, "grey.png", icc_profile=grey_profile))
        assert np.abs(read - expected).max() < 3
    palette = Image.fromarray(noise(9, 8, 3)).quantize(8)
    read, _ = read_photo(saved(tmp_path, palette, "p.png", icc_profile=icc_profile(P3)))
    assert np.abs(read - in_srgb(np.array(palette.convert("RGB")), P3)).max() < 3
    for kind in ("RGB", "CMYK"):  # the profile of another kind of pixels is none
        image = Image.fromarray(noise(9, 8, 3)).convert(kind)
        wrong = grey_profile if kind == "RGB" else icc_profile(P3)
        read, _ = read_photo(saved(tmp_path, image, "other.tif", icc_profile=wrong))
        np.testing.assert_array_equal(read, np.array(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["sRGB", "broken", "cut short", "Lab"])
def test_a_profile_of_srgb_or_of_no_use_changes_nothing(tmp_path, kind):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profile = {"sRGB": srgb, "broken": b"no profile", "cut short": icc_profile(P3)[:200], "Lab": lab}[kind]
    rgb = noise(64, 64, 3)
    read, _ = read_photo(saved(tmp_path, Image.fromarray(rgb), "x.png", icc_profile=profile))
    np.testing.assert_array_equal(read, rgb)


# What is refused


def test_files_that_are_no_photos_are_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "header.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "no_width.png").write_bytes(png(8, 0, [b""]))
    assert "no such file" in refusal(tmp_path / "missing.png")
    assert "folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    assert "a pipe" in refusal(tmp_path / "pipe.png")
    assert "empty" in refusal(tmp_path / "empty.png")
    assert "not a picture" in refusal(tmp_path / "text.jpg")
    refusal(tmp_path / "header.png")
    refusal(tmp_path / "no_width.png")
    refusal(tmp_path / "text.jpg" / "below_a_file.png")
    refusal(tmp_path / ("x" * 300 + ".png"))


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.tif", "x.bmp", "x.gif"])
def test_a_file_cut_short_never_gives_other_pixels(tmp_path, name):
    path = saved(tmp_path, Image.fromarray(noise(11, 9, 3)), name)
    whole, pixels = path.read_bytes(), read_photo(path)[0]
    refused = 0
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            rgb, _ = read_photo(path)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(rgb, pixels)
    assert refused >= len(whole) - 20  # only what follows the last pixel, such as PNG's IEND, may be missing
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(["x.png", "x.jpg", "x.webp", "x.tif", "x.gif"]), data=st.data())
def test_a_damaged_file_gives_a_photo_or_an_image_error(tmp_path_factory, name, data):
    path = saved(tmp_path_factory.mktemp("damaged"), Image.fromarray(noise(6, 5, 3)), name)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        rgb, _ = read_photo(path)
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
    except ImageError as error:
        assert "\n" not in str(error)


# What goes out


@pytest.mark.parametrize("name", ["x.bmp", "x.jpg"])
def test_formats_without_transparency_are_laid_over_white(tmp_path, name):
    rgb = np.full((8, 256, 3), (200, 100, 0), np.uint8)
    alpha = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    write_photo(tmp_path / name, rgb, alpha)
    again, none = read_photo(tmp_path / name)
    expected = np.round((alpha[..., None] * rgb.astype(float) + (255.0 - alpha[..., None]) * 255) / 255)
    assert none is None and np.abs(again - expected).max() <= (0 if name == "x.bmp" else 4)


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path):
    for name in ("x.xyz", "x", "x.psd"):
        text = refusal(tmp_path / name, of=lambda path: write_photo(path, noise(2, 2, 3)))
        assert all(suffix in text for suffix in FORMATS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "rgb, alpha",
    [
        (noise(2, 2), None),
        (noise(2, 2, 4), None),
        (noise(2, 2, 3) / 255, None),
        (noise(0, 2, 3), None),
        (noise(2, 3, 3), noise(3, 2)),
        (noise(2, 2, 3), noise(2, 2, 1)),
        (noise(2, 2, 3), noise(2, 2) / 255),
    ],
)
def test_arrays_that_are_no_photo_are_refused(tmp_path, rgb, alpha):
    with pytest.raises(ShapeError):
        write_photo(tmp_path / "x.png", rgb, alpha)
    assert not list(tmp_path.iterdir())


def test_a_size_that_the_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path):
    refusal(tmp_path / "x.webp", of=lambda path: write_photo(path, noise(1, 16384, 3)))
    refusal(tmp_path / "x.jpg", of=lambda path: write_photo(path, noise(1, 65501, 3)))
    assert not list(tmp_path.iterdir())
    for name, longest in (("x.webp", 16383), ("x.jpg", 65500)):
        check_format(tmp_path / name, 1, longest, False)
        write_photo(tmp_path / name, noise(1, longest, 3))
        assert read_photo(tmp_path / name)[0].shape == (1, longest, 3)
        assert f"{longest} on a side" in refusal(
            tmp_path / name, of=partial(check_format, height=longest + 1, width=1, transparent=True)
        )
    check_format(tmp_path / "x.bmp", 37000, 37000, False)
    assert "4 GiB" in refusal(tmp_path / "x.bmp", of=lambda path: check_format(path, 38000, 38000, False))
    for name in ("x.png", "x.tif"):
        check_format(tmp_path / name, 10**6, 10**5, True)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(28, "No space left on device", "/somewhere")

    path = tmp_path / "x.png"
    write_photo(path, noise(3, 3, 3))
    old = path.read_bytes()
    monkeypatch.setattr(os, step, full)
    assert "No space left" in refusal(path, of=lambda path: write_photo(path, noise(4, 4, 3)))
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_until_the_last_moment_the_old_file_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    seen = []
    replace = os.replace

    def watched(temporary, target):
        seen.append((path.read_bytes(), temporary.read_bytes(), temporary.parent))
        replace(temporary, target)

    monkeypatch.setattr(os, "replace", watched)
    write_whole(path, b"new")
    assert seen == [(b"old", b"new", tmp_path)]
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_when_it_is_old(tmp_path):
    old, new, others = (tmp_path / name for name in (".minisrgan-1.part", ".minisrgan-2.part", ".other.part"))
    for path in (old, new, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (0, 0))
    write_whole(tmp_path / "x.bin", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, others.name, "x.bin"]


def test_writing_makes_the_folders_and_keeps_the_usual_permissions(tmp_path):
    write_whole(str(tmp_path / "a" / "b" / "x.bin"), b"123")
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "a/b/x.bin").read_bytes() == b"123"
    assert (tmp_path / "a/b/x.bin").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "x.png", tmp_path / "folder.png"):
        refusal(path, of=lambda path: write_photo(path, noise(2, 2, 3)))
        with pytest.raises(OSError):
            write_whole(path, b"")
        with pytest.raises(OSError):
            check_writable(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_what_cannot_be_written_is_named_by_its_own_name_not_by_the_temporary_one(tmp_path, monkeypatch):
    def denied(path, mode):
        raise PermissionError(EACCES, "Permission denied", str(path))

    monkeypatch.setattr("minisrgan.files.open", denied, raising=False)
    for attempt in (check_writable, lambda path: write_whole(path, b"")):
        with pytest.raises(PermissionError) as caught:
            attempt(tmp_path / "x.bin")
        assert caught.value.filename == str(tmp_path / "x.bin")


def test_asking_whether_a_file_can_be_written_leaves_it_as_it_is(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"old")
    check_writable(tmp_path / "x.bin")
    check_writable(tmp_path / "a" / "new.bin")
    assert (tmp_path / "x.bin").read_bytes() == b"old" and not any((tmp_path / "a").iterdir())


# Folders


def test_photos_in_a_folder_and_in_those_in_it_are_found_by_suffix_and_sorted(tmp_path):
    names = "b.PNG a.jpeg c.Tif d.txt e ._a.jpeg f.gif g.webp h.jfif i.avif j.jp2 k.heic".split()
    for name in [*names, "sub.png/in.png", "sub.png/a/b/deep.jpg", "sub.png/a/notes", ".hidden/x.png", "LR_x4/a/1.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub.png" / "again").symlink_to(tmp_path)  # round and round
    photos, others = look_for_photos(str(tmp_path))
    found, left_out = ([path.relative_to(tmp_path).as_posix() for path in paths] for paths in (photos, others))
    assert found == [
        *("a.jpeg b.PNG c.Tif f.gif g.webp h.jfif i.avif j.jp2 k.heic".split()),
        "sub.png/a/b/deep.jpg",
        "sub.png/in.png",
    ]
    assert left_out == ["LR_x4/a/1.png", "d.txt", "e", "sub.png/a/notes"]
    assert find_photos(tmp_path) == photos


def test_each_format_that_is_read_is_found_in_folders_and_known_to_pillow():
    Image.init()
    known = Image.registered_extensions()
    for name, suffixes in READ.items():
        if name in PLUGINS:
            continue
        assert name in Image.OPEN or name == "AVIF"  # which Pillow has from 11.3 on
        assert all(known.get(suffix, name) in (name, "MPO", "BMP", "DIB", "AVIF") for suffix in suffixes.split())


def test_folders_without_photos_are_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert "no photos" in refusal(tmp_path, of=find_photos)
    assert "no such folder" in refusal(tmp_path / "missing", of=find_photos)
    assert "this is a file" in refusal(tmp_path / "notes.txt", of=find_photos)


def test_a_photo_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "locked.png"
    write_photo(path, np.zeros((2, 2, 3), np.uint8))

    def refuse(*args, **kwargs):  # chmod would not stop root
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ImageError, match=r"locked\.png: you may not read this file: change its permissions$"):
        read_photo(path)
