"""The page of a run: what a training keeps for it, what it shows, and that it changes nothing of the training."""

import base64
import io
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from minisrgan.cli import main as cli
from minisrgan.imaging.metrics import score
from minisrgan.imaging.patches import PhotoSet
from minisrgan.imaging.resize import crop_to_multiple
from minisrgan.names import STAGES
from minisrgan.pages.viewer import encoded
from minisrgan.studies.compare import compare, report
from minisrgan.training import looks, loop, run_page
from minisrgan.training.presets import PRESETS
from minisrgan.training.run import Run
from minisrgan.training.trainer import Trainer
from minisrgan.upscaling.trial import try_photo
from minisrgan.weights.generators import load_generator

EVIL = "<script>alert(1)</script>.png"


@pytest.fixture
def begin(tmp_path, tiny_config, smooth_photo, monkeypatch):
    """A function that trains a run, 6 steps in each stage, with looks at 3 and 6 of each."""
    monkeypatch.setattr(loop, "LOOKS", 2)
    monkeypatch.setattr(loop, "draw_curves", lambda *args: None)
    monkeypatch.setattr(loop, "draw_comparison", lambda *args: None)
    photos = [(str(i), smooth_photo(36, 40, seed=i)) for i in range(2)]

    def train(name="run", stages=STAGES, **changes):
        config = tiny_config(**changes)
        about = {"data": "a & b", "photos": ["0", "1"], "held_out": {EVIL: "x", "2": "y"}}
        run = Run.create(tmp_path / name, config, stages=[*stages], **about)
        trainer = Trainer(config, PhotoSet(photos, 4, 16), "numpy")
        if stages == ("gan",):
            run.save(trainer)
        loop.train(run, trainer, [smooth_photo(61, 80, seed=3), smooth_photo(44, 50, seed=4)], stages, bar=False)
        return run

    return train


def images_of(text, alt):
    """The images of a page whose description is this."""
    found = re.findall(r'<img src="data:image/webp;base64,([^"]*)" alt="([^"]*)"', text)
    read = []
    for data, described in found:
        if described == alt:
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                read.append(np.asarray(image.convert("RGB")))
    return read


def test_a_training_leaves_a_page_with_its_photos_figures_and_curves(begin, smooth_photo):
    run = begin(adversarial_share=1.5)
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    assert text.count("<script>") == 1 and "&lt;script&gt;alert(1)" in text and len(text) < 5e6
    hr = crop_to_multiple(smooth_photo(44, 50, seed=4), 4)
    results = {"stage 1": run.pretrained, "GAN": run.generator}
    for label, weights in results.items():
        trial = try_photo(load_generator(weights), hr, "numpy")
        (shown,) = images_of(text, f"2: {label}")
        np.testing.assert_array_equal(shown, trial.sr)
        assert f'data-below="{score(trial.sr, hr, 4).psnr_y:.2f} dB"' in text
    np.testing.assert_array_equal(images_of(text, "2: HR")[0], hr)
    np.testing.assert_array_equal(images_of(text, "2: bicubic")[0], trial.bicubic)
    moments = [f"the detail: {LABEL}, step {step}" for LABEL in results for step in (3, 6)]
    assert [len(images_of(text, moment)) for moment in moments] == [1, 1, 1, 1]
    assert "GAN stage, step 6 of 6 steps, finished." in text and "adversarial_share" in text and "a &amp; b" in text
    assert f"minisrgan train --resume {run.folder}" in text and f"--weights {run.generator}" in text
    rows = run.rows()
    means = json.loads((run.folder / "looks" / "figures.json").read_text())
    assert means["gan"]["mean"][0] == pytest.approx(float(rows[-1]["psnr"])) and means["gan"]["step"] == 6
    assert f"<td>{means['bicubic']['mean'][0]:.2f}</td>" in text


def test_the_page_changes_nothing_of_the_training(begin, monkeypatch):
    with_page = begin("a")
    monkeypatch.setattr(loop, "keep", lambda *args: None)
    monkeypatch.setattr(loop, "renew_report", lambda *args: None)
    without = begin("b")
    assert with_page.checkpoint.read_bytes() == without.checkpoint.read_bytes()
    assert not (without.folder / "looks").exists() and (with_page.folder / "looks").is_dir()


def test_the_gan_stage_alone_shows_where_it_began(begin):
    run = begin(stages=("gan",))
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    assert len(images_of(text, "2: stage 1")) == 1 and "GAN, step 3" in text and "stage 1, step" not in text


def test_looks_that_were_taken_back_are_not_shown(begin):
    run = begin()
    image = (run.folder / "looks" / "gan-000006.webp").read_bytes()
    (run.folder / "looks" / "gan-000009.webp").write_bytes(image)  # of a step that the log no longer has
    run_page.write_report(run)
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "GAN, step 6" in text and "GAN, step 9" not in text


def test_a_long_run_shows_some_of_its_looks(begin, monkeypatch):
    run = begin()
    monkeypatch.setattr(run_page, "MOMENTS", 3)
    run_page.write_report(run)
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    assert len(re.findall(r'alt="the detail: [^"]*step', text)) == 3
    assert "the detail: stage 1, step 3" in text and "the detail: GAN, step 6" in text  # the first and the last


def test_damage_to_what_was_kept_ends_no_training(begin, capfd):
    run = begin()
    (run.folder / "looks" / "figures.json").write_text('{"photos": 3}')
    with pytest.raises(looks.ConfigError, match="looks is damaged"):
        run_page.write_report(run)
    run_page.renew_report(run, run.rows(), 30.0, print)
    assert "no report.html" in capfd.readouterr().out
    assert looks.Keeping(run, 2).figures == {}
    run = begin("other")
    (run.folder / "looks" / "1-gan.webp").unlink()
    with pytest.raises(looks.ConfigError, match="1-gan.webp is missing"):
        run_page.write_report(run)


@pytest.mark.parametrize("name", ["0-gan.webp", "1-hr.webp", "gan-000006.webp"])
def test_a_cut_off_image_is_named(begin, name):
    run = begin()
    path = run.folder / "looks" / name
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(looks.ConfigError, match=f"{name} cannot be read.*remove the folder"):
        report(run.folder, run.folder / "report.html", pytest.fail)
    run_page.renew_report(run, run.rows(), 30.0, print)  # which ends no training


def test_the_states_of_health_are_marked_and_explained(begin):
    run = begin()
    text = run.log.read_text()
    header, *lines = text.splitlines()
    health = header.split(",").index("health")
    for i in (-3, -2):
        cells = lines[i].split(",")
        cells[health] = "colour-drift+d-winning"
        lines[i] = ",".join(cells)
    run.log.write_text("\n".join([header, *lines]) + "\n")
    run_page.write_report(run)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "colour-drift, steps 10 to 11: the colours drift" in page and "a share of the pixel loss" in page
    assert '<th scope="row">d-winning</th><td>10–11</td>' in page


def test_speed_is_the_median_between_steps_until_the_costs_are_known(tmp_path):
    run = Run(tmp_path)
    rows = [{"stage": "gan", "step": str(i), "psnr": "", "seconds": str(0.1 * i + 5 * (i > 4))} for i in range(1, 9)]
    assert run_page.milliseconds(run, rows, "gan") == pytest.approx(100)
    assert run_page.milliseconds(run, rows, "pretrain") is None
    for i in range(1, 8, 2):  # looks, which take longer than a step; each is next to every other step
        rows[i]["psnr"] = "28.4"
    assert run_page.milliseconds(run, rows, "gan") is None
    run.add_cost("gan", 0, 6, "cpu", {"ms": 30})
    run.add_cost("gan", 6, 8, "cpu", {"ms": 70})
    assert run_page.milliseconds(run, rows, "gan") == pytest.approx(40)
    said = [run_page.duration(each) for each in (3.2, 59.7, 75, 119.6, 3599.9, 7290)]
    assert said == ["3 s", "1 min 0 s", "1 min 15 s", "2 min 0 s", "1 h 0 min", "2 h 1 min"]


# ---- The command ------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, tiny_config, photo_folder, monkeypatch, capfd):
    """A function that trains a run by the command, and gives its folder."""
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")
    monkeypatch.setattr(loop, "LOOKS", 1)
    monkeypatch.setattr(loop, "draw_curves", lambda *args: None)
    monkeypatch.setattr(loop, "draw_comparison", lambda *args: None)

    def train(name, photos=photo_folder, **changes):
        monkeypatch.setitem(PRESETS, "tiny", replace(tiny_config(steps=(2, 2)), **changes))
        assert cli.main(["train", "--data", str(photos), "--out", str(tmp_path / name)]) == 0
        capfd.readouterr()
        return tmp_path / name

    return train


def test_a_run_of_an_earlier_version_gets_its_page(trained, photo_folder, tmp_path, smooth_photo, capfd):
    large = tmp_path / "large"
    shutil.copytree(photo_folder, large)
    Image.fromarray(smooth_photo(300, 290)).save(large / "a.png")  # the one held out, of which the middle is shown
    folder = trained("old", large)
    before = (folder / "looks" / "0-gan.webp").read_bytes()
    for path in [*(folder / "looks").iterdir(), folder / "report.html"]:
        path.unlink()
    (folder / "looks").rmdir()
    assert cli.main(["compare", str(folder)]) == 0
    assert capfd.readouterr().out == f"{folder / 'report.html'}\n"
    assert (folder / "looks" / "0-gan.webp").read_bytes() == before
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert all(len(images_of(text, f"a.png: {label}")) == 1 for label in ("bicubic", "stage 1", "GAN", "HR"))


def test_runs_are_compared(trained, tmp_path, capfd):
    a, b = trained("<b>a</b>"), trained("b", adversarial_weight=0.5, seed=3)
    out = tmp_path / "both.html"
    assert cli.main(["compare", str(a), str(b), "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "<b>a</b>" not in text and len(images_of(text, "a.png: b")) == len(images_of(text, "a.png: bicubic")) == 1
    trial = try_photo(load_generator(Run(b).generator), images_of(text, "a.png: HR")[0], "numpy")
    np.testing.assert_array_equal(images_of(text, "a.png: b")[0], trial.sr)
    differing = dict(
        re.findall(
            r'<th scope="row">([a-z_.]+)</th><td>(.*?)</td></tr>',
            text.partition("What differs")[2].partition("</section>")[0],
        )
    )
    assert differing == {"adversarial_weight": "0.001</td><td>0.5", "seed": "0</td><td>3"}
    assert text.count("<polyline") >= 12
    assert cli.main(["compare", str(a), str(b), "-o", str(out)]) == 0  # it is renewed


def test_mistakes_get_one_line(trained, tmp_path, capfd, monkeypatch):
    folder = trained("run")

    def refused(*words):
        assert cli.main(["compare", *map(str, words)]) == 2
        (line,) = [each for each in capfd.readouterr().err.splitlines() if not each.startswith("device ")]
        return line

    assert "not the folder of a run" in refused(tmp_path / "none") and "named twice" in refused(folder, folder)
    (tmp_path / "a.html").mkdir()
    assert "is a folder" in refused(folder, "-o", tmp_path / "a.html")
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    assert "minisrgan did not make it" in refused(folder, "-o", mine) and mine.read_text() == "mine"
    os.mkfifo(tmp_path / "pipe.html")
    assert "minisrgan did not make it" in refused(folder, "-o", tmp_path / "pipe.html")  # and nothing waits for it
    with pytest.raises(SystemExit):
        cli.main(["compare", str(folder), "-o", str(Run(folder).generator)])
    assert "name ending in .html" in capfd.readouterr().err
    header = Run(folder).log.read_text().splitlines()[0]
    Run(folder).log.write_text(header + "\n")
    (folder / "looks" / "figures.json").unlink()
    assert "has not looked at its held-out photos yet" in refused(folder)


def test_a_run_may_be_called_as_a_version_of_a_photo(begin, tmp_path):
    a, b = begin("HR"), begin("bicubic", seed=3)
    compare([a.folder, b.folder], tmp_path / "both.html", pytest.fail)
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    hr, sr = (images_of(text, f"2: {label}") for label in ("HR", f"{tmp_path.name}/HR"))
    assert len(hr) == len(sr) == 1 and not np.array_equal(hr[0], sr[0])
    assert len(images_of(text, "2: bicubic")) == len(images_of(text, f"2: {tmp_path.name}/bicubic")) == 1


def test_runs_that_share_no_photo_are_compared_by_their_figures(begin, tmp_path, smooth_photo):
    a, b = begin("a"), begin("b")
    for n in range(2):
        (b.folder / "looks" / f"{n}-hr.webp").write_bytes(encoded(smooth_photo(40, 40, seed=9 + n)))
    compare([a.folder, b.folder], tmp_path / "both.html", pytest.fail)
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "share no held-out photo" in text and "<img" not in text and text.count("<polyline") >= 12
    assert "Nothing: their settings are the same." in text
