"""The CUDA kernels of kernels/*.cu, launched on the device of their arrays.

    launch("channels.cu", "prelu_forward", grid, block, x, slope, y, rows, channels, rows_per_part)

runs on the GPU if the arrays are CuPy's (cuda.py). If they are NumPy's, it runs what the system's C++ compiler makes
of the same file (cpu.py). `real` is float or double, as the arrays are.

CUDA itself checks nothing. It reads a wrong dtype or a stride as if it were right, and with a wrong size it runs over
the end of an array. So every argument is first compared with the kernel's signature in the .cu text:

    extern "C" __global__ void prelu_forward(const real *x /*[rows*channels]*/, const real *slope /*[channels]*/,
                                             real *y /*[rows*channels]*/, int rows, int channels, int rows_per_part)

/*[...]*/ after a pointer says how many elements its array has. It is a formula of the kernel's integers, and of MACROS
that the file is compiled with.

A kernel may also take a struct by value, such as a Geometry that the .cu text declares. Its members are ints, or arrays
of `int` or `long long`. The argument is then a NamedTuple with fields of the same names in the same order. For an array
it has a list, which may be shorter: the rest is 0. The sizes of arrays may name the ints of a struct.

A training launches the same kernels on arrays of the same types and sizes again and again. So a launch is checked and
laid out in memory once, and kept ready for others that differ from it in nothing but the addresses of arrays and the
values of floats. Such a launch looks at each array's type, dtype, size, layout and address, and at nothing else.
"""

import ctypes
import functools
import re
import struct
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from ctypes import addressof
from itertools import accumulate
from numbers import Real
from operator import index
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from ..arrays import Array, on_gpu
from ..errors import KernelError
from .cpu import bind_cpu
from .cuda import bind_cuda
from .geometry import macros
from .source import DTYPES, KERNEL, SCALARS, kernel_text

Size: TypeAlias = int | tuple[int, ...]  # of a grid or a block: a number, or up to three
Dim3: TypeAlias = tuple[int, int, int]
Run: TypeAlias = Callable[[Sequence], None]  # from the addresses of arrays, and the floats
Bind: TypeAlias = Callable[[Dim3, Dim3, int, "Frame"], Run]  # (grid, block, shared, the arguments)
Sizes: TypeAlias = Callable[[tuple, dict[str, int]], tuple]  # from the arguments and macros, the arrays' sizes


def launch(
    file: str | Path, name: str, grid: Size, block: Size | None, *args: Any, shared: int = 0, **choice: int
) -> None:
    """Run the kernel `name` of `file` on `grid` blocks of `block` threads (ints, or tuples of up to three).

    block     None: as many threads as geometry.py has for the file
    args      the kernel's arguments: contiguous arrays (None is a null pointer), ints, floats and NamedTuples
    shared    bytes of dynamic shared memory for each block
    choice    what geometry.py lets the caller choose for the file, such as FEW=3, KH=9, KW=9

    Raises KernelError, before anything runs, if the kernel cannot take an argument.
    """
    kernel = find_kernel(file, name)
    try:
        like, moving = kernel.describe(args)
        key = (grid, block, shared, *choice.items(), *like)
        run = kernel.ready.get(key)
    except (AttributeError, TypeError, ValueError):  # not as most launches are: the checks say whether it can be
        key, run, moving = None, None, []
    if run is None:
        run, moving = kernel.prepare(dim3(grid), block, shared, args, choice)
        if key and len(kernel.ready) < MOST_READY:
            kernel.ready[key] = run
    try:
        if watch is None:
            run(moving)
        else:
            watch(name, run, moving)
    except (struct.error, OverflowError) as error:
        raise KernelError(f"{name}: grid {grid}, block {block}, arguments {args}: {error}") from error


watch: Callable[[str, Run, Sequence], None] | None = None  # what is told of every launch, and has to start it


@contextmanager
def watched_by(watcher: Callable[[str, Run, Sequence], None]) -> Generator[None, None, None]:
    """Within, `watcher(name, run, moving)` is called for each launch, which `run(moving)` starts."""
    global watch
    watch = watcher
    try:
        yield
    finally:
        watch = None


def dim3(size: Size) -> Dim3:
    x, y, z = (*size, 1, 1)[:3] if isinstance(size, tuple) else (size, 1, 1)
    return x, y, z


# ---- Signatures --------------------------------------------------------------------------------------

ALIGNMENT = 16  # bytes: kernels load vectors of this size from the start of an array
MOST_READY = 4096  # launches of a kernel that are kept ready: images of ever new sizes must not fill the memory
REALS = {np.dtype("f4"): "float", np.dtype("f8"): "double"}


TYPES = (*DTYPES, "real")  # of parameters, beside structs
BITS = {"int": (-(2**31), 2**31), "unsigned": (0, 2**32), "long long": (-(2**63), 2**63)}

MEMBER = r"\w+(?:\[\d+\])?"
MEMBERS = re.compile(rf"\s*(int|long long)\s+({MEMBER}(?:\s*,\s*{MEMBER})*)\s*;")
STRUCT = re.compile(rf"\bstruct\s+(\w+)\s*\{{((?:{MEMBERS.pattern})+)\s*\}}\s*;")
PARAMETER = re.compile(
    r"\s*(?P<const>const\s+)?(?:__grid_constant__\s+)?"
    r"(?P<type>real|float|double|int|unsigned char|unsigned|long long|[A-Z]\w*)\b\s*"
    r"(?P<pointer>\*)?\s*(?:const\b)?\s*(?:__restrict__\b)?\s*(?P<name>\w+)\s*(?:/\*\[(?P<size>.*?)\]\*/)?\s*"
)


class Parameter(NamedTuple):
    """One parameter of a kernel."""

    name: str
    type: str
    pointer: bool
    const: bool
    struct: "Struct | None" = None

    @property
    def kind(self) -> str:
        if self.pointer:
            return "array"
        return "struct" if self.struct else "integer" if self.type in BITS else "float"

    def slot(self, real: str) -> str:
        """How the argument lies in memory, in the letters of `struct`: in whole units of 8 bytes."""
        if self.struct:
            return f"{self.struct.packer.size}s{-self.struct.packer.size % 8}x"
        return "Q" if self.pointer else SCALARS[real if self.type == "real" else self.type]


class Struct:
    """A struct that a kernel takes by value."""

    def __init__(self, declarations: str) -> None:
        self.counts = {}  # {member: its length, or 0 for a single number}
        letters, types = "=", []
        for kind, listed in MEMBERS.findall(declarations):
            for name, count in re.findall(r"(\w+)(?:\[(\d+)\])?", listed):
                self.counts[name] = int(count or 0)
                letters += f"{count or 1}{'i' if kind == 'int' else 'q'}"
                types.append((name, DTYPES[kind], *([int(count)] if count else [])))
        self.packer, self.dtype = struct.Struct(letters), np.dtype(types)
        self.names = tuple(self.counts)

    def flat(self, values: tuple) -> list[int]:
        """All numbers of the struct, in order."""
        numbers = []
        for value, count in zip(values, self.counts.values()):
            numbers += [*value, *[0] * (count - len(value))] if count else [value]
        return numbers


Given: TypeAlias = tuple[Parameter, Array] | None


class Frame:
    """What a launch needs, in memory: a slot for each argument, a table of the slots' addresses, the grid and block.

    `table` is the address of what cuLaunchKernel calls kernelParams, `sizes` that of the grid and block. `fill` writes
    the arguments that move, whose slots come first. Whoever fills it and starts the kernel holds the `lock` meanwhile.
    """

    def __init__(self, slots: list[str], values: list, moving: list[int], grid: Dim3, block: Dim3) -> None:
        order = moving + [i for i in range(len(slots)) if i not in moving]
        starts = [0, *accumulate(struct.calcsize("=" + slots[i]) for i in order)]
        layout = struct.Struct(f"={''.join(slots[i] for i in order)}{len(slots)}Q3I3I")
        memory = (ctypes.c_char * layout.size)()
        at = addressof(memory)
        places = [at + starts[order.index(i)] for i in range(len(slots))]
        layout.pack_into(memory, 0, *(values[i] for i in order), *places, *grid, *block)
        self.table, self.sizes = at + starts[-1], at + layout.size - 24
        self.fill = functools.partial(struct.Struct("=" + "".join(slots[i] for i in moving)).pack_into, memory, 0)
        self.lock = threading.Lock()


class Kernel:
    """A kernel's signature, and what has been compiled of it so far."""

    def __init__(self, file: str | Path, name: str, parameters: list[Parameter], sizes: Sizes) -> None:
        self.file, self.name, self.parameters = file, name, parameters
        self.kinds = [each.kind for each in parameters]
        self.sizes = sizes  # from the arguments and macros, the size that each array must have (None: any)
        self.compiled: dict[tuple, Bind] = {}  # by (real, on_gpu, *defines)
        self.ready: dict[tuple, Run] = {}  # by (grid, block, shared, *choice, *what `describe` says of the arguments)

    def describe(self, args: tuple) -> tuple[list, list]:
        """(all that `check` looks at, except whether an array is aligned; the addresses and the floats).

        Equal numbers are equal here, whatever their types: 4.0 for 4. Raises AttributeError, TypeError or ValueError
        for arguments that `check` has to look at each time, such as a struct with lists, or an array that is read-only,
        empty or not aligned.
        """
        like, moving, bits = [], [], 0
        for kind, value in zip(self.kinds, args, strict=True):
            if kind == "integer" or value is None:
                like.append(value)
            elif kind == "array":
                own = type(value)
                at = addressof(first_byte(value)) if own is np.ndarray else value.data.ptr
                like += own, value.dtype, value.size, value.flags.c_contiguous
                moving.append(at)
                bits |= at
            elif kind == "struct":
                like += type(value), value
            else:
                like.append(type(value))
                moving.append(value)
        if bits % ALIGNMENT:
            raise ValueError("an array is not aligned")
        return like, moving

    def prepare(
        self, grid: Dim3, block: Size | None, shared: int, args: tuple, choice: dict[str, int]
    ) -> tuple[Run, list]:
        """(a function that launches the kernel, the addresses and floats to give it). Raises KernelError."""
        real, on_gpu, defines, values = self.check(args, choice)
        moving = [i for i, kind in enumerate(self.kinds) if kind in ("array", "float") and args[i] is not None]
        if 0 in grid:  # an empty batch: CUDA has no empty grids
            return lambda moving: None, []
        key = (real, on_gpu, *defines.items())
        if (bind := self.compiled.get(key)) is None:
            make = bind_cuda if on_gpu else bind_cpu
            bind = self.compiled[key] = make(self, real, tuple(sorted(defines.items())))
        block = dim3(defines["THREADS"] if block is None else block)
        try:
            frame = Frame([each.slot(real) for each in self.parameters], values, moving, grid, block)
        except (struct.error, OverflowError) as error:
            raise KernelError(f"{self.name}: grid {grid}, block {block}, arguments {values}: {error}") from error
        return bind(grid, block, shared, frame), [values[i] for i in moving]

    def check(self, args: tuple, choice: dict[str, int]) -> tuple[str, bool, dict[str, int], list]:
        """(what `real` is, whether the arrays are on a GPU, all macros, the values of the arguments).

        The value of an array is its address, that of a struct its bytes. Raises KernelError.
        """
        if len(args) != len(self.parameters):
            names = ", ".join(each.name for each in self.parameters)
            raise KernelError(f"{self.name}: takes {len(self.parameters)} arguments ({names}), not {len(args)}")
        values: list[Any] = []
        first = real = None
        for parameter, value in zip(self.parameters, args):
            if parameter.struct:
                values.append(self.packed(parameter, parameter.struct, value))
            elif not parameter.pointer:
                values.append(self.scalar(parameter, value))
            elif value is None:
                values.append(0)
            else:
                values.append(self.address(parameter, value, first, real))
                first = first or (parameter, value)
                real = real or (parameter.type == "real" and (parameter, value)) or None
        if first is None:
            raise KernelError(f"{self.name}: has no array among its arguments")
        gpu = not isinstance(first[1], np.ndarray)
        defines = macros(self.file, gpu, **choice)
        for parameter, value, size in zip(self.parameters, args, self.sizes(args, defines)):
            if size is not None and value is not None and value.size != size:
                self.refuse(parameter, f"has {value.size} elements {value.shape} where the kernel needs {size}")
        return REALS[real[1].dtype] if real else "float", gpu, defines, values

    def scalar(self, parameter: Parameter, value: Any) -> int | float:
        if parameter.type in BITS:
            try:
                value = index(value)
            except TypeError:
                self.refuse(parameter, f"is {value!r} where the kernel takes an {parameter.type}")
            low, high = BITS[parameter.type]
            if not low <= value < high:
                self.refuse(parameter, f"is {value}, more than an {parameter.type} of the kernel can hold")
            return value
        if not isinstance(value, Real):
            self.refuse(parameter, f"is {value!r} where the kernel takes a number")
        return float(value)

    def packed(self, parameter: Parameter, layout: Struct, value: Any) -> bytes:
        """The bytes of a struct, which is given as a NamedTuple."""
        if getattr(value, "_fields", None) != layout.names:
            self.refuse(
                parameter, f"is {value!r} where the kernel takes a {parameter.type} ({', '.join(layout.names)})"
            )
        try:
            return layout.packer.pack(*layout.flat(value))
        except struct.error:
            for (name, count), numbers in zip(layout.counts.items(), value):
                if count and len(numbers) > count:
                    self.refuse(parameter, f"has {len(numbers)} numbers in {name}, which takes {count}")
                kind = "int" if layout.dtype[name].base == DTYPES["int"] else "long long"
                for number in numbers if count else [numbers]:
                    self.scalar(Parameter(f"{parameter.name}.{name}", kind, False, False), number)
            raise

    def layout(self, parameter: str) -> Struct:
        """The struct that this parameter is."""
        return next(each.struct for each in self.parameters if each.name == parameter and each.struct)

    def address(self, parameter: Parameter, array: Any, first: Given, real: Given) -> int:
        """Where the array starts. `first`, `real`: the first array, and the first for a `real *`, if there was one."""
        numpy = isinstance(array, np.ndarray)
        if not numpy and not on_gpu(array):
            self.refuse(parameter, f"is {array!r:.80} where the kernel takes an array")
        if first and numpy != isinstance(first[1], np.ndarray):
            here, there = ("NumPy's", "CuPy's") if numpy else ("CuPy's", "NumPy's")
            self.refuse(parameter, f"is {here} where {first[0].name} is {there}")
        if parameter.type != "real":
            if array.dtype != DTYPES[parameter.type]:
                self.refuse(parameter, f"is {array.dtype} where the kernel takes {DTYPES[parameter.type]}")
        elif real:
            if array.dtype != real[1].dtype:
                self.refuse(parameter, f"is {array.dtype} where {real[0].name} is {real[1].dtype}")
        elif array.dtype not in REALS:
            self.refuse(parameter, f"is {array.dtype} where the kernel takes float32 or float64")
        flags = array.flags
        if not flags.c_contiguous:
            self.refuse(parameter, f"is not contiguous: shape {array.shape}, strides {array.strides}")
        if numpy and not parameter.const and not flags.writeable:
            self.refuse(parameter, "is read-only, and the kernel writes it")
        if array.size >= 2**31:
            self.refuse(parameter, f"has {array.size} elements: a kernel counts to 2**31 - 1")
        at = address(array)
        if at % ALIGNMENT:
            self.refuse(parameter, f"starts at an address that is no multiple of {ALIGNMENT} bytes")
        return at

    def refuse(self, parameter: Parameter, problem: str) -> NoReturn:
        raise KernelError(f"{self.name}: argument {parameter.name} {problem}")


def address(array: Array) -> int:
    if not array.size:
        return 0
    if not isinstance(array, np.ndarray):
        return array.data.ptr
    return addressof(first_byte(array)) if array.flags.carray else array.ctypes.data


first_byte: Callable[[Any], ctypes.c_char] = ctypes.c_char.from_buffer  # a third of the time of `array.ctypes`


@functools.cache
def find_kernel(file: str | Path, name: str) -> Kernel:
    kernels = signatures(file)
    if name not in kernels:
        raise KernelError(f"{file} has no kernel {name}, only: {', '.join(kernels) or 'none'}")
    return kernels[name]


@functools.cache
def signatures(file: str | Path) -> dict[str, Kernel]:
    """The kernels of a file, by name."""
    text = kernel_text(file)
    structs = {name: Struct(members) for name, members, *_ in STRUCT.findall(text)}
    kernels = {}
    for name, listed in KERNEL.findall(text):
        matches = []
        for each in listed.split(",") if listed.strip() else []:
            match = PARAMETER.fullmatch(each)
            if not match or not (match["type"] in TYPES or match["type"] in structs and not match["pointer"]):
                raise KernelError(f"{name}: cannot read the parameter `{each.strip()}`")
            matches.append(match)
        parameters = [
            Parameter(m["name"], m["type"], bool(m["pointer"]), bool(m["const"]), structs.get(m["type"]))
            for m in matches
        ]
        sizes = size_function(name, parameters, [m["size"] for m in matches])
        kernels[name] = Kernel(file, name, parameters, sizes)
    return kernels


def size_function(name: str, parameters: list[Parameter], sizes: list[str | None]) -> Sizes:
    """A function (arguments, macros) -> the sizes of a kernel's arrays. The signature has them in /*[...]*/."""
    places = [(each.name, f"args[{i}]") for i, each in enumerate(parameters) if each.type in BITS and not each.pointer]
    structs = [(i, each.struct) for i, each in enumerate(parameters) if each.struct]
    places += [
        (member, f"args[{i}].{member}") for i, each in structs for member in each.names if not each.counts[member]
    ]

    def argument(word: re.Match[str]) -> str:
        if word[0].isupper():
            return f"defines[{word[0]!r}]"
        found = [place for each, place in places if each == word[0]]
        if len(found) != 1:
            which = "two integers" if found else "no integer"
            raise KernelError(f"{name}: a size names {word[0]}, which is {which} of the kernel")
        return found[0]

    terms = [re.sub(r"[A-Za-z_]\w*", argument, size).replace("/", "//") if size else "None" for size in sizes]
    return eval(f"lambda args, defines: ({', '.join(terms)},)")
