"""A pytest plugin: the kernels' tests on an aarch64 processor that QEMU emulates.

    CXX=aarch64-linux-gnu-g++ PYTHONPATH=tests python -m pytest -p emulated_arm tests/device/test_kernels_conv.py

Python, NumPy and the definitions stay on this processor. A kernel is compiled as it always is, by that compiler, and
runs in a process of its own: emulated_arm.cpp there reads a launch and its arrays from a pipe and writes them back.
"""

import functools
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from minisrgan.device import launch as kernels
from minisrgan.errors import KernelError

COMPILER, LIBRARIES = "aarch64-linux-gnu-g++", "/usr/aarch64-linux-gnu"  # of Debian's package of that name
EMULATORS = "qemu-aarch64-static", "qemu-aarch64"
MAIN = Path(__file__).with_suffix(".cpp")
SCALAR, NULL = -1, 0  # in place of an array's bytes


def problem():
    """Why nothing can be emulated here, in a few words; None if it can."""
    if not shutil.which(COMPILER):
        return f"no {COMPILER} (Debian: apt install g++-aarch64-linux-gnu)"
    if not any(map(shutil.which, EMULATORS)):
        return f"no {EMULATORS[0]} (Debian: apt install qemu-user-static)"
    return None


class Processor:
    """The emulated process."""

    def __init__(self):
        runtime = kernels.compiled("runtime", kernels.numbered("cpu/runtime.cpp"), [f"-I{kernels.FOLDER / 'cpu'}"])
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([COMPILER, "-std=c++17", "-O1", MAIN, "-o", f"{folder}/main", "-ldl"], check=True)
            emulator = next(filter(None, map(shutil.which, EMULATORS)))
            command = [emulator, "-L", LIBRARIES, f"{folder}/main", runtime]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.threads = self.read_number()  # it runs: its file is no longer needed

    def kernel_threads(self):
        return self.threads

    def launch(self, library, kernel, slots, grid, block, shared, args, values):
        """One launch; `slots` are the letters of `struct` for the kernel's arguments."""
        arrays, parts = [], [f"{library}\nlaunch_{kernel.name}\n".encode()]
        parts.append(struct.pack("=8i", *grid, *block, shared, len(args)))
        for parameter, slot, argument, value in zip(kernel.parameters, slots, args, values):
            if not parameter.pointer:
                parts.append(struct.pack(f"=q{slot}", SCALAR, value))
            elif argument is None or not argument.size:
                parts.append(struct.pack("=q", NULL))
            else:
                parts += [struct.pack("=q", argument.nbytes), argument.tobytes()]
                arrays.append((parameter, argument))
        self.process.stdin.write(b"".join(parts))
        self.process.stdin.flush()
        if length := self.read_number():
            raise KernelError(self.read(length).decode())
        for parameter, array in arrays:
            made = np.frombuffer(self.read(array.nbytes), array.dtype).reshape(array.shape)
            if not parameter.const:
                array[...] = made

    def read(self, size):
        content = self.process.stdout.read(size)
        if len(content) < size:
            raise KernelError(f"the emulated process has ended: {self.process.wait()}")
        return content

    def read_number(self):
        return struct.unpack("=i", self.read(4))[0]


processor = functools.cache(Processor)
check, last = kernels.Kernel.check, []


def check_and_note(kernel, args, choice):
    checked = check(kernel, args, choice)
    last[:] = args, checked[-1]
    return checked


def bind(kernel, real, defines):
    library = kernels.cpu_library(kernel.file, real, defines)
    slots = [kernels.SCALARS.get(real if each.type == "real" else each.type) for each in kernel.parameters]
    return lambda grid, block, shared, frame: (
        lambda moving: processor().launch(library, kernel, slots, grid, block, shared, *last)
    )


def pytest_configure(config):
    kernels.Kernel.check, kernels.bind_cpu, kernels.runtime = check_and_note, bind, processor
    kernels.MOST_READY = 0  # each launch is checked, and so noted
    kernels.load = lambda stem, text, options: kernels.compiled(stem, text, options)  # a path: it is loaded elsewhere
