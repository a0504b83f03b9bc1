"""PyTorch's files: what it writes is read to the last bit, and nothing in a hostile file runs."""

import copyreg
import pickle
import struct
import zipfile

import numpy as np
import pytest

from minisrgan.errors import WeightsError
from minisrgan.weights import torch_files
from minisrgan.weights.torch_files import MAGIC, VERSION, read_torch

MACHINE = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
START, STOP = b"\x80\x02", b"."
NUMBERS = np.arange(24, dtype="<f4") - 7.5


def arrays(path):
    return {name: lazy.read() for name, lazy in read_torch(path).items()}


# files that PyTorch itself writes


@pytest.fixture(params=["zip", "stream"])
def torch_save(request, tmp_path):
    """A function that lets PyTorch write an object in one of its formats, and returns the path."""
    torch = pytest.importorskip("torch")

    def save(thing):
        torch.save(thing, tmp_path / "t.pth", _use_new_zipfile_serialization=request.param == "zip")
        return tmp_path / "t.pth"

    return save


def test_a_state_dict_of_pytorch(torch_save):
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3))
    read = arrays(torch_save(model.state_dict()))  # an OrderedDict with a _metadata attribute
    assert list(read) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for name, tensor in model.state_dict().items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_parameters_views_and_shared_storages_of_pytorch(torch_save):
    import torch

    whole = torch.arange(60.0).reshape(3, 4, 5)
    tensors = {
        "parameter": torch.nn.Parameter(whole.clone()),
        "whole": whole,
        "part": whole[1:, 2, 1:4],  # an offset, and strides
        "turned": whole.permute(2, 0, 1),
        "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "number": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
    }
    read = arrays(torch_save(tensors))
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor.detach().numpy())
        assert read[name].shape == tuple(tensor.shape)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64", "float32"])
def test_every_floating_point_type_of_pytorch(torch_save, kind):
    import torch

    values = torch.tensor([1.0, -2.5, 3.141592653589793, 1e-3, -1e4]).to(getattr(torch, kind))
    lazy = read_torch(torch_save({"w": values, "whole": torch.arange(3), "after": torch.ones(2)}))
    np.testing.assert_array_equal(lazy["w"].read(), values.to(torch.float32).numpy())
    np.testing.assert_array_equal(lazy["after"].read(), [1, 1])  # behind the storage of another item size
    with pytest.raises(WeightsError, match="'whole' holds long numbers"):
        lazy["whole"].read()


def test_an_expanded_tensor_is_refused_before_it_takes_memory(torch_save):
    import torch

    lazy = read_torch(torch_save({"w": torch.ones(1).expand(10**5, 10**5)}))
    with pytest.raises(WeightsError, match="larger than its storage"):
        lazy["w"].read()


@pytest.mark.parametrize("length", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_file_of_pytorch(torch_save, length):
    import torch

    path = torch_save({"a": torch.rand(100), "b": torch.rand(1000)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * length)])
    with pytest.raises(WeightsError, match=r"t\.pth: .*(damaged|cut)"):
        arrays(path)


def test_every_single_damaged_byte_is_refused_or_read(torch_save):
    """There is never another exception. (Nothing in a stream would reveal a damaged byte among its numbers.)"""
    import torch

    path = torch_save({"a": torch.rand(3), "b": torch.nn.Parameter(torch.rand(2, 2))})
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(sound), min(len(sound), 1500), replace=False):
        damaged = bytearray(sound)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            arrays(path)
        except WeightsError as error:
            assert "\n" not in str(error)


# files written by hand: as PyTorch wrote them in other years, and as an attacker would


def name(module, name):
    return f"c{module}\n{name}\n".encode()


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def numbers(*values):
    return tuple_of(*map(number, values))


def dict_of(**items):
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(size=24, key="0", kind="FloatStorage", *view):
    return tuple_of(text("storage"), name("torch", kind), text(key), text("cpu"), number(size), *view) + b"Q"


def tensor(stored=None, offset=0, shape=(2, 3, 4), strides=(12, 4, 1)):
    parts = (stored or storage(), number(offset), numbers(*shape), numbers(*strides))
    return name("torch._utils", "_rebuild_tensor_v2") + tuple_of(*parts, b"\x89", EMPTY) + b"R"


EMPTY = name("collections", "OrderedDict") + b")R"


def zip_file(path, state, members=None, prefix="archive/"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(prefix + "data.pkl", START + state + STOP)
        for key, data in (members or {"data/0": NUMBERS.tobytes()}).items():
            archive.writestr(prefix + key, data)
    return path


def stream_file(path, state, storages=None, machine=MACHINE, magic=MAGIC):
    storages = {"0": NUMBERS} if storages is None else storages
    parts = [pickle.dumps(each, 2) for each in (magic, VERSION, machine)] + [START + state + STOP]
    parts.append(pickle.dumps(list(storages), 2))
    parts += [struct.pack("<q", each.size) + each.tobytes() for each in storages.values()]
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture(params=[zip_file, stream_file])
def written(request, tmp_path):
    """A function that writes a state_dict, given as instructions, in one of the formats; gives the path."""
    return lambda state, *args: request.param(tmp_path / "t.pth", state, *args)


@pytest.fixture
def refused(written):
    """A function that writes a state_dict, sees it refused in one line, and gives that line."""

    def refuse(state):
        with pytest.raises(WeightsError) as caught:
            arrays(written(state))
        assert "t.pth: " in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400
        return str(caught.value)

    return refuse


OLD_TENSOR = (
    name("torch", "FloatTensor") + b")R" + tuple_of(storage(), number(0), numbers(2, 3, 4), numbers(12, 4, 1)) + b"b"
)


@pytest.mark.parametrize(
    "stored",
    [
        tensor(),
        tensor(storage(24, "0", "FloatStorage", b"N")),  # with a view of None, as the stream format has it
        tensor().replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage"),
        tensor().replace(b"_rebuild_tensor_v2", b"_rebuild_tensor"),
        OLD_TENSOR,
        OLD_TENSOR.replace(b")R", b")\x81"),
        name("torch._utils", "_rebuild_parameter") + tuple_of(tensor(), b"\x88", EMPTY) + b"R",
        name("torch.nn.parameter", "Parameter") + tensor() + b"\x85R" + tuple_of(b"\x88", b"\x89", EMPTY) + b"b",
    ],
    ids=["now", "view", "on a GPU", "no hooks", "0.1", "0.1 by NEWOBJ", "parameter", "parameter of 0.1"],
)
def test_tensors_as_pytorch_has_pickled_them_over_the_years(written, stored):
    read = arrays(written(dict_of(w=stored)))
    np.testing.assert_array_equal(read["w"], NUMBERS.reshape(2, 3, 4))


def test_names_in_python_2s_strings_and_memos(written):
    assert list(arrays(written(b"}U\x01w" + tensor() + b"s"))) == ["w"]
    state = b"}q\x00r\xff\xff\xff\x7f(" + text("a") + tensor() + b"q\x01" + text("b") + b"h\x01u"
    read = arrays(written(state))  # a memo number of two milliards takes no memory
    np.testing.assert_array_equal(read["a"], read["b"])


def test_what_is_no_tensor_is_passed_over(written):
    read = arrays(written(dict_of(w=tensor(), step=number(7), names=b"](" + text("x") + b"e", nothing=b"N")))
    assert list(read) == ["w"]
    assert list(arrays(written(b"}(" + number(3) + tensor() + text("w") + tensor() + b"u"))) == ["w"]


RAN = []


def payload(*arguments):
    RAN.append(arguments)


HERE = name(payload.__module__, "payload")
PROTOCOL_4 = b"\x8c" + bytes([len(payload.__module__)]) + payload.__module__.encode() + b"\x8c\x07payload\x93"


@pytest.mark.parametrize(
    "attack",
    [
        HERE + b")R",
        HERE + number(1) + b"\x85R",
        PROTOCOL_4 + b")R",
        HERE + b")\x81",
        HERE + b")}\x92",
        b"(i" + HERE[1:],
        b"(" + HERE + b"o",
        EMPTY + HERE + b"b",
        b"}" + text("w") + HERE + b"s",
        HERE + b"q\x000h\x00)R",
        HERE + b"Q",
        b"P1\n",
        b"\x82\x01",
        b"\x83\x01\x00",
        b"\x84\x01\x00\x00\x00",
        name("os", "system") + text("touch /tmp/should-not-be") + b"\x85R",
        name("builtins", "eval") + text("1") + b"\x85R",
        name("collections", "OrderedDict.__init__.__globals__"),
        name("torch._utils", "_rebuild_tensor_v2.__globals__"),
        name("torch", "load") + text("t.pth") + b"\x85R",
        name("numpy.core.multiarray", "_reconstruct"),
        name("torch.storage", "_load_from_bytes") + text("x") + b"\x85R",
    ],
)
def test_a_pickle_that_names_anything_else_is_refused_and_nothing_in_it_runs(refused, attack, monkeypatch):
    monkeypatch.setitem(copyreg._inverted_registry, 1, (payload.__module__, "payload"))  # what EXT1 1 would call
    monkeypatch.setitem(copyreg._extension_cache, 1, payload)
    line = refused(dict_of(w=tensor(), x=attack))
    assert "its pickle" in line or "damaged" in line
    assert RAN == []


def test_the_attacks_would_run_in_pythons_own_machine():
    RAN.clear()
    pickle.loads(START + HERE + b")R" + STOP)
    pickle.loads(b"\x80\x04" + PROTOCOL_4 + b")R" + STOP)
    assert RAN == [(), ()]
    RAN.clear()


@pytest.mark.parametrize(
    "misuse",
    [
        name("collections", "OrderedDict") + number(1) + b"\x85R",
        name("torch", "FloatStorage") + b")R",
        name("torch._utils", "_rebuild_parameter") + b")R",
        name("torch._utils", "_rebuild_parameter") + number(1) + b"\x85R",
        number(1) + b")R",
        tensor(number(1)),
        tensor(name("torch", "FloatStorage")),
        tensor(shape=(2, 3)),
        tensor(shape=(-1, 3, 4)),
        tensor(strides=(-1, 4, 1)),
        tensor(offset=-1),
        tensor(shape=(2**31 - 1,) * 3, strides=(0, 0, 0)),
        tensor(offset=1),
        tensor(shape=(2, 3, 5)),
        tensor(strides=(13, 4, 1)),
        tensor(storage(2**31 - 1)),
        tensor(storage(25)),
        tensor(storage(24, "1")),
        tensor(storage(24, "../../0")),
        tensor(storage(-1)),
        tensor(storage(24, "0", "QInt8Storage")),
        tensor(storage(24, "0", "FloatStorage", numbers(1, 2))),
        tuple_of(text("module"), text("x")) + b"Q",
        number(1) + b"Q",
        numbers(1) + b"N" + b"\x86b",
        b"N" + number(1) + b"b",
        b"h\x63",
        b"0",
        b"R",
        b"t",
        b"u",
        b"(" + b"N" * 3 + b"u",
        b"}" + numbers(1) + b"Ns",
        b"\x8e" + struct.pack("<Q", 2**62),
        b"\x8d" + struct.pack("<Q", 2**62),
        b"X" + struct.pack("<I", 2**32 - 1) + b"x",
        b"\x8a\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"\xff",
    ],
)
def test_a_pickle_that_misuses_what_it_may_name_is_refused(refused, misuse):
    refused(dict_of(w=misuse))


def test_a_pickle_of_too_many_instructions_is_refused(refused, monkeypatch):
    monkeypatch.setattr(torch_files, "MOST_INSTRUCTIONS", 1000)
    assert "longer" in refused(b"N" * 1100 + dict_of(w=tensor()))


def test_tuples_within_tuples_take_no_more_memory_than_they_are_long(refused):
    doubled = b")q\x00" + b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(200)
    )
    assert "t.pth" in refused(doubled)  # 2²⁰⁰ empty ones, if anything unrolled them
    assert "t.pth" in refused(b"}" + doubled + b"Ns")  # or took their hash


@pytest.mark.parametrize("state", [b"N", number(1), b"]", tensor()])
def test_a_pickle_of_no_dictionary_is_refused(written, state):
    with pytest.raises(WeightsError, match="no state_dict"):
        read_torch(written(state, {"data/0": NUMBERS.tobytes()} if written(state).read_bytes()[:2] == b"PK" else {}))


# zip files


def test_a_zip_file_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.pth", "w") as archive:
        archive.writestr("photo.png", b"x")
    with pytest.raises(WeightsError, match="zip file, but torch.save did not write it"):
        read_torch(tmp_path / "t.pth")


@pytest.mark.parametrize("bomb", ["data.pkl", "data/0"])
def test_a_member_that_unpacks_to_more_than_it_is_stays_packed(tmp_path, bomb, monkeypatch):
    zip_file(tmp_path / "t.pth", dict_of(w=tensor()))
    with zipfile.ZipFile(tmp_path / "t.pth") as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "t.pth", "w") as archive:
        for each, data in members.items():
            packed = each.endswith(bomb)
            archive.writestr(
                each, data + b"\0" * 10**6 * packed, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            )
    monkeypatch.setattr(zipfile.ZipFile, "read", guarded(zipfile.ZipFile.read, bomb))
    with pytest.raises(WeightsError, match="is compressed"):
        arrays(tmp_path / "t.pth")


def guarded(read, bomb):
    def safe(self, member, *args):
        assert not getattr(member, "filename", member).endswith(bomb), "it was unpacked"
        return read(self, member, *args)

    return safe


@pytest.mark.parametrize(
    "change",
    [
        lambda info: setattr(info, "file_size", 2**40),
        lambda info: (setattr(info, "file_size", 2**40), setattr(info, "compress_size", 2**40)),
        lambda info: setattr(info, "header_offset", 2**40),
        lambda info: setattr(info, "header_offset", 3),
        lambda info: setattr(info, "CRC", 1),
        lambda info: setattr(info, "flag_bits", 1),
    ],
    ids=["size", "both sizes", "place", "overlap", "checksum", "encrypted"],
)
@pytest.mark.parametrize("victim", ["data.pkl", "data/0"])
def test_a_zip_directory_that_lies(tmp_path, change, victim):
    archive = zipfile.ZipFile(tmp_path / "t.pth", "w")
    archive.writestr("archive/data.pkl", START + dict_of(w=tensor()) + STOP)
    archive.writestr("archive/data/0", NUMBERS.tobytes())
    change(archive.getinfo(f"archive/{victim}"))
    archive.close()
    with pytest.raises(WeightsError) as caught:
        arrays(tmp_path / "t.pth")
    assert "\n" not in str(caught.value)


def test_keys_that_take_for_ever_to_look_up_are_refused(tmp_path):
    """A tuple's hash is computed again each time: in tuples nested n deep, each twice in the next, 2ⁿ times."""
    path, nested = stream_file(tmp_path / "t.pth", dict_of(w=tensor())), ()
    for _ in range(60):
        nested = nested, nested
    path.write_bytes(path.read_bytes().replace(pickle.dumps(["0"], 2), pickle.dumps([nested], 2)))
    with pytest.raises(WeightsError, match="keys that are not names"):
        read_torch(path)


def test_a_tensor_has_few_axes(refused):
    assert "too many axes" in refused(dict_of(w=tensor(shape=[2**31 - 1] * 20_000, strides=[0] * 20_000)))


def test_two_pickles_in_one_zip_file_are_refused(tmp_path):
    zip_file(tmp_path / "t.pth", dict_of(w=tensor()), {"data/0": NUMBERS.tobytes(), "x/data.pkl": START + HERE + STOP})
    with pytest.raises(WeightsError, match="no data.pkl, or several"):
        read_torch(tmp_path / "t.pth")


def test_a_pickle_too_large_for_a_state_dict_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_files, "MOST_PICKLE", 50)
    zip_file(tmp_path / "t.pth", dict_of(w=tensor()))
    with pytest.raises(WeightsError, match="longer than any state_dict"):
        read_torch(tmp_path / "t.pth")


def test_a_missing_storage(tmp_path):
    zip_file(tmp_path / "t.pth", dict_of(w=tensor()), {"data/1": NUMBERS.tobytes()})
    with pytest.raises(WeightsError, match="damaged or cut at 'w'"):
        arrays(tmp_path / "t.pth")


# byte order and other signs


def test_big_endian_numbers_are_refused_by_name(tmp_path):
    zip_file(tmp_path / "z.pth", dict_of(w=tensor()), {"byteorder": b"big", "data/0": NUMBERS.tobytes()})
    stream_file(tmp_path / "s.pth", dict_of(w=tensor()), machine=MACHINE | {"little_endian": False})
    for path in (tmp_path / "z.pth", tmp_path / "s.pth"):
        with pytest.raises(WeightsError, match="big-endian"):
            read_torch(path)


def test_a_pickle_of_another_program(tmp_path):
    stream_file(tmp_path / "t.pth", dict_of(w=tensor()), magic=1)
    with pytest.raises(WeightsError, match="torch.save did not write it"):
        read_torch(tmp_path / "t.pth")


def test_storages_of_a_stream_may_stand_in_any_order_and_unused(tmp_path):
    parts = {"9": np.ones(5, "<f4"), "0": NUMBERS, "7": np.arange(3, dtype="<f4")}
    state = dict_of(
        w=tensor(), x=b"]" + tensor(storage(5, "9"), 0, (5,), (1,)) + b"a", y=tensor(storage(3, "7"), 1, (2,), (1,))
    )
    read = arrays(stream_file(tmp_path / "t.pth", state, parts))
    np.testing.assert_array_equal(read["w"], NUMBERS.reshape(2, 3, 4))
    np.testing.assert_array_equal(read["y"], [1, 2])


def test_a_stream_whose_counts_lie(tmp_path):
    path = stream_file(tmp_path / "t.pth", dict_of(w=tensor()))
    data = bytearray(path.read_bytes())
    data[-NUMBERS.nbytes - 8 : -NUMBERS.nbytes] = struct.pack("<q", -1)
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="are incomplete"):
        read_torch(path)
