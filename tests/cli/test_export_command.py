"""`minisrgan export`, and the commands that take what others share."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from minisrgan.cli import main as cli
from minisrgan.exporting.torch import pth, state_dict
from minisrgan.models.architectures import build
from minisrgan.models.compact import CompactConfig
from minisrgan.weights.generators import save_generator


@pytest.fixture
def call(capfd):
    """Run a command; return (status, what it wrote to stdout, what to stderr)."""

    def run(*words):
        status = cli.main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def theirs(tmp_path):
    """A Compact of scale 3 in another program's file."""
    path = tmp_path / "theirs.pth"
    path.write_bytes(pth(state_dict(build(CompactConfig(4, 1, scale=3), np.random.default_rng(0)))))
    return path


def test_each_suffix_is_written(call, tmp_path, generator_file):
    names = ["g-x4.onnx", "g-x4.param", "g-x4.pth", "g-x4.safetensors"]
    status, out, err = call("export", "--weights", generator_file, "-o", *(tmp_path / name for name in names))
    assert status == 0 and err == ""
    lines = out.splitlines()
    assert len(lines) == 4 and all(str(tmp_path / name) in line for name, line in zip(names, lines))
    assert all("makes the same pixels" in line or "pip install" in line for line in lines)
    assert {path.name for path in tmp_path.glob("g-x4.*")} == {*names, "g-x4.bin"} and (tmp_path / "g_x4.py").exists()


def test_a_name_without_the_scale_gets_advice(call, tmp_path, generator_file):
    status, _, err = call("export", "--weights", generator_file, "-o", tmp_path / "mine.param")
    assert status == 0 and "call it mine-x4" in err


def test_the_package_says_how_it_was_trained_and_its_licence(call, tmp_path):
    assert call("export", "--model", "tiny", "--blend", "0.5", "-o", tmp_path / "t.safetensors")[0] == 0
    with safe_open(tmp_path / "t.safetensors", "np") as file:
        about = file.metadata()
    assert about["source"] == "tiny-stage1.safetensors and tiny-gan.safetensors" and about["blend"] == "0.5"
    assert "45,000 steps" in about["trained"] and "VGG19" in about["trained"] and about["license"].startswith("MIT")
    assert about["scale"] == "4"


def test_a_run_says_how_it_was_trained_and_has_no_licence_of_ours(call, tmp_path):
    save_generator(
        tmp_path / "g.safetensors", build(CompactConfig(4, 1), np.random.default_rng(0)), stage="gan", step=7
    )
    assert call("export", "--weights", tmp_path / "g.safetensors", "-o", tmp_path / "t.safetensors")[0] == 0
    with safe_open(tmp_path / "t.safetensors", "np") as file:
        about = file.metadata()
    assert json.loads(about["trained"]) == {"stage": "gan", "step": 7} and "license" not in about


@pytest.mark.parametrize(("name", "said"), [("g.txt", "g.txt: a name ends in"), ("there.onnx", "is there already")])
def test_mistakes(call, tmp_path, generator_file, name, said):
    (tmp_path / "there.onnx").touch()
    status, out, err = call("export", "--weights", generator_file, "-o", tmp_path / "new.pth", tmp_path / name)
    assert status == 2 and out == "" and err.startswith("minisrgan: ") and len(err.splitlines()) == 1
    assert said in err and not (tmp_path / "new.pth").exists()


def test_nothing_is_written_if_a_file_beside_one_is_there(call, tmp_path, generator_file):
    (tmp_path / "b_x4.py").write_text("mine")
    names = [tmp_path / name for name in ("a.onnx", "b-x4.pth")]
    status, out, err = call("export", "--weights", generator_file, "-o", *names)
    assert status == 2 and out == "" and "b_x4.py is there already" in err
    assert not any(name.exists() for name in names)


def test_what_others_share_is_used_and_exported(call, tmp_path, theirs, smooth_photo, shades):
    Image.fromarray(smooth_photo(7, 5)).save(tmp_path / "p.png")
    status, out, err = call("upscale", tmp_path / "p.png", "--weights", theirs, "-o", tmp_path / "large.png")
    assert status == 0, err
    large = shades(tmp_path / "large.png")
    assert large.shape == (21, 15, 3)
    assert call("export", "--weights", theirs, "-o", tmp_path / "safe.safetensors")[0] == 0
    assert call("pack", theirs, "-o", tmp_path / "packed.safetensors", "--note", "theirs")[0] == 0
    for name in ("safe.safetensors", "packed.safetensors"):
        again = tmp_path / f"{name}.png"
        assert call("upscale", tmp_path / "p.png", "--weights", tmp_path / name, "-o", again)[0] == 0
        assert abs(shades(again).astype(int) - large).max() <= 1


def test_training_goes_on_from_what_others_share(call, tmp_path, theirs, photo_folder):
    status, _, err = call("train", "--data", photo_folder, "--weights", theirs, "--out", tmp_path / "run", "--crop", 32)
    assert status == 2 and "architecture compact, this training srresnet" in err and not (tmp_path / "run").exists()
