"""Reads PyTorch's weight files without PyTorch, and without running anything that is in them.

torch.save writes a pickle, which is a program for a small stack machine. Python's own machine, `pickle.load`, calls
whatever the program names, so a weights file could do anything. The machine below knows tensors and storages and
nothing else. It calls nothing: the few names that a state_dict needs are mere symbols to it, and it refuses all others.

The pickle gives each tensor's shape and names its storage. The storages follow the pickle, in one of two formats:

    zip       PyTorch 1.6 and later: NAME/data.pkl, and a member NAME/data/KEY for each storage
    stream    earlier versions, so torchvision's oldest files: pickles of a magic number, a version, the machine, the
              state_dict and the storages' keys; then for each key the number of its elements, in 8 bytes, and the
              elements
"""

import math
import mmap
import pickletools
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arrays import as_strided
from ..errors import WeightsError
from .array_files import Lazy, check_regular, first_bytes, from_bfloat16

ZIP = b"PK\x03\x04"
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # the start of a stream
MOST_INSTRUCTIONS = 200_000  # of a pickle; a state_dict has about 30 per tensor
MOST_PICKLE = 1 << 24  # bytes of a data.pkl
MOST_AXES = 8  # of a tensor
STORAGES = {  # torch's storage types: their elements' dtype in NumPy
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # NumPy has no such type, so its bits are read
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
WEIGHTS = ("FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage")


class Name(NamedTuple):
    """A global that a pickle names, such as torch.FloatStorage. It is never looked up."""

    path: str


class Storage(NamedTuple):
    """A run of numbers in the file."""

    kind: str
    key: str
    size: int

    @property
    def bytes(self) -> int:
        return self.size * np.dtype(STORAGES[self.kind]).itemsize


class StoredTensor(NamedTuple):
    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


class Refused(Exception):
    """A pickle has something that a state_dict must not have. The caller adds the file's name."""


MARK = Name("(mark)")
ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.nn.parameter.Parameter",
    "torch.FloatTensor",
    *(f"torch.{where}{name}" for name in STORAGES for where in ("", "cuda.")),  # cuda: saved on a GPU, in old files
}


def run(pickle: Any, storages: Any) -> Any:
    """What a state_dict's pickle describes: dicts, lists, tuples, strings, numbers, StoredTensors and Names.

    `pickle` is bytes or a file-like object, which afterwards stands at the pickle's end. Each Storage that occurs is
    added to the dict `storages` under its key. Raises Refused for any other pickle, and an exception of DAMAGE for a
    damaged one.
    """
    stack, memo = [], {}
    for count, (instruction, argument, _) in enumerate(pickletools.genops(pickle)):
        if count > MOST_INSTRUCTIONS:
            raise Refused("its pickle is longer than any state_dict's")
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(MARK)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(instruction.name == "NEWTRUE")
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT"
                | "BINUNICODE" | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING"
            ):  # fmt: skip
                stack.append(argument)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(pop(stack, int(instruction.name[-1])))
            case "TUPLE":
                stack.append(pop_to_mark(stack))
            case "APPEND" | "APPENDS":
                items = pop_to_mark(stack) if instruction.name == "APPENDS" else pop(stack, 1)
                top(stack, list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = pop_to_mark(stack) if instruction.name == "SETITEMS" else pop(stack, 2)
                set_items(top(stack, dict), items)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = top(stack)
            case "MEMOIZE":
                memo[len(memo)] = top(stack)
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(allowed_name(as_text(argument).replace(" ", ".")))
            case "STACK_GLOBAL":
                stack.append(allowed_name(".".join(map(as_text, pop(stack, 2)))))
            case "BINPERSID":
                found = storage(*pop(stack, 1))
                storages[found.key] = found
                stack.append(found)
            case "REDUCE" | "NEWOBJ":
                stack.append(result_of_call(*pop(stack, 2)))
            case "BUILD":
                thing, state = pop(stack, 2)
                stack.append(with_state(thing, state))
            case "STOP":
                (result,) = stack
                return result
            case other:
                raise Refused(f"its pickle has the instruction {other}, which no state_dict needs")
    raise ValueError("its pickle has no end")


def pop(stack: list, count: int) -> tuple:
    """Remove the last `count` things from the stack; return them as a tuple."""
    if len(stack) < count or any(each is MARK for each in stack[-count:]):
        raise ValueError("its pickle takes from an empty stack")
    things = tuple(stack[-count:])
    del stack[-count:]
    return things


def pop_to_mark(stack: list) -> tuple:
    place = next(i for i in reversed(range(len(stack))) if stack[i] is MARK)
    things = tuple(stack[place + 1 :])
    del stack[place:]
    return things


def top(stack: list, kind: type = object) -> Any:
    if not stack or not isinstance(stack[-1], kind):
        raise ValueError("its pickle fills something that it has not created")
    return stack[-1]


def set_items(target: Any, items: Sequence) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int):
            raise Refused("its pickle has a dictionary whose keys are not names")
        target[key] = value


def as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("its pickle has no text where a name should be")
    return value


def allowed_name(path: str) -> Any:
    if path not in ALLOWED:
        raise Refused(f"its pickle names {path[:80]!r}, which is neither a tensor nor a storage: nothing in it was run")
    return Name(path)


def storage(persistent_id: Any) -> Storage:
    """The Storage that a persistent id ("storage", type, key, device, elements[, view]) describes."""
    match persistent_id:
        case ("storage", Name(path), str(key), str(), int(size), *view) if view in ([], [None]) and size >= 0:
            name = path.removeprefix("torch.").removeprefix("cuda.")
            if name in STORAGES:
                return Storage(name, key, size)
    raise Refused("its pickle refers to something outside that is not a storage")


def result_of_call(function: Any, arguments: Any) -> Any:
    """What calling an allowed name would return. Nothing is called."""
    match function, arguments:
        case Name("collections.OrderedDict"), ():
            return {}
        case Name("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2"), (place, at, shape, strides, *_):
            return tensor(place, at, shape, strides)
        case Name("torch._utils._rebuild_parameter" | "torch.nn.parameter.Parameter"), (StoredTensor() as data, *_):
            return data
        case Name("torch.FloatTensor"), ():
            return function
    called = function.path if isinstance(function, Name) else "something that is not a function"
    raise Refused(f"its pickle calls {called} in a way that no state_dict does: nothing in it was run")


def with_state(thing: Any, state: Any) -> Any:
    """`thing` with its state. Further state of an OrderedDict or a Parameter is dropped; an old tensor is its state."""
    match thing, state:
        case Name("torch.FloatTensor"), (place, offset, shape, strides):
            return tensor(place, offset, shape, strides)
        case ((dict() | StoredTensor()), _):
            return thing
    raise Refused("its pickle gives a state to something that has none: nothing in it was run")


def tensor(place: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> StoredTensor:
    if not isinstance(place, Storage) or len(shape) != len(strides) or len(shape) > MOST_AXES:
        raise Refused("its pickle has a tensor without a storage, or with too many axes")
    sizes = (offset, *shape, *strides)
    if not all(type(each) is int and 0 <= each < 1 << 48 for each in sizes):
        raise Refused("its pickle has a tensor of an impossible size or at an impossible place")
    return StoredTensor(place, offset, tuple(shape), tuple(strides))


def tensor_array(stored: StoredTensor, data: np.ndarray) -> np.ndarray:
    """The tensor as a new float32 array, from the bytes of its storage."""
    kind = stored.storage.kind
    if kind not in WEIGHTS:
        raise Refused(f"holds {kind.removesuffix('Storage').lower()} numbers instead of weights")
    count = math.prod(stored.shape)
    last = stored.offset + sum((size - 1) * stride for size, stride in zip(stored.shape, stored.strides))
    if count and (last >= stored.storage.size or count > stored.storage.size):
        raise Refused("is larger than its storage")
    numbers = np.frombuffer(data, STORAGES[kind])
    if kind == "BFloat16Storage":
        numbers = from_bfloat16(numbers)
    strides = tuple(stride * numbers.itemsize for stride in stored.strides)
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite; check_finite finds it
        return as_strided(numbers[stored.offset :], stored.shape, strides).astype(np.float32)


def read_torch(
    path: Path | str, advice: str = "save the state_dict of a VGG, and nothing else", nests: Sequence[str] = ()
) -> dict[str, Lazy]:
    """{name: Lazy} for a state_dict that torch.save wrote. Raises WeightsError, with advice, for any other file.

    nests   keys under which the state_dict may lie, beside other things; the first that is there is taken
    """
    check_regular(path, "name the file of a state_dict")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools passes on Python's warnings about odd backslashes in names
            state, read_storage = (open_zip if first_bytes(path).startswith(ZIP) else open_stream)(path)
        if not isinstance(state, dict):
            raise Refused("it holds no state_dict")
        state = next((state[key] for key in nests if isinstance(state.get(key), dict)), state)
    except Refused as error:
        raise WeightsError(f"{path}: {error}; {advice}") from None
    except DAMAGE as error:
        raise WeightsError(f"{path}: a damaged or cut file of PyTorch ({reason(error)}); download it again") from None

    def lazy(name, stored):
        def read():
            try:
                return tensor_array(stored, read_storage(stored.storage))
            except Refused as error:
                raise WeightsError(f"{path}: {name[:80]!r} {error}; convert the weights to float32") from None
            except DAMAGE as error:
                raise WeightsError(
                    f"{path}: damaged or cut at {name[:80]!r} ({reason(error)}); download it again"
                ) from None

        return Lazy(stored.shape, read)

    return {
        name: lazy(name, stored)
        for name, stored in state.items()
        if isinstance(name, str) and isinstance(stored, StoredTensor)
    }


# the exceptions that the decoders raise for damaged bytes
DAMAGE = (
    ValueError, KeyError, IndexError, TypeError, StopIteration, EOFError, OverflowError, RecursionError, struct.error,
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip


def reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def open_zip(path: Path | str) -> Any:
    """(state_dict, a function from a Storage to its bytes) for the zip format."""
    archive = zipfile.ZipFile(path)  # open as long as its tensors may be read: to find its members takes a while
    try:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(pickles) != 1:
            raise Refused("it is a zip file, but torch.save did not write it: it has no data.pkl, or several")
        prefix = pickles[0].removesuffix("data.pkl")
        if prefix + "byteorder" in archive.namelist() and member(archive, prefix + "byteorder") != b"little":
            raise Refused("its numbers are big-endian, and only little-endian ones are read")
        state = run(member(archive, pickles[0]), {})
    except BaseException:
        archive.close()
        raise

    def read_storage(stored):
        return member(archive, f"{prefix}data/{stored.key}", stored.bytes)

    return state, read_storage


def member(archive: zipfile.ZipFile, name: str, size: int | None = None) -> bytes:
    """A member's bytes. torch.save stores them uncompressed, so no member is larger than the file."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise Refused(f"its member {name[-80:]!r} is compressed, which torch.save never does")
    if size is None and info.file_size > MOST_PICKLE:
        raise Refused("its pickle is longer than any state_dict's")
    if size is not None and info.file_size != size:
        raise ValueError(f"{name} has {info.file_size} bytes, not {size}")
    return archive.read(info)


def open_stream(path: Path | str) -> Any:
    """(state_dict, a function from a Storage to its bytes) for the stream format."""
    storages, places = {}, {}
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic, version, machine, state, keys = (run(data, storages) for _ in range(5))
        if (magic, version) != (MAGIC, VERSION):
            raise Refused("it is a pickle, but torch.save did not write it")
        if machine["little_endian"] is not True:
            raise Refused("its numbers are big-endian, and only little-endian ones are read")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise Refused("its storages have keys that are not names")  # hashing nested tuples could take for ever
        for key in keys:
            (size,) = struct.unpack("<q", data.read(8))
            places[key] = data.tell()
            if size != storages[key].size or places[key] + storages[key].bytes > len(data):
                raise ValueError(f"the numbers of storage {key[:40]} are incomplete")
            data.seek(places[key] + storages[key].bytes)

    def read_storage(stored):
        with open(path, "rb") as file:
            file.seek(places[stored.key])
            return file.read(stored.bytes)

    return state, read_storage
