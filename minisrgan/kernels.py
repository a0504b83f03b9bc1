"""The CUDA kernels of kernels/*.cu: compiled for the device of their arrays, cached, checked and launched.

    launch("channels.cu", "prelu_forward", grid, block, x, slope, y, rows, channels, rows_per_part)

runs on the GPU if the arrays are CuPy's. If they are NumPy's, it runs what the system's C++ compiler makes of
the same file. `real` is float or double, as the arrays are.

CUDA itself checks nothing: a wrong dtype or a stride is read as if it were right, a wrong size runs over the
end of an array. So every argument is first held against the kernel's signature, as the .cu text has it:

    extern "C" __global__ void prelu_forward(const real *x /*[rows*channels]*/, const real *slope /*[channels]*/,
                                             real *y /*[rows*channels]*/, int rows, int channels, int rows_per_part)

/*[...]*/ after a pointer says how many elements its array has, in terms of the kernel's integers and of MACROS that
the file is compiled with.
"""

import atexit
import ctypes
import functools
import hashlib
import importlib.util
import logging
import os
import re
import shlex
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from errno import EACCES
from numbers import Real
from operator import index
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import KernelError
from .geometry import macros

PACKAGE = Path(__file__).resolve().parent
# an installed package has the kernels inside it, the repository beside it
FOLDER = next(folder for folder in (PACKAGE / "kernel_source", PACKAGE.parent / "kernels") if folder.is_dir())

# ---- Launching ---------------------------------------------------------------------------------------


def launch(file, name, grid, block, *args, shared=0, **choice):
    """Run the kernel `name` of `file` on `grid` blocks of `block` threads (ints, or tuples of up to three).

    block     None: of as many threads as geometry.py has for the file
    args      the kernel's: contiguous arrays (None is a null pointer), ints and floats
    shared    bytes of dynamic shared memory for each block
    choice    of what geometry.py has for the file: FEW=3, KH=9, KW=9. The macros that it is compiled with follow

    Raises KernelError before anything runs if the kernel cannot take an argument.
    """
    kernel = find_kernel(file, name)
    real, on_gpu, defines, values = kernel.check(args, choice)
    grid, block = dim3(grid), dim3(defines["THREADS"] if block is None else block)
    if 0 in grid:
        return  # an empty batch: CUDA has no empty grids
    key = (real, on_gpu, *defines.items())
    if (run := kernel.compiled.get(key)) is None:
        bind = bind_cuda if on_gpu else bind_cpu
        run = kernel.compiled[key] = bind(kernel, real, tuple(sorted(defines.items())))
    run(grid, block, shared, values)


def dim3(size):
    return (*size, 1, 1)[:3] if isinstance(size, tuple) else (size, 1, 1)


def elementwise_grid(n, array):
    """Grid and block for a FOR_EACH kernel over n elements, on the device that `array` is on."""
    if not isinstance(array, np.ndarray):
        return min(-(-n // 256), 4096), 256
    if n < 16384:  # waking the other threads takes longer than doing it
        return min(n, 1), 1
    return 4 * runtime().kernel_threads(), 1  # a few blocks a thread: who is done early takes another one


def resident_blocks(array):
    """About how many blocks run at the same time on the device that `array` is on."""
    return runtime().kernel_threads() if isinstance(array, np.ndarray) else 256


def contiguous(array):
    """`array` in the layout that kernels want, rows in C order from an aligned address; copied if it has another."""
    if not array.flags.c_contiguous or address(array) % ALIGNMENT:
        return array.copy(order="C")
    return array


# ---- Signatures --------------------------------------------------------------------------------------

ALIGNMENT = 16  # bytes: vectors of this size are loaded from where an array starts

SCALARS = {  # how each type lies in an argument's slot of 8 bytes, in the letters of `struct`
    "float": "f4x",
    "double": "d",
    "int": "i4x",
    "unsigned": "I4x",
    "long long": "q",
}
DTYPES = {
    "float": np.dtype("f4"),
    "double": np.dtype("f8"),
    "int": np.dtype("i4"),
    "unsigned": np.dtype("u4"),
    "long long": np.dtype("i8"),
    "unsigned char": np.dtype("u1"),
}
REALS = {np.dtype("f4"): "float", np.dtype("f8"): "double"}
BITS = {"int": (-(2**31), 2**31), "unsigned": (0, 2**32), "long long": (-(2**63), 2**63)}

COMMENT = re.compile(r"//[^\n]*|/\*(?!\[).*?\*/", re.DOTALL)  # but not /*[...]*/
BOUNDS = r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{BOUNDS}void\s+{BOUNDS}(\w+)\s*\((.*?)\)\s*[{{;]', re.DOTALL)
PARAMETER = re.compile(
    r"\s*(?P<const>const\s+)?(?P<type>real|float|double|int|unsigned char|unsigned|long long)\b\s*"
    r"(?P<pointer>\*)?\s*(?:const\b)?\s*(?:__restrict__\b)?\s*(?P<name>\w+)\s*(?:/\*\[(?P<size>.*?)\]\*/)?\s*"
)


class Parameter(NamedTuple):
    name: str
    type: str
    pointer: bool
    const: bool


class Kernel:
    """A kernel's signature, and what is compiled of it so far."""

    def __init__(self, file, name, parameters, sizes):
        self.file, self.name, self.parameters = file, name, parameters
        self.sizes = sizes  # from the arguments and macros, the size that each array must have (None: any)
        self.compiled = {}  # (real, on_gpu, *defines): a function of (grid, block, shared, values)

    def check(self, args, choice):
        """What `real` is, whether the arrays are on a GPU, all macros, and the arguments: an array is its address."""
        if len(args) != len(self.parameters):
            names = ", ".join(each.name for each in self.parameters)
            raise KernelError(f"{self.name}: takes {len(self.parameters)} arguments ({names}), not {len(args)}")
        values = []
        first = real = None
        for parameter, value in zip(self.parameters, args):
            if not parameter.pointer:
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

    def scalar(self, parameter, value):
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

    def address(self, parameter, array, first, real):
        """Where the array starts. `first` and `real`: the first array, and the first for a `real *`."""
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

    def refuse(self, parameter, problem):
        raise KernelError(f"{self.name}: argument {parameter.name} {problem}")


def on_gpu(array):
    return type(array).__module__.partition(".")[0] == "cupy"


def address(array):
    if not array.size:
        return 0
    if not isinstance(array, np.ndarray):
        return array.data.ptr
    if array.flags.carray:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # a third of the time of what follows
    return array.ctypes.data


def kernel_files():
    return sorted(path.name for path in FOLDER.glob("*.cu"))


@functools.cache
def find_kernel(file, name):
    kernels = signatures(file)
    if name not in kernels:
        raise KernelError(f"{file} has no kernel {name}, only: {', '.join(kernels) or 'none'}")
    return kernels[name]


@functools.cache
def signatures(file):
    """The kernels of a file, by name."""
    try:
        text = COMMENT.sub("", (FOLDER / file).read_text(encoding="utf-8"))
    except OSError as error:
        raise KernelError(f"no kernel file {FOLDER / file}: {error.strerror}") from error
    kernels = {}
    for name, listed in KERNEL.findall(text):
        matches = [(each, PARAMETER.fullmatch(each)) for each in listed.split(",")] if listed.strip() else []
        for each, match in matches:
            if not match:
                raise KernelError(f"{name}: cannot read the parameter `{each.strip()}`")
        parameters = [Parameter(m["name"], m["type"], bool(m["pointer"]), bool(m["const"])) for _, m in matches]
        sizes = size_function(name, parameters, [m["size"] for _, m in matches])
        kernels[name] = Kernel(file, name, parameters, sizes)
    return kernels


def size_function(name, parameters, sizes):
    """A function (arguments, macros) -> the sizes of a kernel's arrays, from what the signature has in /*[...]*/."""
    places = {each.name: i for i, each in enumerate(parameters) if each.type in BITS and not each.pointer}

    def argument(word):
        if word[0].isupper():
            return f"defines[{word[0]!r}]"
        if word[0] not in places:
            raise KernelError(f"{name}: a size names {word[0]}, which is no integer of the kernel")
        return f"args[{places[word[0]]}]"

    terms = [re.sub(r"[A-Za-z_]\w*", argument, size).replace("/", "//") if size else "None" for size in sizes]
    return eval(f"lambda args, defines: ({', '.join(terms)},)")


# ---- On a GPU: NVRTC, through CuPy -------------------------------------------------------------------


def bind_cuda(kernel, real, defines):
    import cupy

    try:
        function = cuda_module(kernel.file, real, defines).get_function(kernel.name)
    except cupy.cuda.compiler.CompileException as error:
        raise KernelError(f"NVRTC cannot compile {kernel.file}: {first_errors(str(error))}") from error
    types = [
        np.uint64 if each.pointer else DTYPES[real if each.type == "real" else each.type].type
        for each in kernel.parameters
    ]

    def run(grid, block, shared, values):
        if shared > function.max_dynamic_shared_size_bytes:
            function.max_dynamic_shared_size_bytes = shared
        # CuPy passes NumPy's scalars as they are, but a Python float as a double
        args = tuple([as_type(value) for as_type, value in zip(types, values)])
        try:
            function(grid, block, args, shared_mem=shared)
        except cupy.cuda.driver.CUDADriverError as error:
            raise KernelError(f"{kernel.name}: grid {grid}, block {block}: {error}") from error

    return run


@functools.cache
def cuda_module(file, real, defines):
    import cupy

    return cupy.RawModule(code=cuda_source(file), options=tuple(cuda_options(real, defines)))


def cuda_options(real, defines=()):
    return ["-std=c++17", *flags(real, defines)]


def cuda_source(file):
    """common.cuh and the file as one text: CuPy's cache would not notice an edited #include."""
    return numbered("common.cuh") + numbered(file)


def numbered(file):
    path = FOLDER / file
    return f"{line_directive(path)}\n{path.read_text(encoding='utf-8')}\n"


def line_directive(path):
    """`#line 1 "path"`, for a path of any characters: quotes, and bytes that are no text."""
    name = os.fsencode(path).decode(errors="replace")
    return '#line 1 "{}"'.format(name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))


def flags(real, defines):
    return [f"-Dreal={real}", *(f"-D{name}={int(value)}" for name, value in defines)]


def first_errors(text):
    """The lines of a compiler's output that say what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join([line for line in lines if re.search(r"\berror\s*:", line)][:5] or lines[-5:])


# ---- On a CPU: the system's C++ compiler -------------------------------------------------------------

FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-pthread"]
FLAGS += ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]  # what is so on a GPU anyway
if sys.platform == "darwin":
    FLAGS += ["-undefined", "dynamic_lookup"]  # the runtime is found when a library is loaded, as on Linux
NATIVE = (["-march=native"], ["-mcpu=native"], [])  # the first that the compiler knows
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
NO_COMPILER = "no C++ compiler: install g++ for speed (Debian: sudo apt install g++, macOS: xcode-select --install)"


def cpu_problem():
    """Why the kernels cannot run on the CPU, in a few words; None if they can."""
    try:
        runtime()
    except KernelError as error:
        return " ".join(str(error).split())
    return None


def bind_cpu(kernel, real, defines):
    function = getattr(cpu_library(kernel.file, real, defines), f"launch_{kernel.name}")
    function.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p
    kernel_error = runtime().kernel_error
    # What the function reads, in one piece of memory: grid, block, the arguments, and a pointer to each of them.
    slots = ["Q" if each.pointer else SCALARS[real if each.type == "real" else each.type] for each in kernel.parameters]
    layout = struct.Struct(f"=3I3I{''.join(slots)}{len(slots)}Q")
    memory = ctypes.c_char * layout.size
    arguments = range(24, 24 + 8 * len(slots), 8)

    def run(grid, block, shared, values):
        piece = memory()
        start = ctypes.addressof(piece)
        try:
            layout.pack_into(piece, 0, *grid, *block, *values, *[start + offset for offset in arguments])
        except (struct.error, OverflowError) as error:
            raise KernelError(f"{kernel.name}: grid {grid}, block {block}, arguments {values}: {error}") from error
        if function(start, start + 12, shared, start + arguments.stop):
            raise KernelError(kernel_error().decode())

    return run


@functools.cache
def cpu_library(file, real, defines):
    runtime()
    exports = "".join(f"EXPORT_KERNEL({name})\n" for name in signatures(file))
    options = [*flags(real, defines), "-fvisibility=hidden", "-include", str(FOLDER / "cpu" / "cuda.h")]
    return load(f"{Path(file).stem}-{real}", cuda_source(file) + exports, options)


@functools.cache
def runtime():
    """kernels/cpu/runtime.cpp, once in a process: all kernels share its threads."""
    library = load("runtime", numbered("cpu/runtime.cpp"), [f"-I{FOLDER / 'cpu'}"], ctypes.RTLD_GLOBAL)
    library.kernel_error.restype = ctypes.c_char_p
    keep_freed_memory()
    return library


def keep_freed_memory():
    """Let glibc keep the memory of freed arrays for the next ones, as CuPy's pool does on a GPU.

    It would give large arrays back to the system at once, and the next of the same size would cost a page fault
    for every 4 KB: as much time as an element-wise kernel takes.
    """
    if hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def load(stem, text, options, mode=ctypes.DEFAULT_MODE):
    path = compiled(stem, text, options)
    try:
        return ctypes.CDLL(str(path), mode=mode)
    except OSError as error:
        raise KernelError(f"{error}; MINISRGAN_CACHE names another folder for compiled kernels") from error


class Compiler(NamedTuple):
    command: list
    identity: str  # what else its output depends on: its version, and the instructions of this CPU


@functools.cache
def find_compiler():
    """The first C++ compiler that works: $CXX, g++, clang++, c++, or the clang in the package ziglang. None: none.

    Raises KernelError for a $CXX that is no command.
    """
    commands = [words_of("CXX"), ["g++"], ["clang++"], ["c++"]]
    if importlib.util.find_spec("ziglang"):
        commands.append([sys.executable, "-m", "ziglang", "c++"])
    for command in commands:
        if not command or not shutil.which(command[0]):
            continue
        for native in NATIVE:
            # its predefined macros name the version, and each extension that the CPU has
            question = [*command, *native, "-dM", "-E", "-x", "c++", os.devnull]
            try:
                answer = subprocess.run(question, capture_output=True, text=True, errors="replace", timeout=60)
            except (OSError, subprocess.TimeoutExpired):
                break
            if answer.returncode == 0 and "__cplusplus" in answer.stdout:
                return Compiler([*command, *native], answer.stdout)
    return None


def words_of(variable):
    """The words of a command in an environment variable."""
    try:
        return shlex.split(os.environ.get(variable, ""))
    except ValueError as error:
        raise KernelError(f"${variable} is no command: {error} in it") from None


def compiled(stem, text, options):
    """The path of the library that the compiler makes of a C++ text, from the cache if it is there.

    A library's name has two hashes: of all that it is made from, and of its content. So an edited header makes
    another library, and a damaged one is not loaded. Nor is one that another user could have written: whatever in the
    cache is not as it should be is passed over. $MINISRGAN_CXXFLAGS has more flags: "-O0 -g" for a debugger.
    """
    compiler = find_compiler()
    if compiler is None:
        raise KernelError(NO_COMPILER)
    command = [*compiler.command, *FLAGS, *words_of("MINISRGAN_CXXFLAGS"), *options]
    headers = [path.read_text(encoding="utf-8") for path in sorted((FOLDER / "cpu").glob("*.h"))]
    key = digest("\0".join([*command, compiler.identity, *headers, text]).encode(errors="surrogateescape"))
    if kept := find_kept(cache_folder(), f"{stem}-{key}-"):
        return kept
    try:
        with tempfile.TemporaryDirectory(prefix="minisrgan-") as folder:
            source, made = Path(folder, f"{stem}.cpp"), Path(folder, f"{stem}.so")
            source.write_text(text, encoding="utf-8")
            command += ["-x", "c++", str(source), "-o", str(made)]
            ran = subprocess.run(command, capture_output=True, text=True, errors="replace")
            if ran.returncode or not made.is_file():
                problem = first_errors(ran.stderr) or f"it says nothing, and ends with {ran.returncode}"
                raise KernelError(f"{compiler.command[0]} cannot compile {stem}: {problem}")
            return keep(made, f"{stem}-{key}-{digest(made.read_bytes())}.so")
    except OSError as error:
        raise KernelError(f"cannot compile {stem}: {error}; TMPDIR names another folder for temporary files") from error


def find_kept(folder, start):
    """A library in the cache whose name begins so; None where there is none that can be trusted."""
    with suppress(OSError):  # as if nothing were there
        if problem_of(folder):
            return None
        for path in sorted(each for each in folder.iterdir() if each.name.startswith(start) and each.suffix == ".so"):
            with suppress(OSError):
                if ours(path.lstat(), stat.S_ISREG) and path.stem.endswith(digest(path.read_bytes())):
                    return path
    return None


def ours(about, kind):
    """Whether what `os.stat` told is of a file of that kind, of this user, where nobody else may write."""
    return kind(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def problem_of(folder):
    """Why libraries in a folder cannot be trusted, in a few words; None if they can. Raises OSError."""
    return None if ours(folder.stat(), stat.S_ISDIR) else "it is another user's, or others may write there"


def keep(made, name):
    """Put a new library into the cache, whole or not at all; for this process alone if the cache takes nothing."""
    folder = cache_folder()
    try:
        make_cache_folder()
        if problem := problem_of(folder):
            raise PermissionError(EACCES, problem)
        handle, part = tempfile.mkstemp(dir=folder, prefix=name)
        try:
            os.close(handle)
            shutil.copyfile(made, part)
            os.replace(part, folder / name)
        except OSError:
            os.unlink(part)
            raise
        return folder / name
    except OSError as error:
        problem = error.strerror or error
        warn_once(f"compiled kernels are not kept: {folder}: {problem}; MINISRGAN_CACHE names another folder")
        return made.rename(private_folder() / name)


warn_once = functools.cache(logging.getLogger(__name__).warning)


@functools.cache
def private_folder():
    """For libraries of this process alone. It is removed when the process ends."""
    try:
        folder = tempfile.mkdtemp(prefix="minisrgan-")
    except OSError as error:
        raise KernelError(f"no folder for temporary files: {error}; TMPDIR names one") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def cache_folder():
    """Where compiled kernels stay: $MINISRGAN_CACHE, else minisrgan in the user's own cache folder; for a user that
    has no folder, one of this process alone."""
    if chosen := os.environ.get("MINISRGAN_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minisrgan"
    except RuntimeError:  # no HOME, and no entry of this user in the system's list
        return private_folder()


def make_cache_folder():
    """The folder, which is there then, and the user's alone if it was made by this or is the usual one."""
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not os.environ.get("MINISRGAN_CACHE") and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)  # earlier versions left this to the user's umask
    return folder


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]
