"""`minisrgan resources`: what each kernel takes of a GPU, for every kind of GPU. It needs no GPU.

NVRTC, CUDA's compiler, runs without one. `pip install nvidia-cuda-nvrtc` installs it, as CuPy and a CUDA toolkit do.
Registers and shared memory limit how many threads share a multiprocessor. A spill is a register that did not fit and
went to memory instead.
"""

import ctypes
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..device.cuda import cuda_options
from ..device.geometry import FLOAT_ONLY, macros
from ..device.source import cuda_source, first_errors, kernel_files
from ..errors import DeviceError, KernelError
from . import Say

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)  # Turing, Ampere, its smaller GPUs, Ada, Hopper, Blackwell, its smaller
JUDGED = 90  # the architecture on which a spill counts as a failure


class Use(NamedTuple):
    """What a thread of a kernel takes. Shared memory is that of a block."""

    kernel: str
    registers: int
    stack: int  # bytes of arrays that are not in registers
    spills: int  # bytes of registers stored to memory and loaded back
    shared: int


def print_resources(real: str = "float", say: Say = print) -> int:
    """Compile every kernel for every architecture, and say a table. Returns the exit status: 1 if one spills on sm_90.

    real   the kernels' type of numbers, "float" or "double"
    """
    nvrtc = load_nvrtc()
    say(f"{'kernel':24}{'GPU':7}{'registers':>10}{'stack':>8}{'spills':>8}{'shared':>8}")
    spilled = []
    files = [file for file in kernel_files() if real == "float" or file not in FLOAT_ONLY]
    compiled = [(file, defines) for file in files for defines in variants(file)]
    for file, defines in compiled:
        say(" ".join([file, *(f"{name}={value}" for name, value in defines)]))
        for uses in zip(*(kernel_uses(nvrtc, file, architecture, real, defines) for architecture in ARCHITECTURES)):
            for architecture, use in zip(ARCHITECTURES, uses):
                name = use.kernel if architecture == ARCHITECTURES[0] else ""
                gpu = f"sm_{architecture}"
                say(f"  {name:22}{gpu:7}{use.registers:10}{use.stack:8}{use.spills:8}{use.shared:8}")
                if use.spills and architecture == JUDGED:
                    spilled.append(use.kernel)
    say(f"real is {real}; of a thread: registers, bytes of stack and of spills; of a block: bytes of shared memory")
    say(f"spills on sm_{JUDGED}: {', '.join(spilled) or 'none'}")
    return 1 if spilled else 0


def variants(file: str) -> list[tuple[tuple[str, int], ...]]:
    """Which choices of geometry.py a file is launched with, by its `// Variants:` line: ((name, value), ...) each."""
    found = re.search(r"^// Variants: (.*)$", cuda_source(file), re.M)
    words = [variant.split() for variant in found[1].split(";")] if found else [[]]
    return [tuple((name, int(value)) for name, _, value in (word.partition("=") for word in each)) for each in words]


def kernel_uses(
    nvrtc: ctypes.CDLL, file: str, architecture: int, real: str, choice: Sequence[tuple[str, int]] = ()
) -> list[Use]:
    """A Use for each kernel of a file, in the order of their names."""
    source, options = cuda_source(file), options_for(file, architecture, real, choice)
    try:
        log, _ = compile_cuda(nvrtc, file, source, [*options, "--ptxas-options=-v"])
    except KernelError:
        compile_cuda(nvrtc, file, source, options)  # says why; with the report on, the assembler's errors are lost
        raise
    return parse_log(log)


def options_for(file: str, architecture: int, real: str, choice: Sequence[tuple[str, int]]) -> list[str]:
    """NVRTC's options for a file of kernels, as CuPy would give them."""
    defines = macros(file, True, **dict(choice)).items()
    return [*cuda_options(real, defines), "-ftz=true", f"-arch=sm_{architecture}"]


def instructions(
    nvrtc: ctypes.CDLL, file: str, architecture: int, choice: Sequence[tuple[str, int]] = ()
) -> dict[str, list[str]]:
    """{kernel: the instructions that it is compiled to, such as "HMMA.1688.F32.TF32 R4, R8, R2, R4"}, in float32.

    Raises DeviceError without the disassembler, `pip install nvidia-cuda-nvdisasm`.
    """
    _, binary = compile_cuda(nvrtc, file, cuda_source(file), options_for(file, architecture, "float", choice))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as made:
        made.write(binary)
        made.flush()
        said = subprocess.run([find_disassembler(), "-c", made.name], capture_output=True, text=True, check=True)
    parts = re.split(r"\.section\s+\.text\.(\w+)", said.stdout)
    line = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?(.*?)\s*;", re.M)
    return {name: line.findall(text) for name, text in zip(parts[1::2], parts[2::2])}


def find_disassembler() -> str:
    """nvdisasm: from its package of PyPI, else from a CUDA toolkit."""
    for path in packaged("bin/nvdisasm"):
        path.chmod(path.stat().st_mode | 0o100)  # the wheel's file is not executable
        return str(path)
    if found := shutil.which("nvdisasm"):
        return found
    raise DeviceError("nvdisasm is not installed: .venv/bin/python -m pip install nvidia-cuda-nvdisasm")


def packaged(path: str) -> list[Path]:
    """Files in NVIDIA's packages of PyPI, the newest first."""
    found = importlib.util.find_spec("nvidia")
    roots = (found.submodule_search_locations if found else None) or []
    return sorted((each for root in roots for each in Path(root).glob(f"*/{path}")), reverse=True)


def parse_log(log: str) -> list[Use]:
    """What the assembler reports of each kernel."""
    uses = []
    for part in log.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]

        def number(pattern: str) -> int:
            found = re.search(rf"(\d+) {pattern}", part)  # noqa: B023  (called within the loop)
            return int(found[1]) if found else 0

        spills = number("bytes spill stores") + number("bytes spill loads")
        uses.append(Use(name, number("registers"), number("bytes stack frame"), spills, number("bytes smem")))
    return sorted(uses)


def load_nvrtc(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> ctypes.CDLL:
    """NVRTC as a library: from a package of PyPI, else from where the system finds it."""
    for path in [*packaged("lib/libnvrtc.so.*"), "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]:
        if "builtins" in str(path) or ".alt." in str(path):
            continue
        try:
            return load(str(path))
        except OSError:
            continue
    raise DeviceError("NVRTC is not installed: .venv/bin/python -m pip install nvidia-cuda-nvrtc")


def compile_cuda(nvrtc: ctypes.CDLL, name: str, source: str, options: Sequence[str]) -> tuple[str, bytes]:
    """(the compiler's log, the machine code) of a CUDA source. Raises KernelError if it does not compile."""
    program = ctypes.c_void_p()
    words = [option.encode() for option in options]
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    try:
        failed = nvrtc.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        size.value = 0
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        binary = ctypes.create_string_buffer(max(size.value, 1))
        nvrtc.nvrtcGetCUBIN(program, binary)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise KernelError(f"NVRTC cannot compile {name}: {first_errors(log.value.decode())}")
    return log.value.decode(), binary.raw
