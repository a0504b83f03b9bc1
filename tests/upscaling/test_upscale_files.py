"""Files of photos: which are enlarged into which, and what becomes of each. Then the same as a command."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from functools import partial
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from kernel_helpers import DEVICE, needs_kernels
from photo_helpers import P3, encoded, icc_profile
from PIL import Image
from test_upscale import generator, in_one_piece, noise

import minisrgan
from minisrgan.arrays import to_numpy
from minisrgan.cli import main as cli
from minisrgan.device import blas, use_device
from minisrgan.errors import ConfigError, WeightsError
from minisrgan.imaging.files import read_photo
from minisrgan.imaging.originals import load_original, pictures, survey
from minisrgan.imaging.pixels import grey_of, levels_as, levels_from_sr, lr_from_levels
from minisrgan.imaging.resize import resize_matrix, resize_part, resize_strips, upsample
from minisrgan.tensor import Tensor, no_grad
from minisrgan.upscaling import upscale as module
from minisrgan.upscaling.files import PIPE, SAME, Enlarger, enlarge_files, find_jobs, own_suffix
from minisrgan.upscaling.upscale import new_size, passes_for, upscale, upscale_strips
from minisrgan.weights.generators import load_generator

devices = pytest.mark.parametrize("device", ["numpy", pytest.param(DEVICE, marks=needs_kernels)])


def strips_of(g, photo, device="numpy", scale=4, dtype="uint8", **options):
    return np.concatenate([*upscale_strips(g, photo, device, scale, dtype, **options)])


def exact(g, pixels):
    """SR in one piece, of levels of any kind, as floats."""
    with no_grad():
        return g.eval()(Tensor(lr_from_levels(pixels.repeat(3 // pixels.shape[2], axis=2)[None]))).data[0]


def opened(path):
    """An image of Pillow's, whose file is closed."""
    return Image.open(BytesIO(path.read_bytes()))


# Strips


@devices
@pytest.mark.parametrize("size", [(1, 1), (33, 1), (29, 61), (64, 21)])
def test_strips_are_the_photo_in_one_piece(device, size):
    """Wide photos too, which `upscale` cuts from left to right."""
    g, photo, shares = generator(blocks=2, bicubic_skip=True), noise(*size), []
    with use_device(device):
        strips = strips_of(g.to(device), photo, device, progress=shares.append)
        np.testing.assert_array_equal(strips, upscale(g, photo, device))
        both = [strips_of(g, photo, device, ensemble=True), upscale(g, photo, device, ensemble=True)]
    np.testing.assert_array_equal(*both)
    assert sum(shares) == pytest.approx(1)


@needs_kernels
@pytest.mark.parametrize("grey", [False, True])
def test_a_panorama_is_computed_from_the_left_and_written_from_the_top(grey, monkeypatch):
    g, photo = generator(blocks=2, bicubic_skip=True), noise(11, 90)[..., : 1 if grey else 3]
    with use_device(DEVICE):
        g.to(DEVICE)
        for scale in (4, 3, 7):
            made = []
            for wide, rows in [(4, 2**24), (4, 1000), (10**6, 1)]:
                monkeypatch.setattr(module, "PANORAMA", wide)
                monkeypatch.setattr(module, "TURNED", rows)
                with patch.object(module, "rows_of", wraps=module.rows_of) as turned:
                    made.append(strips_of(g, photo, DEVICE, scale))
                assert turned.called == (wide == 4)
            np.testing.assert_array_equal(made[0], made[2])
            np.testing.assert_array_equal(made[1], made[2])


def test_16_bits_are_computed_from_16_bits():
    """A slope so gentle that 8 bits would show three steps."""
    g = generator(blocks=1, bicubic_skip=True)
    g.tail.weight.data[:] = 0
    photo = np.linspace(30000, 30600, 64 * 9 * 3).astype(np.uint16).reshape(9, 64, 3)
    made = strips_of(g, photo, dtype="uint16")
    np.testing.assert_array_equal(made, levels_from_sr(exact(g, photo), "uint16"))
    assert len(np.unique(made)) > 256
    eight = strips_of(g, photo, dtype="uint8")
    assert np.abs(eight - made / 257).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_is_the_brightness_of_what_three_equal_channels_become(dtype):
    g, grey = generator(blocks=1, bicubic_skip=True), levels_as(noise(9, 14)[..., :1], dtype)
    made = strips_of(g, grey, dtype=dtype)
    assert made.shape == (36, 56, 1)
    sr = exact(g, grey)
    assert np.ptp(sr, axis=2).max() > 1e-3  # G does not keep the channels equal
    np.testing.assert_array_equal(made, levels_from_sr(grey_of(sr), dtype))
    three = strips_of(g, grey.repeat(3, axis=2), dtype=dtype)  # a colour file that holds a grey photo
    np.testing.assert_array_equal(three, made.repeat(3, axis=2))


def test_a_scale_of_the_generator_is_not_resized_and_others_are_reduced_once():
    g, photo = generator(blocks=1, bicubic_skip=True), noise(9, 14)
    for scale in (1, 2, 2.5, 3):
        size = new_size(9, 14, scale)
        down, across = (resize_matrix(4 * a, b, b / (4 * a)) for a, b in zip((9, 14), size))
        expected = np.einsum("ij,jkc,lk->ilc", down, exact(g, photo), across)
        made = strips_of(g, photo, scale=scale)
        assert made.shape == (*size, 3)
        assert np.abs(made - levels_from_sr(expected, "uint8").astype(int)).max() <= 1  # float32 against float64


@devices
def test_beyond_its_scale_the_generator_enlarges_again(device):
    g, photo = generator(blocks=1, bicubic_skip=True, scale=2), noise(17, 40)
    with use_device(device):
        g.to(device)
        once = to_numpy(in_one_piece(g, photo))
        with no_grad():
            twice = to_numpy(g(Tensor(((once.clip(-1, 1) + 1) / 2)[None])).data[0])
        made = strips_of(g, photo, device, scale=4)
    assert made.shape == (68, 160, 3)
    np.testing.assert_array_equal(made, levels_from_sr(twice, "uint8"))
    assert [passes_for(g, scale) for scale in (1, 2, 2.1, 4, 8, 16)] == [1, 1, 2, 2, 3, 4]


def test_a_generator_that_does_not_enlarge_has_one_scale():
    g = generator()
    object.__setattr__(g.config, "scale", 1)
    assert passes_for(g, 1) == 1
    with pytest.raises(ConfigError, match="keeps a photo's size"):
        passes_for(g, 2)


@pytest.mark.parametrize("rows", [1, 5, 100])
@pytest.mark.parametrize("new", [(36, 28), (27, 5), (9, 7), (4, 3), (20, 18)])
def test_resizing_in_strips_is_resizing_at_once(rows, new):
    image = noise(9, 7) // 3 + 85  # so that no overshoot is clipped
    whole = np.concatenate([*resize_strips([image], (9, 7), new, 100)])
    parts = [image[:2], image[2:3], image[3:]]
    np.testing.assert_array_equal(np.concatenate([*resize_strips(parts, (9, 7), new, rows)]), whole)
    np.testing.assert_array_equal(resize_part(image, new, 2, new[0]), whole[2:])
    floats = np.concatenate([*resize_strips([image / np.float32(255)], (9, 7), new, rows)])
    assert floats.dtype == np.float32 and np.abs(floats.clip(0, 1) * 255 - whole).max() < 2
    if new == (36, 28):
        np.testing.assert_array_equal(whole, upsample(image, 4))
    deep = np.concatenate([*resize_strips([image.astype(np.uint16) * 257], (9, 7), new, rows)])
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - whole).max() < 2


def test_the_memory_of_strips_does_not_grow_with_the_photo():
    """By far less than the pixels that come out."""
    g, peaks = generator(channels=8, blocks=1, bicubic_skip=True), []
    with patch.multiple(blas, AT_ONCE=2000), patch.multiple(module, BAND=2560, OUT=16000):
        for height in (8, 48, 192):  # the first is not counted
            photo = noise(height, 160)
            for scale in (4, 3):
                tracemalloc.start()
                rows = sum(map(len, upscale_strips(g, photo, "numpy", scale, "uint8")))
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
                assert rows == scale * height
    more = (192 - 48) * 160 * 3 * 9  # bytes that come out more, at least
    assert peaks[4] - peaks[2] < more / 4 and peaks[5] - peaks[3] < more / 4, peaks


# Which files


@pytest.fixture
def photos(tmp_path, smooth_photo, monkeypatch):
    """A folder "in" with photos, two of which have one stem, and folders in it; it is the folder that one is in."""
    for name in ["in/a.png", "in/a.jpg", "in/deep/b.png", "in/deep/er/c.tif", "other/d.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth_photo(5, 6)).save(tmp_path / name)
    (tmp_path / "in" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outputs(names, output=None, suffix=None, scale=4):
    jobs, _ = find_jobs(names, output, suffix, scale)
    assert not any(job.problem for job in jobs)
    return {job.source.as_posix(): job.output.as_posix() for job in jobs}


def test_a_folder_keeps_its_folders(photos):
    assert outputs(["in"], "out", scale=2.5) == {
        "in/a.jpg": "out/a.jpg-x2.5.png",
        "in/a.png": "out/a.png-x2.5.png",
        "in/deep/b.png": "out/deep/b-x2.5.png",
        "in/deep/er/c.tif": "out/deep/er/c-x2.5.png",
    }
    assert outputs(["in/deep"]) == {"in/deep/b.png": "in/deep/b-x4.png", "in/deep/er/c.tif": "in/deep/er/c-x4.png"}
    both = outputs(["in/deep", "other"], "out")
    assert both["in/deep/b.png"] == "out/deep/b-x4.png" and both["other/d.png"] == "out/other/d-x4.png"


def test_patterns_files_and_formats(photos):
    assert outputs(["in/*.*g", "in/a.png"], "out", ".jpg") == {
        "in/a.jpg": "out/a.jpg-x4.jpg",
        "in/a.png": "out/a.png-x4.jpg",
    }
    assert set(outputs(["in/**/*.tif"], "out")) == {"in/deep/er/c.tif"}
    assert outputs(["in/deep"], None, SAME)["in/deep/er/c.tif"] == "in/deep/er/c-x4.tif"
    assert [own_suffix(Path(name)) for name in ("a.JPE", "a.apng", "a.psd", "a.heif")] == [
        ".jpg",
        ".png",
        ".png",
        ".heic",
    ]
    assert outputs(["in/a.png"], "large.webp") == {"in/a.png": "large.webp"}
    (photos / "there").mkdir()
    for folder in ("there", "new/"):
        assert outputs(["in/a.png"], folder) == {"in/a.png": folder.rstrip("/") + "/a-x4.png"}
    assert outputs(["-"]) == {"-": "-"} and outputs(["-"], "x.png") == {"-": "x.png"}
    assert outputs(["in/a.png"], "-", ".jpg") == {"in/a.png": "-"}
    assert outputs(["-", "in/a.png"], "out") == {"-": "out/stdin-x4.png", "in/a.png": "out/a-x4.png"}
    jobs, _ = find_jobs(["in/a.png", "in/none.png", "in/*.gif"], "out", None, 4)
    assert [job.source.name for job in jobs] == ["a.png", "none.png", "*.gif"]


def test_what_earlier_runs_made_is_not_enlarged_again(photos, smooth_photo):
    for name in ["in/a-x4.png", "in/a.jpg-x2.5.webp", "in/poster-x2.png", "in/out/b-x4.png", "in/out/deep/b-x4.png"]:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth_photo(5, 6)).save(photos / name)
    for names in (["in"], ["in/*.*"]):
        jobs, made = find_jobs(names, "in/out", None, 4)
        sources = {job.source.as_posix() for job in jobs}
        assert len(made) == 2
        assert {"in/a.png", "in/a.jpg", "in/poster-x2.png"} <= sources  # no original: a photo of its own
        assert not any("in/out" in each for each in sources)
    for output in (None, "large"):  # an output folder has the same folders
        jobs, made = find_jobs(["in"], output, None, 4)
        assert [*map(Path.as_posix, made)] == ["in/a-x4.png", "in/a.jpg-x2.5.webp", "in/out/deep/b-x4.png"]
        assert "in/out/b-x4.png" in {job.source.as_posix() for job in jobs}  # there is no in/b.png
    assert outputs(["in/a-x4.png"]) == {"in/a-x4.png": "in/a-x4-x4.png"}  # it was named
    assert set(outputs(["in/a.png", "other"], ".")) == {"in/a.png", "other/d.png"}  # which lie in "."
    (photos / "in" / "deep" / "b.png").unlink()
    with pytest.raises(ConfigError, match="nothing to enlarge"):
        find_jobs(["in/deep"], "in/deep/er", None, 4)


def test_two_photos_never_share_an_output(photos):
    (photos / "b" / "in").mkdir(parents=True)
    (photos / "b" / "in" / "a.png").write_bytes((photos / "in" / "a.png").read_bytes())
    both = outputs(["in", "b/in"], "out")
    assert both["in/a.png"] == "out/in/a.png-x4.png" and both["b/in/a.png"] == "out/b/in/a-x4.png"
    Image.open(photos / "in" / "a.png").save(photos / "in" / "a.png.gif")
    jobs, _ = find_jobs(["in"], "out", None, 4)
    assert [job.problem for job in jobs if job.problem] == [
        "in/a.png.gif: out/a.png-x4.png is the output of in/a.png too: rename one"
    ]
    assert len({job.output for job in jobs if not job.problem}) == len(jobs) - 1


def test_photos_of_one_name_keep_their_folders(photos):
    for name in ["scans/a/y.png", "scans/b/y.png", "2023/DCIM/1.png", "2024/DCIM/1.png", "2024/DCIM/2.png"]:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes((photos / "in" / "a.png").read_bytes())
    scans = {"scans/a/y.png": "out/a/y-x4.png", "scans/b/y.png": "out/b/y-x4.png"}
    for names in (["scans/**/*.png"], ["scans/*/y.png"], ["./scans"], ["scans/*"], [*scans], ["scans/a", "scans/b"]):
        assert outputs(names, "out") == scans, names
    cards = {f"{name}.png": f"out/{name}-x4.png" for name in ("2023/DCIM/1", "2024/DCIM/1", "2024/DCIM/2")}
    for names in (["2023/DCIM", "2024/DCIM"], ["202?/DCIM"], [str(photos / "*" / "DCIM")], [*cards]):
        made = {os.path.relpath(source): made for source, made in outputs(names, "out").items()}
        assert made == cards, names
    assert outputs(["-", *scans], "out") == {"-": "out/stdin-x4.png"} | scans
    assert outputs(["scans/*/../../other/*.png"], "out") == {"scans/a/../../other/d.png": "out/d-x4.png"}


def test_a_loop_of_links_gives_each_photo_once(photos):
    (photos / "in" / "deep" / "loop").symlink_to(photos / "in")
    assert outputs(["in/**/*.tif"], "out") == {"in/deep/er/c.tif": "out/deep/er/c-x4.png"}
    assert outputs(["in"], "out")["in/deep/b.png"] == "out/deep/b-x4.png" and len(outputs(["in"])) == 4


@pytest.mark.parametrize("name, problem", [
    ("none.png", "none.png: there is no such file"), ("none*.png", "none*.png: there is no such file"),
    ("/dev/zero", "/dev/zero: this is a pipe or a device"), ("empty", "empty: no photos in this folder"),
])  # fmt: skip
def test_one_name_that_is_wrong_is_said_to_be_wrong(photos, name, problem):
    (photos / "empty").mkdir()
    (result,) = results([name], "z.png")
    assert result.error.startswith(problem)


def test_a_folder_that_is_not_there_needs_its_slash(photos):
    with pytest.raises(ConfigError, match="new has no suffix such as .png: add one, or write new/ for a folder"):
        find_jobs(["in/a.png"], "new", None, 4)


def test_folders_that_cannot_be_read_do_not_stop_the_others(photos):
    (photos / "empty").mkdir()
    jobs, _ = find_jobs(["empty", "other"], "out", None, 4)
    assert "no photos in this folder" in jobs[0].problem and jobs[1].source == Path("other/d.png")


# One after the other


def enlarger(**choices):
    return Enlarger(**dict(generator=generator(blocks=1, bicubic_skip=True), device="numpy", scale=4) | choices)


def results(names, output="out", suffix=None, **choices):
    chosen = enlarger(**choices)
    jobs, _ = find_jobs(names, output, suffix, chosen.scale)
    return [*enlarge_files(jobs, chosen)]


def test_a_bad_file_does_not_stop_the_others(photos):
    (photos / "in" / "bad.png").write_bytes(b"no photo")
    (photos / "out" / "deep").mkdir(parents=True)
    (photos / "out" / "deep" / "er").touch()  # a file, where a folder is needed
    found = {result.source.name: result for result in results(["in", "none.png"])}
    assert "not a picture" in found["bad.png"].error and "no such file" in found["none.png"].error
    assert "where a folder is needed" in found["c.tif"].error
    for name in ("a.jpg", "a.png", "b.png"):
        result = found[name]
        assert (result.size, result.new_size, result.error, result.skipped) == ((6, 5), (24, 20), None, False)
        assert read_photo(result.output)[0].shape == (20, 24, 3) and result.seconds > 0
    assert not [path for path in (photos / "out").rglob("*") if path.name.startswith(".")]


def test_what_is_there_is_skipped_and_replaced_by_force(photos):
    first = results(["in"])
    before = {result.output: result.output.stat().st_mtime_ns for result in first}
    again = results(["in"])
    assert all(result.skipped and not result.new_size and not result.error for result in again)
    assert all(result.output.stat().st_mtime_ns == before[result.output] for result in again)
    assert not any(result.skipped for result in results(["in"], force=True))


def test_a_broken_generator_leaves_no_file(photos):
    g = generator(blocks=1)
    for parameter in g.parameters():
        parameter.data[:] = np.nan
    found = results(["other"], generator=g)
    assert "not finite" in found[0].error and not [*(photos / "out").rglob("*.*")]
    with pytest.raises(WeightsError):
        strips_of(g, noise(5, 5))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_photo_of_16_bits_stays_one(tmp_path, suffix, channels):
    if (suffix, channels) == (".tif", 2):
        pytest.skip("Pillow does not read it")
    y, x = np.mgrid[:24, :40]
    photo = np.dstack([20000 + 40 * x + 7 * y, 30000 - 50 * x, 25000 + 90 * y][: 1 if channels < 3 else 3]).astype(
        np.uint16
    )
    alpha = (1000 * x + 5000 * y)[..., None].clip(1, 65535).astype(np.uint16)
    (tmp_path / f"p{suffix}").write_bytes(encoded(suffix, photo if channels in (1, 3) else np.dstack([photo, alpha])))
    chosen = enlarger()
    with patch.multiple(blas, AT_ONCE=2000), patch.multiple(module, BAND=1):  # so that there are several strips
        (result,) = results([str(tmp_path / f"p{suffix}")], str(tmp_path / f"out{suffix}"), generator=chosen.generator)
        sr = exact(chosen.generator, photo)
    assert result.error is None and result.notes == ()
    made = load_original(result.output)
    expected = levels_from_sr(grey_of(sr) if channels < 3 else sr, "uint16")
    np.testing.assert_array_equal(made.pixels, expected)
    if channels in (2, 4):
        np.testing.assert_array_equal(made.alpha, resize_part(alpha, (96, 160), 0, 96))


def test_what_a_format_cannot_hold_is_said(tmp_path):
    Image.fromarray(noise(6, 5)[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([noise(6, 5), noise(6, 5)[..., :1]])).save(tmp_path / "clear.png")
    deep, clear = results([str(tmp_path / name) for name in ("deep.png", "clear.png")], str(tmp_path / "out"), ".jpg")
    assert "its 16 bits are rounded, for JPEG has 8" in deep.notes[0]
    assert "JPEG holds no transparency, and the photo is laid over white" in clear.notes[0]
    assert opened(deep.output).mode == "L" and opened(clear.output).mode == "RGB"


def test_profile_exif_resolution_and_texts_go_on_upright(tmp_path):
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker"})
    exif[0x8769] = {0xA002: 9, 0xA003: 7}
    Image.fromarray(noise(7, 9)).save(tmp_path / "p.jpg", exif=exif, dpi=(300, 150), icc_profile=icc_profile(P3))
    for suffix in (".png", ".jpg", ".tif"):
        (result,) = results([str(tmp_path / "p.jpg")], str(tmp_path / f"out{suffix}"))
        image = opened(result.output)
        assert image.size == (28, 36) == result.new_size and result.size == (7, 9)
        assert image.info["icc_profile"] == icc_profile(P3)
        kept = image.getexif()
        assert kept[0x010F] == "Maker" and kept.get(0x0112, 1) == 1
        assert (kept.get_ifd(0x8769)[0xA002], kept.get_ifd(0x8769)[0xA003]) == (28, 36)
        np.testing.assert_allclose([*map(float, image.info["dpi"])], (150, 300), atol=0.1)


def test_colours_of_a_wider_space_are_not_clipped(tmp_path):
    """G sees the values as they are, and a flat colour beyond sRGB stays that colour."""
    photo = np.full((9, 9, 3), (20, 250, 30), np.uint8)
    Image.fromarray(photo).save(tmp_path / "p.png", icc_profile=icc_profile(P3))
    g = generator(blocks=1, bicubic_skip=True)
    g.tail.weight.data[:] = 0
    (result,) = results([str(tmp_path / "p.png")], str(tmp_path / "out.png"), generator=g)
    assert (load_original(result.output).pixels == photo[0, 0]).all()


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_enlarged_picture_by_picture(tmp_path, smooth_photo, suffix):
    frames = [Image.fromarray(smooth_photo(9, 12, seed=i)).quantize(64) for i in range(3)]
    more = dict(save_all=True, append_images=frames[1:], duration=[70, 120, 40], loop=0)
    frames[0].save(tmp_path / "p.gif", **more)
    chosen, source = enlarger(), tmp_path / "p.gif"
    (result,) = results([str(source)], str(tmp_path / f"out{suffix}"), generator=chosen.generator)
    assert result.error is None and result.notes == ()
    found, before = survey(result.output), survey(source)
    assert found.durations == before.durations == [70, 120, 40] and found.plays == 0 and found.shape == (36, 48, 3)
    for small, large in zip(pictures(source, None, before), pictures(result.output, None, found), strict=True):
        expected = upscale(chosen.generator, np.ascontiguousarray(small[..., :3]), "numpy")
        assert np.abs(large[..., :3].astype(int) - expected).mean() < (6 if suffix == ".gif" else 0.001)


def test_an_animation_in_a_format_for_stills_is_refused(tmp_path, smooth_photo):
    frames = [Image.fromarray(smooth_photo(9, 12, seed=i)) for i in range(3)]
    frames[0].save(tmp_path / "p.gif", save_all=True, append_images=frames[1:])
    (result,) = results([str(tmp_path / "p.gif")], str(tmp_path / "out.jpg"))
    assert "JPEG holds no animation, and this one has 3 pictures" in result.error
    assert [path.name for path in tmp_path.iterdir()] == ["p.gif"]


# As a command


def run_command(*words, shell_with="", **options):
    """`minisrgan upscale` with these words; `shell_with` is what a shell is told of its streams."""
    environment = os.environ | {"MINISRGAN_DEVICE": "numpy", "PYTHONPATH": str(Path(minisrgan.__file__).parents[1])}
    command = [sys.executable, "-m", "minisrgan", "upscale", *map(str, words)]
    if shell_with:
        command = ["sh", "-c", f'"$@" {shell_with}', "sh", *command]
    return subprocess.run(command, capture_output=True, env=environment, timeout=60, **options)


def test_through_a_pipe(generator_file, smooth_photo):
    file, photo = BytesIO(), smooth_photo(7, 10)
    Image.fromarray(photo).save(file, "PNG")
    for words, form, size in [([], "PNG", (40, 28)), (["--format", "jpg", "--scale", "2.5"], "JPEG", (25, 18))]:
        done = run_command("-", "--weights", generator_file, *words, input=file.getvalue())
        image = Image.open(BytesIO(done.stdout))  # there is nothing else in it
        image.load()
        assert done.returncode == 0 and (image.format, image.size) == (form, size)
    np.testing.assert_array_equal(
        np.asarray(Image.open(BytesIO(run_command("-", "--weights", generator_file, input=file.getvalue()).stdout))),
        upscale(load_generator(generator_file), photo, "numpy"),
    )
    failed = run_command("-", "--weights", generator_file, input=b"no photo")
    assert failed.returncode == 2 and failed.stdout == b"" and b"minisrgan: stdin: not a picture" in failed.stderr


@pytest.mark.parametrize("stream, words, problem", [
    ("<&-", ["-", "-o", "x.png"], b"stdin is closed"), (">&-", ["p.png", "-o", "-"], b"stdout is closed"),
    (">/dev/full", ["p.png", "-o", "-"], b"stdout: No space left on device"),
])  # fmt: skip
def test_a_stream_that_cannot_be_used_gives_one_line(tmp_path, generator_file, smooth_photo, stream, words, problem):
    if stream == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    Image.fromarray(smooth_photo(7, 10)).save(tmp_path / "p.png")
    done = run_command(*words, "--weights", generator_file, cwd=tmp_path, shell_with=stream)
    said = [line for line in done.stderr.splitlines() if not line.startswith(b"device")]
    assert done.returncode == 2 and len(said) == 1 and said[0].startswith(b"minisrgan: " + problem), done.stderr


def test_without_stderr_messages_do_not_go_into_the_photo(tmp_path, generator_file):
    Image.fromarray(noise(7, 10)[..., 0].astype(np.uint16) * 200).save(tmp_path / "p.png")  # 16 bits are rounded
    words = ["p.png", "-o", "-", "--format", "jpg", "--weights", generator_file]
    done = run_command(*words, cwd=tmp_path, shell_with="2>&-")
    assert done.returncode == 0 and done.stdout.startswith(b"\xff\xd8") and done.stdout.endswith(b"\xff\xd9")


@pytest.mark.parametrize("names", [["-lead.png"], ["in/a.png", "-lead.png"]])
def test_a_file_that_looks_like_an_option_gets_a_hint(photos, names, capsys):
    (photos / "-lead.png").write_bytes((photos / "in" / "a.png").read_bytes())
    with pytest.raises(SystemExit):
        cli.main(["upscale", *names])
    assert "for the file -lead.png, write ./-lead.png" in capsys.readouterr().err


def test_in_a_log_every_message_has_a_line(tmp_path, generator_file):
    (tmp_path / "bad.png").write_bytes(b"no photo")
    Image.fromarray(noise(200, 100)).save(tmp_path / "p.png")
    Image.fromarray(noise(2, 2)).save(tmp_path / "p-x2.png")
    done = run_command("bad.png", "p.png", "p-x2.png", "--weights", generator_file, cwd=tmp_path)
    lines = done.stderr.decode().split("\n")
    assert any(line.startswith("minisrgan: bad.png: ") for line in lines) and "\r" not in done.stderr.decode()
    assert any(line.startswith("left out") and "p-x2.png" in line for line in lines) and "1 enlarged, 1 failed" in lines


@pytest.mark.parametrize("bad, status", [(0, 0), (1, 1), (3, 2)])
def test_the_exit_status_says_whether_all_some_or_none_failed(photos, generator_file, bad, status, capfd):
    for name in ["in/a.png", "in/deep/b.png", "other/d.png"][:bad]:
        (photos / name).write_bytes(b"no photo")
    names = ["in/a.png", "in/deep", "other"] if bad < 3 else ["in/a.png", "in/deep/b.png", "other"]
    made = 4 - bad if bad < 3 else 0
    assert cli.main(["upscale", *names, "-o", "out", "--weights", str(generator_file)]) == status
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == made and err.count("minisrgan: ") == bad
    assert err.splitlines()[-1] == f"{made} enlarged" + (f", {bad} failed" if bad else "")
    assert cli.main(["upscale", *names, "-o", "out", "--weights", str(generator_file)]) == status
    skipped = f", {made} skipped" if made else ""
    assert capfd.readouterr().err.splitlines()[-1] == f"0 enlarged{skipped}" + (f", {bad} failed" if bad else "")


def test_interrupted_it_says_what_was_done_and_leaves_no_half_file(tmp_path, smooth_photo, generator_file):
    for i in range(3):
        Image.fromarray(smooth_photo(8, 8) if i == 0 else noise(1200, 900)).save(tmp_path / f"{i}.png")
    environment = os.environ | {"MINISRGAN_DEVICE": "numpy", "PYTHONPATH": str(Path(minisrgan.__file__).parents[1])}
    words = [str(tmp_path / f"{i}.png") for i in range(3)]
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in the background, a shell lets it be ignored
    process = subprocess.Popen([sys.executable, "-m", "minisrgan", "upscale", *words, "--weights", str(generator_file)],
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=heeding)  # fmt: skip
    deadline = time.monotonic() + 40
    while not [*tmp_path.glob(".minisrgan-*.part")] or not (tmp_path / "0-x4.png").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=40)
    assert process.returncode == 130 and "1 enlarged, 2 not done" in err and "Traceback" not in err
    left = sorted(path.name for path in tmp_path.iterdir() if path.suffix)
    assert left == ["0-x4.png", "0.png", "1.png", "2.png"]


@needs_kernels
def test_the_memory_of_the_command_is_bounded(tmp_path, generator_file):
    """Of a photo of a megapixel, 16 come out: 48 MB of pixels, which are never there at once."""
    program = (
        "import resource, sys; from minisrgan.cli.main import main; main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    environment = os.environ | {"MINISRGAN_DEVICE": DEVICE, "PYTHONPATH": str(Path(minisrgan.__file__).parents[1])}
    peaks = []
    for height in (400, 2000):
        Image.fromarray(noise(height, 500)).save(tmp_path / f"{height}.bmp")
        words = ["upscale", tmp_path / f"{height}.bmp", "-o", tmp_path / f"{height}.tif", "--weights", generator_file]
        done = subprocess.run([sys.executable, "-c", program, *map(str, words)], env=environment, capture_output=True)
        peaks.append(int(done.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024))
    assert (tmp_path / "2000.tif").stat().st_size > 48e6
    assert peaks[1] - peaks[0] < 20e6, peaks


def test_the_terminal_gets_no_photo(monkeypatch, generator_file, capfd):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert cli.main(["upscale", "-", "--weights", str(generator_file)]) == 2
    assert "would go to the terminal" in capfd.readouterr().err
    assert PIPE == Path("-")
