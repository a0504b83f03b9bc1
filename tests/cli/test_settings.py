"""A training's settings from a file: every name, typed and checked, and options that win over it."""

import json

import pytest

from minisrgan.cli import main as commands
from minisrgan.cli import train
from minisrgan.cli.settings import Settings
from minisrgan.errors import ConfigError
from minisrgan.training.run import Run


@pytest.fixture
def configure(tmp_path):
    """A function that gives (TrainConfig, the other entries, the options) of a file's text and of options."""

    def build(text, *words, name="mine.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        args = commands.build_parser().parse_args(["train", "--settings", str(tmp_path / name), *words])
        settings = Settings(args.settings)
        settings.give(args, args.parser)
        return *train.new_training(Run(tmp_path / "new"), args, settings), args

    return build


FILE = """
data = ["photos", "more.txt"]
preset = "small"
steps = [30, 10]
loss-weights = { tv = 1e-8 }
share = { adversarial = 1.0 }
degrade = { blur = [0.2, 2], jpeg = 50 }
seed = 7
out = "runs/mine"
tensorboard = true

[generator]
blocks = 3

[pretrain]
rate = 1e-4
"""


def test_a_file_sets_options_and_fields(configure, tmp_path):
    config, about, args = configure(FILE)
    assert (config.generator.channels, config.generator.blocks, config.seed) == (64, 3, 7)
    assert (config.pretrain.steps, config.gan.steps, config.pretrain.rate) == (30, 10, 1e-4)
    assert (config.adversarial_share, config.tv_weight) == (1.0, 1e-8)
    assert about["data"] == [str(tmp_path / "photos"), str(tmp_path / "more.txt")]
    assert about["degrade"] == {"blur": [0.2, 2.0], "jpeg": [50.0, 50.0]}
    assert args.out == str(tmp_path / "runs" / "mine") and args.tensorboard is True


def test_options_win_over_the_file(configure):
    words = "--steps 5 6 --seed 8 --share tv=0.1 adversarial=2 --data elsewhere --preset tiny --out x".split()
    config, about, args = configure(FILE, *words)
    assert (config.pretrain.steps, config.seed, config.tv_share, config.adversarial_share) == (5, 8, 0.1, 2)
    assert about["data"].endswith("elsewhere") and config.generator.channels == 32 and args.out == "x"
    assert configure(FILE, "--minutes", "1", "2")[0].gan.minutes == 2
    assert configure("minutes = [1, 2]", "--steps", "1", "2")[0].gan.minutes == 0


def test_a_runs_configuration_makes_the_same_training_again(configure, tmp_path):
    words = "--regulariser r1 --strength 3 --minutes 1 2 --copies 2 --d-rate 1e-4 --share tv=0.1".split()
    for text in ("", FILE):
        config, about, _ = configure(text, *words)
        run = Run(tmp_path / "run")
        run.folder.mkdir(exist_ok=True)
        run.describe(config, **about, photos={"a": "b"}, held_out={}, vgg_sha256=None)
        for given in (run.folder, run.folder / "config.json"):
            args = commands.build_parser().parse_args(["train", "--settings", str(given)])
            settings = Settings(args.settings)
            settings.give(args, args.parser)
            again, others = train.new_training(Run(tmp_path / "new"), args, settings)
            assert again == config and json.dumps(others) == json.dumps(about)
    with pytest.raises(ConfigError, match="leave out the preset tiny"):
        configure((run.folder / "config.json").read_text(), "--preset", "tiny", name="config.json")


@pytest.mark.parametrize(
    "text, problem",
    [
        ("stpes = [1, 2]", "no setting 'stpes': did you mean 'steps'"),
        ("[generator]\nblock = 3", r"\[generator\]: there is no setting 'block': did you mean 'blocks'"),
        ("zzzz = 1", "no setting 'zzzz': there are .*adversarial"),
        ("steps = ['many', 1]", "mine.toml: argument --steps: invalid whole number"),
        ("batch = 'four'", "mine.toml: .*batch cannot be 'four'"),
        ("batch = 0", "mine.toml: a batch has at least one crop"),
        ("generator = 3", "mine.toml: "),
        ("[pretrain]\nrate = '1'", "mine.toml: .*rate cannot be '1'"),
        ("steps = [1", "mine.toml: cannot be read"),
        ("preset = 'huge'", "mine.toml: argument --preset: invalid choice"),
        ("resume = 'runs/a'", "no setting 'resume'"),
        ("parser = 1", "no setting 'parser'"),
        ("[training]\nbatch = 3", "mine.toml: not a training configuration"),
        ("degrade = { fog = 3 }", "degradations are blur"),
    ],
)
def test_mistakes_are_one_line(configure, text, problem):
    with pytest.raises(ConfigError, match=problem) as found:
        configure(text)
    assert "\n" not in str(found.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        Settings(tmp_path / "none.toml")
