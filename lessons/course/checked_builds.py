"""Checked builds: compiles and runs kernels in the ways that kernels/cpu offers to find their bugs.

A program is a kernel with a main(), as text. BUILDS says how it is compiled, and MODES how it is then run:

    compile_runtimes(folder)                                    once; then programs can be compiled in `folder`
    executable = compile_program(sources, "races", folder)      raises KernelError with the compiler's output
    ran = run(executable, MODES["races"].environment)           how it ended, and its output

tests/kernel_bugs checks the library's kernels with these, and lessons/course/kernel_check.py a learner's.
"""

import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from minisrgan.device.cpu import NO_COMPILER, find_compiler
from minisrgan.device.source import FOLDER, line_directive
from minisrgan.errors import KernelError


class Build(NamedTuple):
    """Flags for the kernel, flags for the runtime (which no sanitizer instruments), and the kernel's sanitizers."""

    kernel: list
    runtime: list
    sanitizers: str = ""


class Mode(NamedTuple):
    """A build, and the environment variables with which it runs."""

    build: str
    environment: dict


ADDRESS, RACES = "address,undefined", "thread"
BUILDS = {
    "fast": Build(["-O2"], []),
    "address": Build(
        ["-O1", "-g", f"-fsanitize={ADDRESS}", "-fno-sanitize-recover=all", "-DCHECK_ADDRESS"],
        ["-DCHECK_ADDRESS"],
        ADDRESS,
    ),
    "races": Build(["-O1", "-g", f"-fsanitize={RACES}", "-DCHECK_RACES"], ["-DCHECK_RACES"], RACES),
}
MODES = {
    "forward": Mode("fast", {"MINISRGAN_ORDER": "0"}),
    "reversed": Mode("fast", {"MINISRGAN_ORDER": "1"}),
    "shuffled": Mode("fast", {"MINISRGAN_ORDER": "2"}),
    "poison": Mode("fast", {"MINISRGAN_POISON": "1"}),
    "late": Mode("fast", {"MINISRGAN_LATE_COPIES": "1"}),
    "address": Mode(
        "address", {"ASAN_OPTIONS": "detect_stack_use_after_return=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    ),
    "races": Mode("races", {"TSAN_OPTIONS": "report_thread_leaks=0"}),
}


def compiler():
    """The C++ compiler's command, without -march=native, which a build may add. Raises KernelError if there is none."""
    if (found := find_compiler()) is None:
        raise KernelError(NO_COMPILER)
    return [word for word in found.command if not word.startswith(("-march=", "-mcpu="))]


def problem(build, folder):
    """Why a build cannot be made or run here, in a few words; None if it can."""
    try:
        command = compiler()
    except KernelError as error:
        return str(error)
    if not (sanitizers := BUILDS[build].sanitizers):
        return None
    program = Path(folder, f"empty-{build}.cpp")
    program.write_text("int main() {}", encoding="utf-8")
    executable = program.with_suffix(".exe")
    compiled = subprocess.run([*command, f"-fsanitize={sanitizers}", program, "-o", executable], capture_output=True)
    if compiled.returncode or subprocess.run([executable], capture_output=True).returncode:
        return f"{command[0]} has no {sanitizers} sanitizer here"
    return None


def compile_runtimes(folder, builds=tuple(BUILDS)):
    """Compile the runtimes of these builds into `folder`, so that programs can be compiled there."""

    def compile_one(build):
        command = [*compiler(), "-std=c++17", "-O2", "-g", *BUILDS[build].runtime, "-c", FOLDER / "cpu/runtime.cpp"]
        # in a folder of its own, then renamed: another process using `folder` never sees a half-written file
        with tempfile.TemporaryDirectory(dir=folder) as own:
            subprocess.run([*command, "-o", f"{own}/{build}.o"], check=True)
            os.replace(f"{own}/{build}.o", f"{folder}/{build}.o")

    with ThreadPoolExecutor(len(BUILDS)) as pool:
        list(pool.map(compile_one, builds))


def compile_program(sources, build, folder, flags=(), into=None):
    """Compile a program; return the path of the executable.

    sources   (the path to name in messages, the text), one after another, as in device/source.py
    folder    where the runtimes are
    into      the folder for the executable, by default `folder`

    Raises KernelError with the compiler's whole output.
    """
    handle, path = tempfile.mkstemp(dir=into or folder, suffix=".cpp")
    with open(handle, "w", encoding="utf-8") as file:
        file.writelines(f"{line_directive(source)}\n{text}\n" for source, text in sources)
    command = [*compiler(), "-std=c++17", "-pthread", "-w", *BUILDS[build].kernel, *flags]
    command += ["-include", str(FOLDER / "cpu/cuda.h"), path, f"{folder}/{build}.o", "-o", path + ".exe"]
    compiled = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if compiled.returncode:
        raise KernelError(compiled.stderr)
    return path + ".exe"


class Run(NamedTuple):
    """How a program ended: its exit status (None: it took too long and was stopped), and its output."""

    status: int | None
    output: str


def run(executable, environment, *arguments, timeout=120):
    command = [executable, *map(str, arguments)]
    try:
        done = subprocess.run(
            command,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as stopped:
        return Run(None, (stopped.stdout or b"").decode(errors="replace"))
    return Run(done.returncode, done.stdout)
