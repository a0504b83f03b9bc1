"""Arrays in files: each of our files carries a checksum, and one line says what is wrong with a bad file."""

import json
import logging
import os
import random
import signal
from dataclasses import asdict

import numpy as np
import pytest
from safetensors.numpy import save

from minisrgan.errors import WeightsError
from minisrgan.models.architectures import ARCHITECTURES, SRRESNET, build
from minisrgan.models.compact import CompactConfig
from minisrgan.models.esrgan import MSRResNetConfig, RRDBConfig
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.weights import array_files
from minisrgan.weights import generators as weights
from minisrgan.weights.array_files import KEY, SafetensorsFile, read_arrays, write_arrays
from minisrgan.weights.generators import FOLDER, expected_arrays, load_generator, save_generator
from minisrgan.weights.torch_files import read_torch
from minisrgan.weights.vgg import EMBEDDED, load_vgg, open_vgg, read, save_vgg

SMALL = GeneratorConfig(channels=2, blocks=1, edge_kernel=3, batch_norm=False, direct=True, scale=2)


def generator(config=SMALL):
    return Generator(config, np.random.default_rng(0))


def written(path, about=None, arrays=None):
    """A file as another program could write it, without a checksum; `about` is JSON or text."""
    text = about if isinstance(about, str) else json.dumps(about)
    path.write_bytes(save(generator().state() if arrays is None else arrays, {KEY: text}))
    return path


def about_generator(**config):
    return {"kind": weights.GENERATOR, "config": asdict(SMALL) | config, "trained": {}}


def refused(path, load=load_generator):
    """The one line that refuses a file."""
    with pytest.raises(WeightsError) as caught:
        load(path)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line and len(line) < 600
    return line


# Checksums


def flipped(data, place, bit):
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "g.safetensors"
    save_generator(path, generator(), seed=1, step=12345)
    sound = path.read_bytes()
    header = 8 + int.from_bytes(sound[:8], "little")
    places = [*range(header), *random.Random(0).sample(range(header, len(sound)), 300)]
    for place in places:
        path.write_bytes(flipped(sound, place, place % 8))
        refused(path)
    path.write_bytes(sound)
    assert load_generator(path).config == SMALL


def test_a_checksum_under_another_name_is_noticed(tmp_path):
    path = tmp_path / "v.safetensors"
    save_vgg(path, *open_small())
    path.write_bytes(path.read_bytes().replace(b'"minisrgan"', b'"mifisrgan"', 1))
    assert "damaged" in refused(path, lambda path: load_vgg(path, family="torchvision"))


def open_small():
    config, lazy = open_vgg(EMBEDDED)
    return config, {name: read(EMBEDDED, name, each) for name, each in lazy.items()}


def test_arrays_come_back_and_what_is_said_of_them(tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros((0, 4), np.float32)}
    write_arrays(path, arrays, kind="x", text='{"sha256": "' + "0" * 64 + '"}', deep=[[1.5, None], {"é": True}])
    for _ in range(2):
        back, about = read_arrays(path)
        assert back.keys() == arrays.keys() and all(np.array_equal(back[name], arrays[name]) for name in arrays)
        assert len(about[array_files.CHECKSUM]) == 64 and about["deep"] == [[1.5, None], {"é": True}]
        write_arrays(path, back, **about)  # as a tool that changes something would
    assert not caplog.records


def test_other_arrays_under_the_same_checksum_are_refused(tmp_path):
    path = tmp_path / "g.safetensors"
    save_generator(path, generator())
    with open(path, "rb") as file:
        metadata = SafetensorsFile(file).metadata
    state = generator().state()
    path.write_bytes(save(state, metadata))
    assert load_generator(path)  # the same, by another writer
    state["tail.bias"][0] += 1
    path.write_bytes(save(state, metadata))
    assert "checksum" in refused(path)


def test_a_file_without_a_checksum_is_read_and_one_line_says_so(tmp_path, caplog):
    path = written(tmp_path / "older.safetensors", about_generator())
    with caplog.at_level(logging.WARNING):
        load_generator(path)
        load_generator(path)
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [str(path)]
    assert "has no checksum" in caplog.text


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda path: path.stem)
def test_the_files_of_the_package_have_one(path, caplog):
    assert array_files.CHECKSUM in read_arrays(path)[1]


# What a file may hold


DEEP = "[" * 100_000 + "]" * 100_000
ANYTHING = {
    "a list": "[]",
    "null": "null",
    "a number": "1e30",
    "no JSON": "{",
    "deep": DEEP,
    "many digits": "9" * 10_000,
    "a list for config": json.dumps({"kind": weights.GENERATOR, "config": [[]]}),
    "deep config": f'{{"kind": "{weights.GENERATOR}", "config": {"[" * 500 + "]" * 500}}}',
}


@pytest.mark.parametrize("text", ANYTHING.values(), ids=ANYTHING)
@pytest.mark.parametrize("load", [load_generator, lambda path: load_vgg(path, family="caffe")], ids=["g", "vgg"])
def test_whatever_a_file_says_of_its_arrays_gets_one_line(tmp_path, text, load):
    refused(written(tmp_path / "w.safetensors", text), load)


@pytest.mark.parametrize("setting", [
    {"blocks": 10**9}, {"blocks": 1e9}, {"channels": 10**6}, {"channels": 1e30}, {"edge_kernel": 10**9 + 1},
    {"channels": True}, {"scale": 2.0}, {"batch_norm": 1}, {"channels": None}, {"channels": [2]}, {"blocks": -1},
    {"surprise": 1}, {"architecture": "compact"}, {"architecture": "srresnet"}, {"architecture": ["compact"]},
    {"architecture": 1}, {"channels": 10**40},
], ids=str)  # fmt: skip
def test_no_network_is_built_that_the_file_does_not_fill(tmp_path, monkeypatch, setting):
    class Small(Generator):
        def __init__(self, config, rng):
            assert config.channels <= 2 and config.blocks <= 10 and config.edge_kernel <= 3
            super().__init__(config, rng)

    monkeypatch.setitem(ARCHITECTURES, SRRESNET, ARCHITECTURES[SRRESNET]._replace(network=Small))
    line = refused(written(tmp_path / "w.safetensors", about_generator(**setting)))
    assert "another model" in line or "its configuration" in line


@pytest.mark.parametrize("config", [
    dict(), dict(scale=8), dict(batch_norm=False, direct=True), dict(edge_kernel=1, scale=2, bicubic_skip=True),
    dict(channels=1, blocks=0),
], ids=str)  # fmt: skip
def test_the_shapes_of_a_generator_are_known_without_it(config):
    config = GeneratorConfig(**dict(channels=5, blocks=3, edge_kernel=9) | config)
    expected, arrays = expected_arrays(config, 1000), generator(config).arrays()
    assert {name: each.shape for name, each in expected.items()} == {name: a.shape for name, a in arrays.items()}


@pytest.mark.parametrize("config", [
    CompactConfig(channels=5, blocks=3), CompactConfig(blocks=0, scale=1), RRDBConfig(5, 1, 3),
    RRDBConfig(4, 2, 7, 2, 2), RRDBConfig(4, 1, 2, 8), MSRResNetConfig(channels=7, blocks=2), MSRResNetConfig(3, 1, 3),
    MSRResNetConfig(3, 1, 2),
], ids=str)  # fmt: skip
def test_each_architecture_is_saved_and_its_shapes_are_known(tmp_path, config):
    g = build(config, np.random.default_rng(0))
    expected = expected_arrays(config, 1000)
    assert {name: each.shape for name, each in expected.items()} == {name: a.shape for name, a in g.arrays().items()}
    save_generator(tmp_path / "g.safetensors", g)
    loaded = load_generator(tmp_path / "g.safetensors")
    assert type(loaded) is type(g) and loaded.config == config
    assert all((array == g.state()[name]).all() for name, array in loaded.state().items())


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint8"])
def test_only_floating_point_numbers_are_weights(tmp_path, dtype):
    state = generator().state()
    state["tail.bias"] = state["tail.bias"].astype(dtype)
    assert "'tail.bias' holds" in refused(written(tmp_path / "w.safetensors", about_generator(), state))


def test_what_float32_cannot_hold_is_not_finite(tmp_path):
    state = generator().state()
    state["tail.bias"] = np.full(state["tail.bias"].shape, 1e300)
    assert "NaN or infinity" in refused(written(tmp_path / "w.safetensors", about_generator(), state))


@pytest.mark.parametrize("damage", [
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}',
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}',
    b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":' + DEEP.encode() + b"}}",
    b'{"__metadata__":[1],"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    b'{"__metadata__":{"minisrgan":7},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    b"[]", b"{}", b'"a"', b"\xff\xfe",
])  # fmt: skip
def test_a_header_that_does_not_fit_its_file(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(damage).to_bytes(8, "little") + damage + b"\0\0\0\0")
    assert "damaged" in refused(path)


@pytest.mark.parametrize("load", [load_generator, load_vgg, read_torch, read_arrays])
def test_a_pipe_is_not_waited_for(tmp_path, load):
    os.mkfifo(path := tmp_path / "w.safetensors")
    signal.alarm(20)  # which ends the test, were it waited for
    try:
        assert "a pipe or a device" in refused(path, load)
    finally:
        signal.alarm(0)


@pytest.mark.parametrize("name", ["\0", "x" * 5000, "missing", "missing/w"])
def test_names_of_nothing(tmp_path, name):
    refused(tmp_path / name) if len(name) < 100 else refused_long(tmp_path / name)


def refused_long(path):
    with pytest.raises(WeightsError, match="no file can be read there|no such file"):
        load_generator(path)
