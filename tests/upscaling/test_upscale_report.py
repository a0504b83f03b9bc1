"""The page of enlarged photos: what it shows of small and large ones, and of those that failed."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from minisrgan.cli import main as cli
from minisrgan.imaging.resize import upsample
from minisrgan.pages.viewer import DETAIL
from minisrgan.upscaling import files, report

EVIL = "<script>alert(1)<&>.png"


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch):
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")


def images_of(text, alt):
    found = re.findall(r'<img src="data:image/webp;base64,([^"]*)" alt="([^"]*)"', text)
    (data,) = [data for data, described in found if described == alt]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGB"))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_each_photo_is_shown_beside_bicubic(generator_file, smooth_photo, tmp_path, capfd):
    folder, out, page = (tmp_path / name for name in ("photos", "out", "page.html"))
    folder.mkdir()
    photos = {"small.png": smooth_photo(20, 30), EVIL: smooth_photo(16, 12), "large.png": smooth_photo(120, 200)}
    photos["large.png"][:, :100] = 128  # the contrast is on the right
    for name, photo in photos.items():
        Image.fromarray(photo).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    words = ["upscale", folder, "-o", out, "--weights", generator_file, "--report", page]
    assert cli.main([str(word) for word in words]) == 1
    assert f"{page}: the page of them" in capfd.readouterr().err
    text = page.read_text(encoding="utf-8")
    assert text.count("<script>") == 1 and "30×20</td><td>120×80</td>" in text
    assert text.count("broken.png") >= 1 and "broken.png: " in text
    np.testing.assert_array_equal(images_of(text, "small-x4.png: result"), pixels(out / "small-x4.png"))
    np.testing.assert_array_equal(images_of(text, "small-x4.png: bicubic"), upsample(photos["small.png"], 4))
    detail, part = images_of(text, "large-x4.png: result"), np.s_[: 4 * 96, 4 * 96 : 8 * 96]
    np.testing.assert_array_equal(detail, pixels(out / "large-x4.png")[part])
    np.testing.assert_array_equal(images_of(text, "large-x4.png: bicubic"), upsample(photos["large.png"], 4)[part])
    assert detail.shape == (DETAIL, DETAIL, 3)


def test_photos_that_were_there_already_are_shown_too(generator_file, smooth_photo, tmp_path, capfd):
    folder, out, page = (tmp_path / name for name in ("photos", "out", "page.html"))
    photos = {name: smooth_photo(12, 16, seed) for seed, name in enumerate(["a/same.png", "b/same.png"])}
    for name, photo in photos.items():
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(photo).save(folder / name)
    words = ["upscale", folder, "-o", out, "--weights", generator_file, "--report", page]
    for _ in range(2):  # the page is renewed
        assert cli.main([str(word) for word in words]) == 0
    text = page.read_text(encoding="utf-8")
    assert "0 photos enlarged" in text and ", 2 there already." in text and "16×12</td><td>64×48</td>" in text
    for name, photo in photos.items():
        shown = f"{name.replace('.png', '-x4.png')}: "  # each by its folder
        np.testing.assert_array_equal(images_of(text, shown + "bicubic"), upsample(photo, 4))
    Image.fromarray(smooth_photo(30, 20)).save(out / "a" / "same-x4.png")  # which is another photo
    assert cli.main([str(word) for word in words]) == 0
    assert page.read_text(encoding="utf-8").count("<img") == 2


def test_what_was_done_is_on_the_page_if_the_rest_was_not(generator_file, smooth_photo, tmp_path, capfd, monkeypatch):
    folder, page = tmp_path / "photos", tmp_path / "page.html"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(smooth_photo(12, 12)).save(folder / f"{name}.png")
    whole = files.enlarge_file

    def interrupted(job, *args):
        if job.source.name == "b.png":
            raise KeyboardInterrupt
        return whole(job, *args)

    words = [str(w) for w in ["upscale", folder, "-o", tmp_path, "--weights", generator_file, "--report", page]]
    with monkeypatch.context() as patched:
        patched.setattr(files, "enlarge_file", interrupted)
        assert cli.main(words) == 130
    assert "1 photo enlarged" in page.read_text(encoding="utf-8")
    monkeypatch.setattr(report, "before_and_after", lambda *_: (tmp_path / "none" / "x").read_bytes())
    assert cli.main(words) == 1 and "1 enlarged, 1 skipped" in capfd.readouterr().err  # the page alone failed


def test_mistakes_with_a_report_are_told_before_the_work(generator_file, smooth_photo, tmp_path, capfd):
    photo, page = tmp_path / "a.png", tmp_path / "page.html"
    Image.fromarray(smooth_photo(12, 12)).save(photo)

    def refused(*words):
        try:
            status = cli.main(["upscale", *map(str, words), "--weights", str(generator_file)])
        except SystemExit as stopped:
            status = stopped.code
        assert status == 2 and not (tmp_path / "a-x4.png").exists()
        return capfd.readouterr().err.splitlines()[-1]

    assert "name ending in .html" in refused(photo, "--report", photo)
    page.write_text("mine")
    assert "minisrgan did not make it" in refused(photo, "--report", page)
    assert "- is none" in refused(photo, "-o", "-", "--report", tmp_path / "b.html") and page.read_text() == "mine"


def test_a_result_that_cannot_be_read_again_is_in_the_table_alone(smooth_photo, tmp_path):
    source, output = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(smooth_photo(12, 12)).save(source)
    output.write_bytes(b"damaged meanwhile")
    done = report.Result(source, output, (12, 12), (48, 48), 1.0)
    report.write_report(tmp_path / "p.html", [done])
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<img" not in text and "48×48" in text
