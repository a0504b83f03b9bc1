"""`minisrgan train` on photos of every kind: several folders, lists, pairs, degraded, from the cache; and resumed."""

import json

import numpy as np
import pytest
from PIL import Image

from minisrgan.cli import main as cli
from minisrgan.imaging.resize import crop_to_multiple, downsample
from minisrgan.training import loop, photos
from minisrgan.training.presets import PRESETS
from minisrgan.training.run import Run
from minisrgan.training.trainer import Trainer


@pytest.fixture
def train(monkeypatch, capfd, tmp_path, tiny_config, no_pictures):
    """A function that trains, two steps in each stage, and returns (the run, or None; what was printed)."""
    monkeypatch.setattr(loop, "LOOKS", 2)
    monkeypatch.setitem(PRESETS, "tiny", tiny_config(steps=(2, 2)))
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))

    def call(*words, status=0, out="run"):
        resumed = "--resume" in words
        where = [] if resumed else ["--out", tmp_path / out]
        assert cli.main([str(word) for word in ("train", "--device", "numpy", *words, *where)]) == status
        printed = capfd.readouterr()
        return Run(words[words.index("--resume") + 1] if resumed else tmp_path / out), printed.out + printed.err

    return call


@pytest.fixture
def two(tmp_path, smooth_photo):
    """Folders `a` and `b` of six photos, the LR of `a` in `lr`, and a list of some of both."""
    for i in range(6):
        hr = smooth_photo(40, 45, seed=i)
        lr = downsample(crop_to_multiple(hr, 4), 4)
        for name, rgb in [(f"{'ab'[i % 2]}/{i}.png", hr), *[(f"lr/{i}x4.png", lr)] * (i % 2 == 0)]:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.fromarray(rgb).save(tmp_path / name)
    (tmp_path / "list.txt").write_text("a/0.png\nb/1.png\na/2.png\n")
    return tmp_path


def stop_in_the_gan_stage(monkeypatch):
    def failing(trainer, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "generator_loss", failing)


@pytest.mark.parametrize(
    "words",
    [
        ["--data", "a", "b"],
        ["--data", "list.txt"],
        ["--data", "a", "--data-lr", "lr"],
        ["--data", "a", "--degrade", "blur=0.2..2", "noise=0..15", "jpeg=40..95"],
        ["--data", "a", "b", "--copies", "2", "--degrade", "noise=5"],
    ],
    ids=lambda words: "-".join(words[1:]),
)
def test_a_stopped_training_goes_on_with_its_photos(train, two, monkeypatch, words):
    monkeypatch.chdir(two)
    whole, _ = train(*words, out="whole")
    monkeypatch.setattr(photos, "MEMORY", 0)  # from here on they are in the cache, which changes nothing
    with monkeypatch.context() as patch:
        stop_in_the_gan_stage(patch)
        stopped, _ = train(*words, out="stopped", status=130)
    stopped, _ = train("--resume", stopped.folder)
    assert whole.checkpoint.read_bytes() == stopped.checkpoint.read_bytes()
    assert whole.generator.read_bytes() == stopped.generator.read_bytes()
    about = json.loads((whole.folder / "config.json").read_text())
    assert ("degrade" in about, "data_lr" in about) == ("--degrade" in words, "--data-lr" in words)
    again, _ = train("--settings", whole.folder, out="again")
    assert again.generator.read_bytes() == whole.generator.read_bytes()
    assert [row["psnr"] for row in again.rows()] == [row["psnr"] for row in whole.rows()]


def test_degraded_crops_make_another_training(train, two):
    plain, _ = train("--data", two / "a", out="plain")
    degraded, _ = train("--data", two / "a", "--degrade", "noise=40", out="degraded")
    assert plain.generator.read_bytes() != degraded.generator.read_bytes()
    assert plain.rows()[-1]["psnr"] != degraded.rows()[-1]["psnr"]  # held-out photos are degraded too
    again, _ = train("--data", two / "a", "--degrade", "noise=40", "--seed", 1, out="again")
    assert again.generator.read_bytes() != degraded.generator.read_bytes()


def test_what_a_step_cost_is_written_down(train, two):
    run, printed = train("--data", two / "a")
    header, *rows = [line.split(",") for line in run.cost.read_text().splitlines()]
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(row["stage"], row["after"], row["to"], row["device"]) for row in rows] == [
        ("pretrain", "0", "2", "numpy"), ("gan", "0", "2", "numpy")
    ]  # fmt: skip
    assert all(0 <= float(row["waiting"]) <= 100 and float(row["ms"]) > 0 for row in rows)
    assert "% of it waiting for photos" in printed
    train("--resume", run.folder)
    assert len(run.cost.read_text().splitlines()) == 3  # no step was taken


@pytest.mark.parametrize(
    "words, problem",
    [
        (["--data", "a", "--data-lr", "lr", "lr"], "--data-lr names a folder for each of --data: 1, not 2"),
        (["--data-lr", "lr"], "name both"),
        (["--data", "b", "--data-lr", "lr"], "has no LR in"),
        (["--data", "a", "--data-lr", "lr", "--copies", "2"], "--copies 0"),
        (["--data", "a", "--degrade", "fog=2"], "degradations are blur, noise, jpeg"),
        (["--data", "a", "--degrade", "blur=3..1"], "blur goes from 0 to 20, not 3..1"),
        (["--data", "a", "--cache", "-3"], "--cache"),
        (["--data", "a/0.png"], "this is a photo"),
        (["--data", "a", "nowhere"], "nowhere: there is no such folder"),
        (["--settings", "nowhere.toml"], "there is no such file"),
        (["--settings", "list.txt"], "cannot be read"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_mistakes_are_one_line_and_nothing_is_written(train, two, monkeypatch, words, problem):
    monkeypatch.chdir(two)
    try:
        run, printed = train(*words, status=2)
    except SystemExit as stopped:  # so argparse ends
        assert stopped.code == 2
        return
    (line,) = [line for line in printed.splitlines() if line.startswith("minisrgan:")]
    assert problem in line and not run.folder.exists() and "Traceback" not in printed


def test_what_a_resumed_run_may_be_told(train, two, monkeypatch):
    run, _ = train("--data", two / "a")
    for words in (["--degrade", "blur=1"], ["--settings", "x.toml"]):
        _, printed = train("--resume", run.folder, *words, status=2)
        assert f"leave out {words[0]}" in printed
    _, printed = train("--resume", run.folder, "--data-lr", two / "lr", status=2)
    assert "name both" in printed
    pairs, _ = train("--data", two / "a", "--data-lr", two / "lr", out="pairs")
    (two / "lr").rename(two / "moved")
    train("--resume", pairs.folder, "--data", two / "a", "--data-lr", two / "moved")
    monkeypatch.setattr(photos, "MEMORY", 0)
    before = run.checkpoint.read_bytes()
    train("--resume", run.folder, "--cache", "0")  # where photos are kept is this machine's affair
    assert run.checkpoint.read_bytes() == before and np.isfinite(float(run.rows()[-1]["loss_g"]))
