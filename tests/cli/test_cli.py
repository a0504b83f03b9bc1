"""The commands as a user runs them: what they write, and the one line for every mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisrgan.cli import main as cli
from minisrgan.cli.train import PRESET_HELP
from minisrgan.device import DEVICES, cuda_problem
from minisrgan.device.precision import use_precision
from minisrgan.imaging.files import read_photo
from minisrgan.imaging.metrics import score
from minisrgan.imaging.resize import downsample, upsample
from minisrgan.losses import ADVERSARIAL, PIXEL_CONTENT
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.models.vgg import SMALL, VGG, VGGConfig
from minisrgan.optim import SCHEDULES
from minisrgan.regularisers import REGULARISERS
from minisrgan.studies import evaluate
from minisrgan.training import loop as train
from minisrgan.training.config import TERMS
from minisrgan.training.presets import PRESETS
from minisrgan.training.run import Run
from minisrgan.training.trainer import Trainer
from minisrgan.upscaling.upscale import upscale
from minisrgan.weights.generators import blend, load_generator, packaged, save_generator
from minisrgan.weights.vgg import save_vgg

COMMANDS = (
    "train, upscale, export, pack, evaluate, compare, gradcheck, losses, sweep, modes, demo, bench, resources, "
    "vgg inspect, vgg fetch, vgg distil, doctor".split(", ")
)


def never_to_begin(*args, **options):
    pytest.fail("the work has begun")


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch):
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")


@pytest.fixture
def tiny(monkeypatch, tiny_config):
    """The tiny preset made smaller: two steps in each stage."""
    monkeypatch.setattr(train, "LOOKS", 1)
    monkeypatch.setitem(PRESETS, "tiny", tiny_config(steps=(2, 2)))
    return PRESETS["tiny"]


@pytest.fixture
def minisrgan(capfd):
    """Run a command that succeeds; return its output."""

    def call(*words):
        status = cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert status == 0, err
        return out

    return call


@pytest.fixture
def refused(capfd):
    """Run a command that is a mistake; return the one line that says so."""

    def call(*words):
        assert cli.main([str(word) for word in words]) == 2
        err = capfd.readouterr().err
        *bar, line = [each for each in err.splitlines() if not each.startswith("device ")]
        assert line.startswith("minisrgan: ") and err.endswith("\n")
        assert not any("Traceback" in each or "Warning" in each or "minisrgan:" in each for each in bar)
        # the progress of a training, photos that it leaves out, and nothing else
        assert all("step" in each or "left out" in each for each in bar if each.strip())
        if words[0] != "train":
            assert bar == []
        return line

    return call


def command_line(*words, **environment):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "minisrgan", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=Path(cli.__file__).parents[2],
        env=os.environ | environment,
        timeout=60,
    )


def picture(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


# help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    _, _, example = text.partition("example:\n")
    words = example.split()
    assert " ".join(words).startswith(f"minisrgan {command}")
    args = cli.build_parser().parse_args(words[1:])  # an example that the command itself would take
    assert callable(args.run)
    # an option that these ignored would only mislead
    no_arrays = {"losses", "modes", "resources", "vgg fetch", "pack", "export"}
    assert ("--device" in text) == (command not in no_arrays)


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("    ") and line[4] != " "]
    assert listed == list(dict.fromkeys(command.split()[0] for command in COMMANDS))
    assert listed == [module.__name__.rpartition(".")[2] for module in cli.COMMANDS]  # each has a file


def test_help_and_mistyped_options_wait_for_no_import():
    code = "import sys; from minisrgan.cli.main import build_parser; build_parser(); print('numpy' in sys.modules)"
    root = Path(cli.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert ran.stdout == "False\n", ran.stderr


def test_the_presets_are_those_of_the_help():
    assert list(PRESET_HELP) == list(PRESETS)
    parser = cli.build_parser()
    for name in PRESETS:
        assert parser.parse_args(["train", "--preset", name]).preset == name


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["upscale"],
        ["train", "--preset", "huge"],
        ["train", "--stage", "third"],
        ["train", "--steps", "-3"],
        ["train", "--steps", "many"],
        ["train", "--seed", "-1"],
        ["train", "--loss-weights", "content"],
        ["train", "--loss-weights", "content=much"],
        ["train", "--on-nan", "panic"],
        ["upscale", "p.png", "--blend", "1.5"],
        ["upscale", "p.png", "--model", "large"],
        ["sweep"],
        ["sweep", "--vary", "adversarial=1,two"],
        ["vgg"],
        ["vgg", "fly"],
        ["vgg", "inspect", "--family", "keras"],
        ["vgg", "fetch", "--from", "a.pth", "--url", "http://b/c.pth"],
    ],
)
def test_words_that_are_no_command_exit_with_2(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("minisrgan: ") and line.endswith("--help)")


def test_the_help_names_all_that_there_is_to_choose_from(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # or long names would be broken at their hyphens
    chosen = [*ADVERSARIAL, *REGULARISERS, *PIXEL_CONTENT, *SCHEDULES, *TERMS, *DEVICES]
    for command, names in [("train", chosen), ("sweep", [*TERMS, "rate", "features"]), ("upscale", DEVICES)]:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        text = capsys.readouterr().out
        assert not [name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", text)]


# train


def test_training_end_to_end(tiny, minisrgan, photo_folder, tmp_path):
    out = minisrgan("train", "--data", photo_folder, "--out", tmp_path / "run", "--seed", 3, "--steps", 3, 1)
    run = Run(tmp_path / "run")
    assert "2 photos to train on, 1 held out" in out and str(run.generator) in out and f"--resume {run.folder}" in out
    assert "stage pretrain: 3 steps of " in out and "stage gan: 1 step of " in out
    assert run.config()[0] == replace(tiny.with_stages("steps", pretrain=3, gan=1), seed=3)
    assert [(row["stage"], row["step"]) for row in run.rows()] == [
        ("pretrain", "1"),
        ("pretrain", "2"),
        ("pretrain", "3"),
        ("gan", "1"),
    ]
    for name in ("checkpoint.safetensors", "generator-pretrain.safetensors", "curves.png", "samples/gan-000001.png"):
        assert (run.folder / name).stat().st_size > 500
    assert load_generator(run.generator).config == tiny.generator


@pytest.mark.usefixtures("no_pictures")
def test_the_stages_one_by_one(tiny, minisrgan, photo_folder, tmp_path):
    data = ("--data", photo_folder)
    minisrgan("train", *data, "--stage", "pretrain", "--out", tmp_path / "one")
    first = Run(tmp_path / "one")
    minisrgan("train", *data, "--stage", "gan", "--steps", 1, "--weights", first.generator, "--out", tmp_path / "two")
    second = Run(tmp_path / "two")
    assert [row["stage"] for row in first.rows()] == ["pretrain"] * 2
    assert [row["stage"] for row in second.rows()] == ["gan"]
    start, end = (load_generator(run.generator).state() for run in (first, second))
    moved = np.abs(start["tail.weight"] - end["tail.weight"]).max()
    assert 0 < moved < 2.1e-3  # one step of Adam at 1e-3 from where stage 1 ended


@pytest.mark.usefixtures("no_pictures")
def test_a_stopped_training_goes_on(tiny, minisrgan, monkeypatch, capfd, photo_folder, tmp_path):
    minisrgan("train", "--data", photo_folder, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "generator_loss", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli.main(["train", "--data", str(photo_folder), "--out", str(tmp_path / "stopped")]) == 130
    assert capfd.readouterr().err.endswith("\ninterrupted\n")
    minisrgan("train", "--resume", tmp_path / "stopped")
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    assert whole.checkpoint.read_bytes() == stopped.checkpoint.read_bytes()
    assert len(stopped.rows()) == 4


@pytest.mark.usefixtures("no_pictures")
def test_a_resumed_run_is_the_run_that_was_begun(tiny, minisrgan, refused, photo_folder, smooth_photo, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(photo_folder, photos)
    minisrgan("train", "--data", photos, "--out", tmp_path / "run")
    assert "leave out --rates, --seed" in refused("train", "--resume", tmp_path / "run", "--rates", 9, "--seed", 1)
    (photos / "b.png").rename(photos / "other.png")
    assert "began with: b.png is gone" in refused("train", "--resume", tmp_path / "run")
    (photos / "other.png").rename(photos / "b.png")
    shutil.copy(photos / "b.png", photos / "b-more.png")
    assert "began with: some were added, removed or reordered" in refused("train", "--resume", tmp_path / "run")
    (photos / "b-more.png").unlink()
    for name in ("a.png", "b.png"):  # held out, and trained on
        kept = (photos / name).read_bytes()
        picture(photos / name, smooth_photo(40, 40, seed=9))
        line = refused("train", "--resume", tmp_path / "run")
        assert f"began with: {name} is not the same picture as before" in line and "--data" in line
        (photos / name).write_bytes(kept)
    minisrgan("train", "--resume", tmp_path / "run")


@pytest.mark.usefixtures("no_pictures")
def test_a_run_goes_on_where_its_photos_moved(tiny, minisrgan, refused, photo_folder, tmp_path):
    shutil.copytree(photo_folder, tmp_path / "photos")
    minisrgan("train", "--data", tmp_path / "photos", "--out", tmp_path / "run")
    (tmp_path / "photos").rename(tmp_path / "moved")
    line = refused("train", "--resume", tmp_path / "run")
    assert f"{tmp_path / 'photos'}: the folder of the run's photos is not there" in line and "--data" in line
    minisrgan("train", "--resume", tmp_path / "run", "--data", tmp_path / "moved")
    minisrgan("train", "--resume", tmp_path / "run")  # which is remembered
    assert Run(tmp_path / "run").config()[1]["data"] == str(tmp_path / "moved")


@pytest.mark.usefixtures("no_pictures")
def test_the_run_of_an_earlier_version_knows_its_photos_by_name(tiny, minisrgan, refused, photo_folder, tmp_path):
    minisrgan("train", "--data", photo_folder, "--out", tmp_path / "run", "--steps", 1, 0)
    path = tmp_path / "run" / "config.json"
    about = json.loads(path.read_text())
    old = {name: about[name] for name in ("training", "data", "stages", "weights")} | {"photos": ["b.png", "c.png"]}
    path.write_text(json.dumps(old))
    minisrgan("train", "--resume", tmp_path / "run")
    assert json.loads(path.read_text()) == about
    path.write_text(json.dumps(old | {"photos": ["b.png", "d.png"]}))
    assert "d.png is gone" in refused("train", "--resume", tmp_path / "run")


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_run_can_be_lengthened(tiny, minisrgan, refused, photo_folder, tmp_path):
    run = Run(tmp_path / "run")
    minisrgan("train", "--data", photo_folder, "--out", run.folder)
    before = run.log.read_text()
    for steps, problem in [((1, 2), "pretrain ended after 2, not 1"), ((3, 2), "pretrain ended after 2, not 3"),
                           ((2, 1), "gan already has 2, not 1"), ((9,), "a value for each stage")]:  # fmt: skip
        assert problem in refused("train", "--resume", run.folder, "--steps", *steps)
    minisrgan("train", "--resume", run.folder, "--steps", 2, 4)
    steps = [row["step"] for row in run.rows()]
    assert run.log.read_text().startswith(before) and steps == ["1", "2", "1", "2", "3", "4"]
    config, about = run.config()
    assert config == tiny.with_stages("steps", gan=4) and run.position() == ("gan", 4)
    assert about["steps_before"] == [{"stage": "gan", "step": 2, "steps": {"pretrain": 2, "gan": 2}}]


@pytest.mark.usefixtures("no_pictures")
def test_a_run_goes_by_minutes(tiny, minisrgan, refused, photo_folder, tmp_path):
    run = Run(tmp_path / "run")
    minisrgan("train", "--data", photo_folder, "--out", run.folder, "--minutes", 0.0005, 0.001)
    assert run.config()[0] == tiny.with_stages("minutes", pretrain=0.0005, gan=0.001)
    assert run.position()[0] == "gan" and run.position()[1] >= 1
    assert "go by minutes" in refused("train", "--resume", run.folder, "--steps", 9, 9)
    assert "leave out --minutes" in refused("train", "--resume", run.folder, "--minutes", 1, 1)


@pytest.mark.usefixtures("no_pictures")
def test_a_vgg_is_known_by_its_weights(tiny, minisrgan, refused, photo_folder, tmp_path):
    for seed, name in enumerate(("vgg", "other")):
        vgg = VGG(VGGConfig(SMALL), np.random.default_rng(seed))
        save_vgg(tmp_path / f"{name}.safetensors", vgg.config, vgg.state())
    data = ("train", "--data", photo_folder, "--out", tmp_path / "run", "--content", "vgg22", "--steps", 1, 0)
    minisrgan(*data, "--vgg", tmp_path / "vgg.safetensors")
    (tmp_path / "vgg.safetensors").rename(tmp_path / "moved.safetensors")
    (tmp_path / "other.safetensors").rename(tmp_path / "vgg.safetensors")
    assert "the VGG is not the one that" in refused("train", "--resume", tmp_path / "run")
    minisrgan("train", "--resume", tmp_path / "run", "--vgg", tmp_path / "moved.safetensors")
    minisrgan("train", "--resume", tmp_path / "run")


def test_sigterm_saves_before_the_command_ends(tiny, monkeypatch, capfd, photo_folder, tmp_path):
    monkeypatch.setattr(Trainer, "finish_step", lambda trainer, finish=Trainer.finish_step: (
        os.kill(os.getpid(), signal.SIGTERM), finish(trainer))[1])  # fmt: skip
    assert cli.main(["train", "--data", str(photo_folder), "--out", str(tmp_path / "run")]) == 128 + signal.SIGTERM
    out, err = capfd.readouterr()
    assert "saving after this step" in err and err.endswith("\ninterrupted\n")
    assert Run(tmp_path / "run").position() == ("pretrain", 1)


@pytest.mark.usefixtures("no_pictures")
def test_the_losses_are_those_that_were_asked_for(tiny, minisrgan, refused, photo_folder, tmp_path):
    minisrgan("train", "--data", photo_folder, "--out", tmp_path / "run", "--content", "charbonnier",
              "--adversarial", "hinge", "--regulariser", "spectral-norm", "--ema", 0, 0.5, "--on-nan", "rollback",
              "--rates", 2e-3, 1e-4, "--loss-weights", "content=0.5", "adversarial=1e-2", "tv=1e-4",
              "--share", "pixel=0.1", "--d-rate", 1e-3, "--beta1", 0.8, "--schedules", "cosine", "drop",
              "--pretrain-loss", "charbonnier")  # fmt: skip
    config = Run(tmp_path / "run").config()[0]
    assert (config.content, config.adversarial, config.regulariser) == ("charbonnier", "hinge", "spectral-norm")
    assert config.weights == {"content": 0.5, "pixel": tiny.pixel_weight, "adversarial": 1e-2, "tv": 1e-4, "grid": 0}
    assert config.shares == {"pixel": 0.1} and (config.d_rate, config.beta1) == (1e-3, 0.8)
    assert (config.pretrain.schedule, config.gan.schedule) == ("cosine", "drop")
    assert (config.pretrain.rate, config.gan.rate) == (2e-3, 1e-4)
    assert (config.gan.ema, config.on_nan, config.discriminator.spectral_norm) == (0.5, "rollback", True)
    last = Run(tmp_path / "run").rows()[-1]
    assert last["loss_tv"] and last["grad_tv"] and float(last["grad_content"]) > 0
    resume = ("train", "--resume", tmp_path / "run")
    line = refused(*resume, "--ema", 0.9, 0.9, "--loss-weights", "tv=1", "--regulariser", "r1")
    assert "leave out --regulariser, --loss-weights, --ema" in line
    data = ("train", "--data", photo_folder, "--out", tmp_path / "other")
    assert "no term 'style'" in refused(*data, "--loss-weights", "style=1")
    for twice in [("tv=1", "tv=1"), ("tv=1", "--loss-weights", "tv=2")]:
        assert "the same term twice" in refused(*data, "--loss-weights", *twice)
    assert "not 'vgg77'" in refused(*data, "--content", "vgg77")
    assert "not 'law'" in refused(*data, "--regulariser", "law")
    assert "label-smoothing goes with" in refused(*data, "--regulariser", "label-smoothing", "--adversarial", "hinge")
    assert "tv has a weight or a share" in refused(*data, "--loss-weights", "tv=1", "--share", "tv=1", "pixel=1")


@pytest.mark.usefixtures("no_pictures")
def test_a_vgg_that_is_not_at_hand_stops_before_the_training(
    tiny, minisrgan, refused, monkeypatch, photo_folder, tmp_path
):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))
    data = ("train", "--data", photo_folder, "--out", tmp_path / "run", "--content", "vgg54")
    line = refused(*data)
    assert all(way in line for way in ("minisrgan vgg fetch", "--vgg", "--content vgg-small"))
    assert not (tmp_path / "run").exists()
    assert "no such file" in refused(*data, "--vgg", tmp_path / "vgg19.pth")
    minisrgan(*data, "--stage", "pretrain")  # which needs none


def test_the_paper_trains_on_the_papers_losses():
    paper = PRESETS["paper"]
    assert (paper.content, paper.adversarial, paper.regulariser) == ("vgg54", "non-saturating", "none")
    assert paper.weights == {"content": 1, "pixel": 0, "adversarial": 1e-3, "tv": 0, "grid": 0} and not paper.shares


@pytest.mark.usefixtures("no_pictures")
def test_small_photos_are_left_out_and_counted(tiny, minisrgan, photo_folder, smooth_photo, tmp_path):
    for i in range(2):
        picture(tmp_path / f"{i}.png", smooth_photo(40, 40))
    picture(tmp_path / "small.png", smooth_photo(15, 90))
    out = minisrgan("train", "--data", tmp_path, "--out", tmp_path / "run", "--steps", 1, 0)
    assert "1 photo to train on, 1 held out to measure PSNR; 1 smaller than 16 x 16 left out" in out


@pytest.mark.usefixtures("tiny")
def test_without_steps_no_curves_are_announced(minisrgan, photo_folder, tmp_path):
    out = minisrgan("train", "--data", photo_folder, "--out", tmp_path / "run", "--steps", 0, 0)
    assert "generator:" in out and "curves:" not in out


@pytest.mark.usefixtures("tiny", "no_pictures")
@pytest.mark.parametrize(
    "change",
    [
        {"data": 5},
        {"data": None, "stages": "gan"},
        {"stages": ["gan", "pretrain"]},
        {"stages": ["third"]},
        {"stages": []},
        {"stages": [["gan"]]},
        {"stages": ...},
        {"photos": ...},
        {"photos": [1]},
        {"data": ...},
    ],
)
def test_an_edited_configuration_is_one_line(minisrgan, refused, photo_folder, tmp_path, change):
    minisrgan("train", "--data", photo_folder, "--out", tmp_path / "run", "--steps", 0, 0)
    path = tmp_path / "run" / "config.json"
    edited = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in edited.items() if value is not ...}))
    line = refused("train", "--resume", tmp_path / "run")
    assert f"{path}: is not the configuration of a run" in line and f"{list(change)[-1]!r}" in line


@pytest.mark.usefixtures("tiny", "no_pictures")
@pytest.mark.parametrize("name", ["log.csv", "checkpoint.safetensors"])
def test_a_run_that_lost_a_file_cannot_go_on(minisrgan, refused, photo_folder, tmp_path, name):
    minisrgan("train", "--data", photo_folder, "--out", tmp_path / "run", "--steps", 1, 0)
    for path in (tmp_path / "run").glob(f"{name.partition('.')[0]}*"):
        path.unlink()
    line = refused("train", "--resume", tmp_path / "run")
    assert f"{tmp_path / 'run' / name}: there is no such file" in line and "start a new one" in line


@pytest.mark.parametrize("command", ["upscale", "evaluate"])
def test_a_command_says_its_device_beside_its_output(command, capfd, photo_folder, generator_file, tmp_path):
    words = {"upscale": [photo_folder / "a.png", "-o", tmp_path / "out.png"], "evaluate": [photo_folder]}[command]
    assert cli.main([command, *map(str, words), "--weights", str(generator_file)]) == 0
    out, err = capfd.readouterr()
    assert err.startswith("device numpy (asked for by MINISRGAN_DEVICE)\n") and "device numpy" not in out


def test_mistakes_in_what_is_asked(tiny, refused, generator_file, photo_folder, tmp_path):
    data = ("train", "--data", photo_folder, "--out", tmp_path / "run")
    assert "--weights" in refused(*data, "--stage", "gan")
    assert "a value for each stage (pretrain, gan), with a space between, not 1" in refused(*data, "--steps", 5)
    assert "not 2" in refused(*data, "--stage", "pretrain", "--steps", 5, 5)
    assert "--rates takes a value for each stage (pretrain, gan), with a space between, not 1" in refused(
        *data, "--rates", 1e-3
    )
    assert "between 0 and 1" in refused(*data, "--rates", 1e-3, 2)
    assert "by --steps or by --minutes" in refused(*data, "--steps", 1, 1, "--minutes", 1, 1)
    assert "more than 0 minutes" in refused(*data, "--minutes", 1, 0)
    assert "no such file" in refused(*data, "--weights", tmp_path / "none.safetensors")
    assert "channels 2, this training 4" in refused(*data, "--weights", generator_file)
    assert not (tmp_path / "run").exists()
    (tmp_path / "file").write_text("not a folder")
    inside = refused("train", "--data", photo_folder, "--out", tmp_path / "file" / "run")
    assert f"{tmp_path / 'file'}: this is a file, where a folder is needed" in inside
    line = refused("train", "--data", photo_folder, "--out", tmp_path / "file")
    assert "is a file: name a folder" in line and "--resume" not in line
    assert "not the folder of a run" in refused("train", "--resume", tmp_path)


def test_a_folder_in_use_is_not_overwritten(tiny, refused, photo_folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    line = refused("train", "--data", photo_folder, "--out", tmp_path / "run")
    assert str(tmp_path / "run") in line and "there already" in line and "--resume" not in line
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_mistakes_in_the_photos(tiny, refused, photo_folder, smooth_photo, tmp_path):
    def training(folder):
        return refused("train", "--data", folder, "--out", tmp_path / "run")

    assert str(tmp_path / "none") in training(tmp_path / "none")
    empty, small, single, cut = (tmp_path / name for name in ("empty", "small", "single", "cut"))
    for folder in (empty, small, single, cut):
        folder.mkdir()
    (empty / "notes.txt").write_text("no photo")
    assert "no photos" in training(empty)
    picture(small / "a.png", smooth_photo(12, 12))
    picture(small / "b.png", smooth_photo(12, 12))
    assert f"{small}: 0 of 2 photos here have at least 16 x 16" in training(small)
    picture(single / "b.png", smooth_photo(40, 40))
    assert f"{single}: 1 of 1 photos" in training(single) and "needs two" in training(single)
    picture(single / "a.png", smooth_photo(12, 12))
    assert f"{single}: 1 of 2 photos" in training(single)
    for name in ("a.png", "b.png"):
        whole = (photo_folder / name).read_bytes()
        (cut / name).write_bytes(whole[: len(whole) // 2])
    assert f"{cut}: 0 of 2 photos" in training(cut) and f"2 cannot be read, such as {cut / 'a.png'}: " in training(cut)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_training_leaves_out_what_cannot_be_read_and_looks_into_folders(
    tiny, photo_folder, smooth_photo, capfd, tmp_path
):
    data = tmp_path / "data"
    for name in ("a/1.png", "b/1.png", "1.jfif"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth_photo(40, 40)).save(data / name, "PNG" if name.endswith("png") else "JPEG")
    for name in ("a/cut.png", "b/cut.png"):
        (data / name).write_bytes((data / "a/1.png").read_bytes()[:200])
    (data / "notes.txt").touch()
    words = ["train", "--data", data, "--out", tmp_path / "run", "--stage", "pretrain", "--steps", 1]
    assert cli.main([*map(str, words)]) == 0
    out, err = capfd.readouterr()
    assert "2 photos to train on, 1 held out" in out
    for line in ("2 of 5 photos left out", f"left out: {data / 'a/cut.png'}: ", f"left out: {data / 'b/cut.png'}: "):
        assert line in err
    assert "left out 1 other, not named as photos (.txt)" in err
    _, about = Run(tmp_path / "run").config()
    assert [*about["photos"], *about["held_out"]] == ["a/1.png", "b/1.png", "1.jfif"]


@pytest.mark.usefixtures("no_pictures")
def test_a_training_that_diverges_is_one_line(tiny, refused, monkeypatch, photo_folder, tmp_path):
    generate = Trainer.generate
    monkeypatch.setattr(
        Trainer, "generate", lambda t, lr: generate(t, lr) * (1e30 if (t.stage, t.step) == ("gan", 1) else 1)
    )
    assert "step 2 of stage gan" in refused("train", "--data", photo_folder, "--out", tmp_path / "run")
    load_generator(Run(tmp_path / "run").generator)


# upscale


KINDS = {
    "rgb.png": lambda rgb: Image.fromarray(rgb),
    "rgb.jpg": lambda rgb: Image.fromarray(rgb),
    "grey.png": lambda rgb: Image.fromarray(rgb[..., 0]),
    "grey16.png": lambda rgb: Image.fromarray(rgb[..., 0].astype(np.uint16) * 257),
    "palette.gif": lambda rgb: Image.fromarray(rgb).quantize(16),
    "one.png": lambda rgb: Image.fromarray(rgb[:1, :1]),
    "row.bmp": lambda rgb: Image.fromarray(rgb[:1]),
}


@pytest.mark.parametrize("name", KINDS)
def test_any_photo_is_enlarged(minisrgan, generator_file, smooth_photo, tmp_path, name):
    KINDS[name](smooth_photo(7, 10)).save(tmp_path / name)
    out = minisrgan("upscale", tmp_path / name, "--weights", generator_file)
    made = tmp_path / f"{Path(name).stem}-x4.png"
    rgb, alpha = read_photo(tmp_path / name)
    assert alpha is None and f"{made}: {rgb.shape[1]}×{rgb.shape[0]} to {4 * rgb.shape[1]}×{4 * rgb.shape[0]}" in out
    large, alpha = read_photo(made)
    expected = upscale(load_generator(generator_file), rgb, "numpy").astype(float)
    if name.startswith("grey"):
        expected = (expected @ (0.299, 0.587, 0.114))[..., None]
    assert np.abs(large - expected).max() <= (1 if name.startswith("grey") else 0)
    assert alpha is None and large.shape == (4 * rgb.shape[0], 4 * rgb.shape[1], 3)


def test_transparency_is_enlarged_with_the_photo(minisrgan, generator_file, smooth_photo, tmp_path):
    alpha = np.tile(np.linspace(0, 255, 10).astype(np.uint8), (7, 1))
    picture(tmp_path / "p.png", np.dstack([smooth_photo(7, 10), alpha]))
    minisrgan("upscale", tmp_path / "p.png", "-o", tmp_path / "out.png", "--weights", generator_file)
    large, large_alpha = read_photo(tmp_path / "out.png")
    np.testing.assert_array_equal(large_alpha, upsample(alpha, 4))
    assert large.shape == (28, 40, 3)


def test_a_photo_on_its_side_comes_out_upright(minisrgan, generator_file, smooth_photo, tmp_path):
    upright = smooth_photo(7, 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(np.rot90(upright)).save(tmp_path / "p.png", exif=exif)
    minisrgan("upscale", tmp_path / "p.png", "--weights", generator_file)
    expected = upscale(load_generator(generator_file), upright, "numpy")
    np.testing.assert_array_equal(read_photo(tmp_path / "p-x4.png")[0], expected)


def test_the_output_goes_where_it_is_told(minisrgan, generator_file, smooth_photo, tmp_path):
    photo = picture(tmp_path / "p.png", smooth_photo(5, 5))
    out = tmp_path / "new" / "folder" / "large.webp"
    minisrgan("upscale", photo, "-o", out, "--weights", generator_file)
    assert read_photo(out)[0].shape == (20, 20, 3) and not (tmp_path / "p-x4.png").exists()


def test_the_default_name_tells_the_scale(minisrgan, smooth_photo, tmp_path):
    doubling = Generator(GeneratorConfig(channels=2, blocks=0, edge_kernel=3, scale=2), np.random.default_rng(0))
    save_generator(tmp_path / "g.safetensors", doubling)
    minisrgan("upscale", picture(tmp_path / "p.q.png", smooth_photo(5, 6)), "--weights", tmp_path / "g.safetensors")
    assert read_photo(tmp_path / "p.q-x2.png")[0].shape == (10, 12, 3)


def test_mistakes_in_upscaling(refused, generator_file, smooth_photo, tmp_path):
    photo = picture(tmp_path / "p.png", smooth_photo(5, 5))
    before = photo.read_bytes()
    (tmp_path / "sub" / "empty").mkdir(parents=True)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "file").write_text("not a folder")

    def upscaling(*words):
        return refused("upscale", *words, "--weights", generator_file)

    assert "is the photo itself" in upscaling(photo, "-o", photo)
    assert "is the photo itself" in upscaling(photo, "-o", tmp_path / "sub" / ".." / "p.png")
    assert "'.xyz'" in upscaling(photo, "-o", tmp_path / "out.xyz")
    assert "this is a file, where a folder is needed" in upscaling(photo, "-o", tmp_path / "file" / "out.png")
    assert "no such file" in upscaling(tmp_path / "none.png")
    assert "is empty" in upscaling(tmp_path / "empty.png")
    assert "no photos in this folder" in upscaling(tmp_path / "sub")
    assert "no such file" in upscaling(tmp_path / "*.tif")
    assert "a.gif is one file: name a folder" in upscaling(photo, tmp_path / "empty.png", "-o", "a.gif")
    assert "--format is one of png, " in upscaling(photo, "--format", "pgn")
    assert "a name is empty" in upscaling("") and "a name is empty" in upscaling(photo, "-o", "")
    assert "is named as PNG" in upscaling(photo, "-o", tmp_path / "out.png", "--format", "jpg")
    assert "--quality is for formats that lose" in upscaling(photo, "--quality", "90")
    assert "stdout takes one photo" in upscaling(photo, tmp_path / "empty.png", "-o", "-")
    assert "no such file" in refused("upscale", photo, "--weights", tmp_path / "none.safetensors")
    assert photo.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.png", "file", "p.png", "sub", "weights"]


def test_a_file_that_is_there_is_not_replaced(minisrgan, refused, generator_file, smooth_photo, tmp_path, capfd):
    photo = picture(tmp_path / "p.png", smooth_photo(5, 5))
    made = tmp_path / "p-x4.png"
    minisrgan("upscale", photo, "--weights", generator_file)
    before = made.read_bytes()
    picture(photo, smooth_photo(5, 6))
    assert cli.main(["upscale", str(photo), "--weights", str(generator_file)]) == 0
    assert f"{made} is there already, and {photo} is skipped: --force replaces it" in capfd.readouterr().err
    assert "is there already: --force replaces it" in refused("upscale", photo, "-o", made, "--weights", generator_file)
    assert made.read_bytes() == before
    for words in ([], ["-o", made]):
        made.write_bytes(before)
        minisrgan("upscale", photo, "--weights", generator_file, "--force", *words)
        assert read_photo(made)[0].shape == (20, 24, 3)


def test_hidden_colours_do_not_reach_the_network(minisrgan, generator_file, tmp_path):
    """A white sprite stays white, whatever its transparent pixels hide."""
    alpha = np.zeros((20, 20), np.uint8)
    alpha[5:15, 5:15] = 255
    for hidden in (0, 255):
        rgb = np.where(alpha[..., None] > 0, 255, hidden).astype(np.uint8).repeat(3, axis=2)
        picture(tmp_path / "s.png", np.dstack([rgb, alpha]))
        minisrgan("upscale", tmp_path / "s.png", "-o", tmp_path / f"{hidden}.png", "--weights", generator_file)
    over_black, over_white = (read_photo(tmp_path / f"{hidden}.png") for hidden in (0, 255))
    np.testing.assert_array_equal(over_black[0], over_white[0])
    assert over_black[0][over_black[1] > 0].min() >= 250


def test_the_first_of_several_pictures_is_said_to_be_that(generator_file, smooth_photo, tmp_path, capfd):
    frames = [Image.fromarray(smooth_photo(5, 6, seed=i)) for i in range(3)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    assert cli.main(["upscale", str(tmp_path / "x.tif"), "--weights", str(generator_file)]) == 0
    assert f"{tmp_path / 'x.tif'}: only the first of its 3 pictures is taken" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["out.jpg", "out.webp"])
def test_a_size_that_the_format_cannot_hold_is_told_before_the_work(
    refused, generator_file, tmp_path, monkeypatch, name
):
    monkeypatch.setattr("minisrgan.upscaling.files.upscale_strips", never_to_begin)
    photo = picture(tmp_path / "p.png", np.zeros((1, 16376, 3), np.uint8))
    line = refused("upscale", photo, "-o", tmp_path / name, "--weights", generator_file)
    assert "65504 × 4 pixels are too many" in line and "a side" in line and not (tmp_path / name).exists()


def test_an_output_that_is_not_finite_is_no_black_photo(refused, generator_file, smooth_photo, tmp_path):
    generator = load_generator(generator_file)
    next(iter(generator.named_parameters().values())).data[:] = 3e38
    save_generator(tmp_path / "inf.safetensors", generator)
    photo = picture(tmp_path / "p.png", smooth_photo(5, 5))
    with np.errstate(all="ignore"):
        assert "not finite" in refused("upscale", photo, "--weights", tmp_path / "inf.safetensors")
    assert not (tmp_path / "p-x4.png").exists()


def test_a_mistaken_suffix_is_told_before_the_work(refused, generator_file, smooth_photo, tmp_path, monkeypatch):
    monkeypatch.setattr("minisrgan.upscaling.files.upscale_strips", never_to_begin)
    photo = picture(tmp_path / "p.png", smooth_photo(5, 5))
    assert "'.pgn'" in refused("upscale", photo, "-o", tmp_path / "out.pgn", "--weights", generator_file)


def test_too_little_memory_is_one_line(refused, generator_file, smooth_photo, tmp_path, monkeypatch):
    monkeypatch.setattr(Generator, "forward", lambda *args: np.empty(2**58))
    photo = picture(tmp_path / "p.png", smooth_photo(5, 5))
    assert "out of memory" in refused("upscale", photo, "--weights", generator_file)


def test_the_weights_in_the_package_are_the_default(minisrgan, smooth_photo, tmp_path):
    minisrgan("upscale", picture(tmp_path / "p.png", smooth_photo(9, 8)))
    expected = upscale(load_generator(packaged()), smooth_photo(9, 8), "numpy")
    np.testing.assert_array_equal(read_photo(tmp_path / "p-x4.png")[0], expected)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A package with two generators of the model tiny and one of the model small: {name: Generator}."""
    monkeypatch.setattr("minisrgan.weights.generators.FOLDER", tmp_path / "package")
    config = GeneratorConfig(channels=2, blocks=1, edge_kernel=3, batch_norm=False)
    made = {}
    for seed, name in enumerate(["tiny-stage1", "tiny-gan", "small-stage1"]):
        made[name] = Generator(config, np.random.default_rng(seed))
        save_generator(tmp_path / "package" / f"{name}.safetensors", made[name])
    return made


@pytest.mark.parametrize(
    "options, name",
    [
        ([], "tiny-gan"),
        (["--model", "tiny"], "tiny-gan"),
        (["--model", "small"], "small-stage1"),
        (["--blend", "0"], "tiny-stage1"),
        (["--model", "tiny", "--blend", "1"], "tiny-gan"),
    ],
)
def test_upscale_takes_the_model_that_is_asked_for(minisrgan, models, smooth_photo, tmp_path, options, name):
    photo = picture(tmp_path / "p.png", smooth_photo(6, 8))
    minisrgan("upscale", photo, "-o", tmp_path / "out.png", *options)
    expected = upscale(models[name], smooth_photo(6, 8), "numpy")
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png")[0], expected)


def test_upscale_blends_and_averages(minisrgan, models, smooth_photo, tmp_path):
    photo = picture(tmp_path / "p.png", smooth_photo(6, 8))
    minisrgan("upscale", photo, "-o", tmp_path / "out.png", "--blend", "0.7", "--ensemble")
    between = blend(models["tiny-stage1"], models["tiny-gan"], 0.7)
    expected = upscale(between, smooth_photo(6, 8), "numpy", ensemble=True)
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png")[0], expected)


def test_a_run_stands_for_its_generator(minisrgan, refused, generator_file, smooth_photo, tmp_path):
    photo, run = picture(tmp_path / "p.png", smooth_photo(6, 8)), tmp_path / "run"
    run.mkdir()
    assert "it is a folder" in refused("upscale", photo, "--weights", run)
    (run / "generator.safetensors").write_bytes(Path(generator_file).read_bytes())
    for i, weights in enumerate((run, generator_file)):
        minisrgan("upscale", photo, "-o", tmp_path / f"{i}.png", "--weights", weights)
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_upscale_blends_two_files(minisrgan, models, smooth_photo, tmp_path):
    photo = picture(tmp_path / "p.png", smooth_photo(6, 8))
    files = [
        word for name in ("tiny-gan", "tiny-stage1") for word in ("--weights", tmp_path / f"package/{name}.safetensors")
    ]
    minisrgan("upscale", photo, "-o", tmp_path / "out.png", *files, "--blend", "0.25")
    between = blend(models["tiny-gan"], models["tiny-stage1"], 0.25)
    expected = upscale(between, smooth_photo(6, 8), "numpy")
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png")[0], expected)


def test_mistakes_in_choosing_a_model(refused, models, generator_file, smooth_photo, tmp_path):
    photo = picture(tmp_path / "p.png", smooth_photo(5, 5))
    assert "leave out --model" in refused("upscale", photo, "--weights", generator_file, "--model", "tiny")
    twice = ["--weights", generator_file] * 2
    assert "give --weights twice" in refused("upscale", photo, *twice[:2], "--blend", "0")
    assert "give --weights twice" in refused("upscale", photo, *twice, *twice, "--blend", "0")
    assert "--blend takes two" in refused("upscale", photo, *twice)
    assert "small-gan.safetensors" in refused("upscale", photo, "--model", "small", "--blend", "0.5")


# evaluate


def test_evaluating_the_ensemble_has_a_column_of_its_own(minisrgan, models, photo_folder):
    plain, both = (minisrgan("evaluate", photo_folder, *more).splitlines() for more in ([], ["--ensemble"]))
    assert "ensemble of 8" in both[0] and "ensemble" not in plain[0]
    rows = [[line for line in lines if line.startswith("a.png")][0].split() for lines in (plain, both)]
    name, *figures = rows[1]
    bicubic, model, mean = np.split(np.array(figures), 3)
    assert rows[0] == [name, *bicubic, *model] and any(mean != model)
    hr = read_photo(photo_folder / "a.png")[0]
    enlarged = upscale(models["tiny-gan"], downsample(hr, 4), "numpy", ensemble=True)  # the best there is
    assert float(mean[0]) == pytest.approx(score(enlarged, hr, 4).psnr_y, abs=0.006)


def test_evaluating_prints_a_row_a_photo_and_then_the_mean(minisrgan, generator_file, photo_folder, monkeypatch):
    monkeypatch.setattr(evaluate, "fetched", lambda: photo_folder / "not fetched")
    lines = minisrgan("evaluate", photo_folder, "--weights", generator_file).splitlines()
    rows = [line.split() for line in lines if line.split()[0].endswith(".png")]
    mean = next(line.split() for line in lines if line.startswith("mean of 3"))
    assert [words[0] for words in rows] == ["a.png", "b.png", "c.png"]
    figures = np.array([words[1:] for words in rows], float)
    assert figures.shape == (3, 10) and np.isnan(figures[:, [3, 8]]).all()  # the photos are too small for a grid
    np.testing.assert_allclose(np.array(mean[3:], float), figures.mean(axis=0), atol=0.0101)
    np.testing.assert_allclose(figures[:, 2], figures[:, 7], atol=0.05)  # the model is the bicubic and a whisper


def test_mistakes_in_evaluating(refused, generator_file, smooth_photo, tmp_path):
    def evaluating(folder):
        return refused("evaluate", folder, "--weights", generator_file)

    assert "no photos" in evaluating(tmp_path)
    assert "no such folder" in evaluating(tmp_path / "none")
    picture(tmp_path / "tiny.png", smooth_photo(12, 12))
    assert "none of the 1 photos here can be measured, such as: 12 x 12" in evaluating(tmp_path)
    assert "safetensors" in refused("evaluate", tmp_path, "--weights", tmp_path / "tiny.png")


@pytest.mark.parametrize("command", ["losses", "modes"])
def test_a_picture_in_another_format_is_refused(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--out", "picture.pdf"])
    assert stopped.value.code == 2 and "invalid name ending in .png value: 'picture.pdf'" in capsys.readouterr().err


# devices, and the command in a process of its own


@pytest.mark.parametrize("command", [["upscale", "p.png"], ["evaluate", "."], ["train"], ["gradcheck"]])
def test_an_unknown_device_is_refused(refused, command):
    assert "unknown device 'abacus'" in refused(*command, "--device", "abacus")


def test_cuda_without_a_gpu_is_refused(refused):
    if cuda_problem() is None:
        pytest.skip("this machine has a GPU")
    assert "'numpy' works everywhere" in refused("gradcheck", "--device", "cuda")


def test_the_command_in_a_process_of_its_own(generator_file, smooth_photo, tmp_path):
    photo = picture(tmp_path / "p.png", smooth_photo(110, 20))  # of two tiles, so with a progress bar
    done = command_line("upscale", photo, "--weights", generator_file)
    assert done.returncode == 0 and "p-x4.png: 20×110 to 80×440" in done.stdout
    failed = command_line("upscale", tmp_path / "none.png", "--weights", generator_file)
    assert failed.returncode == 2 and failed.stdout == ""
    device, line = failed.stderr.splitlines()
    assert device.startswith("device ") and line.startswith("minisrgan: ")


@pytest.mark.parametrize(
    "encoding", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
@pytest.mark.parametrize("name", ["Straße", os.fsdecode(b"caf\xe9"), "\x1b[31mred"])
def test_names_and_consoles_of_any_encoding(generator_file, smooth_photo, tmp_path, encoding, name):
    folder = tmp_path / name
    folder.mkdir()
    picture(folder / "p.png", smooth_photo(9, 20))
    done = command_line("upscale", folder / "p.png", "--weights", generator_file, **encoding)
    assert done.returncode == 0 and "p-x4.png: 20\\xd79 to 80\\xd736" in done.stdout, done.stderr
    failed = command_line("upscale", folder / "none.png", "--weights", generator_file, **encoding)
    assert failed.returncode == 2 and "\x1b" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("minisrgan: ") and "no such file" in failed.stderr


@pytest.mark.parametrize("words", [["--help"], ["doctor"], ["evaluate", "FOLDER"]])
def test_a_reader_that_leaves_early_is_no_error(photo_folder, words):
    command = [sys.executable, "-m", "minisrgan", *(str(photo_folder) if word == "FOLDER" else word for word in words)]
    read, write = os.pipe()
    os.close(read)  # as `| head -0`
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=Path(cli.__file__).parents[2])
    os.close(write)
    assert done.returncode == 0 and "Broken" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("redirection, status", [(">&-", 0), ("> /dev/full", 2), ("2>&1 | head -1", 0)])
def test_an_output_that_takes_nothing(redirection, status):
    if "full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    command = f"'{sys.executable}' -m minisrgan doctor {redirection}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=Path(cli.__file__).parents[2])
    assert done.returncode == status and "Traceback" not in done.stderr and "ignored" not in done.stderr
    assert ("No space left" in done.stderr) == (status == 2)


def test_a_precision_is_a_gpus(refused, capfd, monkeypatch):
    monkeypatch.setattr(use_precision, "active", None)
    assert "choose one of tf32, 3xtf32, bf16, float32" in refused(
        "gradcheck", "--device", "numpy", "--precision", "half"
    )
    assert "the device is numpy" in refused("gradcheck", "--device", "numpy", "--precision", "bf16")
    assert cli.main(["doctor", "--precision", "bf16"]) == 0
    assert "bf16, of a GPU's convolutions" in capfd.readouterr().out


def test_the_version_and_the_environments_device():
    done = command_line("--version")
    assert done.returncode == 0 and done.stdout.startswith("minisrgan ")
    failed = command_line("doctor", MINISRGAN_DEVICE="abacus")
    assert failed.returncode == 2 and "unknown device 'abacus' from MINISRGAN_DEVICE" in failed.stdout
    assert "kernel cache" in failed.stdout and failed.stderr == ""
