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
    both = "steps = [3, 4]\nminutes = [1, 2]\nloss_weights = { tv = 1 }\nshare = { tv = 1 }"
    config, _, _ = configure(both, "--minutes", "5", "6", "--share", "tv=3")
    assert config.gan.minutes == 6 and config.tv_share == 3


def test_a_field_takes_the_place_of_what_the_preset_has_instead(configure):
    config, _, _ = configure("preset = 'gpu'\nadversarial_weight = 0.5\n[gan]\nsteps = 7")
    assert (config.gan.steps, config.gan.minutes, config.pretrain.minutes) == (7, 0, 8)
    assert config.adversarial_weight == 0.5 and "adversarial" not in config.shares and "grid" in config.shares
    config, _, _ = configure("adversarial_weight = 0.5\nadversarial_share = 2\n[pretrain]\nminutes = 3\nsteps = 7")
    assert config.shares["adversarial"] == 2 and config.pretrain.minutes == 3


def test_a_byte_order_mark_is_no_setting(configure):
    assert configure("\ufeffbatch = 4")[0].batch == 4


def test_false_leaves_out_a_switch(configure):
    assert not configure("tensorboard = false")[2].tensorboard


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
        ("degrade = { fog = 3 }", "mine.toml: degradations are blur"),
        ("steps = [1, 2, 3]", "mine.toml: --steps takes a value for each stage"),
        ("share = { content = 1 }", "mine.toml: 'content' has no share"),
        ("loss_weights = { adversarial = 1 }\nshare = { adversarial = 1 }", "adversarial has a weight or a share"),
        ("share = { adversarial = 1 }\nloss_weights = { adversarial = 1 }", "adversarial has a weight or a share"),
        ("steps = [1, 2]\nminutes = [1, 2]", "by --steps or by --minutes"),
        ("minutes = [1, 2]\nsteps = [1, 2]", "by --steps or by --minutes"),
        *((f"{name} = 3", f"mine.toml: {name} is a path.* not 3") for name in "data data_lr weights vgg out".split()),
        ("data = ['a', ['b']]", r"mine.toml: data is a path.* not \['b'\]"),
        ("data = { a = 1 }", "mine.toml: data is a path"),
        ("data = ''", "mine.toml: data is a path.* not ''"),
        ('weights = "a\\u0000b"', "mine.toml: weights is a path"),
        ("regulariser = ''", "mine.toml: regulariser is one of"),
        ("stages = 3", "mine.toml: argument --stage: invalid choice"),
        ("stages = { a = 1 }", "mine.toml: argument --stage: invalid choice"),
        ("stages = ['gan', 'pretrain']", "mine.toml: unrecognized arguments: pretrain"),
        ("data = false", "mine.toml: argument --data: expected at least one argument"),
    ],
)
def test_mistakes_are_one_line(configure, text, problem):
    with pytest.raises(ConfigError, match=problem) as found:
        configure(text)
    assert "\n" not in str(found.value) and str(found.value).count("mine.toml") == 1


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        Settings(tmp_path / "none.toml")
