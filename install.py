"""Sets the project up: .venv, every package, and CuPy if there is an NVIDIA GPU.

    python3 install.py

It runs before anything is installed, so it uses only the standard library and one module of minisrgan that does
the same. If nothing has changed since the last run, it returns at once, so `make` can always call it.
"""

from __future__ import annotations  # an older Python must be able to load this file, to say that it is too old

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which Python leaves out with -I or PYTHONSAFEPATH
from minisrgan.nvidia import cupy_extra, cupy_requirement, nvidia_gpu  # noqa: E402

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "minisrgan-setup"
OLDEST = (3, 11)
NO_NETWORK = (  # what pip's or the system's messages contain if no server can be reached
    "Failed to establish a new connection", "name resolution", "getaddrinfo failed", "nodename nor servname",
    "Network is unreachable", "Connection refused", "ConnectTimeoutError", "ProxyError", "connection broken by",
)  # fmt: skip


class SetupError(Exception):
    """The set-up cannot go on. The message says why, and what to do about it."""


def main() -> None:
    if sys.version_info < OLDEST:  # noqa: UP036  (an older Python does run this file)
        sys.exit(
            "set-up: Python {}.{} or newer is needed, and this is {}.{}; ".format(*OLDEST, *sys.version_info)
            + "install one and name it: make PYTHON=python3.12 setup"
        )
    if os.name != "posix":
        sys.exit("set-up: Linux or macOS is needed; on Windows use WSL")
    try:
        with setup_lock():
            set_up()
    except (SetupError, OSError) as error:
        sys.exit(f"set-up failed: {error}")
    except KeyboardInterrupt:
        sys.exit("\nset-up was interrupted: run it again to go on")


def set_up() -> None:
    gpu = nvidia_gpu()
    extra = cupy_extra(*gpu) if gpu else None
    problem = venv_problem()
    if problem:
        check_writable(ROOT)
        say(f"making .venv ({problem})")
        # without pip at first: a Debian without python3-venv can make no other
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV], "Python could not make .venv")
    fresh = stamp(ROOT, sys.version_info, extra)
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == fresh:
        return
    check_writable(VENV)

    bring_pip()
    say("installing the packages of requirements.txt")
    pip("-r", ROOT / "requirements.txt")
    say("installing minisrgan itself, editable")
    pip("--no-deps", "-e", ".")  # not by its path, in which pip would read [brackets] as extras
    if gpu and not extra:
        say("warning: this GPU's driver is older than CUDA 12, so CuPy is left out; update it to use the GPU")
    if extra:
        install_cupy(extra)
    STAMP.write_text(fresh, encoding="utf-8")
    say("done; next: make demo, make test, or .venv/bin/minisrgan --help")


def setup_lock() -> BinaryIO:
    """Lock this folder, so that only one set-up runs in it. The system frees the lock however the process ends."""
    import fcntl  # Windows has none, and this file has to load there to say so

    lock = open(__file__, "rb")  # opened to read: the checkout may be read-only
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another set-up of this folder to end")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # this file system has no such locks
        pass
    return lock


def check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise SetupError(f"{folder} cannot be written: copy the project to a folder of your own, and run it there")


def venv_problem() -> str | None:
    """Why .venv has to be made (again), in a few words; None if it is sound."""
    if not PYTHON.exists():  # which is so, too, if the Python that it links to is gone
        return "it has no Python" if VENV.exists() else "there is none"
    path = VENV / "pyvenv.cfg"
    config = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    # The scripts in .venv contain its path. If venv made it, pyvenv.cfg has that path: `command = ... -m venv PATH`
    command = [line for line in config.splitlines() if line.startswith("command =")]
    if command and not command[0].endswith(str(VENV)):
        return "the folder has moved"
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True)
    wanted = "{}.{}".format(*sys.version_info)
    if answer.returncode:
        return "its Python does not run"
    if answer.stdout.strip() != wanted:
        return f"it has Python {answer.stdout.strip()} and this is {wanted}"
    return None


def stamp(root: Path, version: Sequence, extra: str | None) -> str:
    """A line that says what the installation depends on. If .venv has the same line, everything is installed."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((root / name).read_bytes() + b"\0")
    return "{} python{}.{} {}\n".format(digest.hexdigest(), *version[:2], extra)


def bring_pip() -> None:
    """Install pip in .venv: .venv's own, Python's bundled copy, or the pip of the Python that runs this script."""
    for way in (
        [PYTHON, "-m", "pip", "--version"],
        [PYTHON, "-m", "ensurepip", "--default-pip"],
        [sys.executable, "-m", "pip", "--python", PYTHON, "install", "--quiet", "pip"],
    ):
        tried = subprocess.run(way, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if tried.returncode == 0:
            return
    why = tried.stdout.strip().splitlines()[-1:] or ["no ensurepip"]
    package = "python{}.{}-venv".format(*sys.version_info)
    raise SetupError(f"no pip for .venv ({why[0]}); on Debian or Ubuntu: sudo apt install {package}")


def install_cupy(extra: str) -> None:
    """Install the CuPy that pyproject.toml's extra names. If that fails, everything still works, on the CPU."""
    requirement = cupy_requirement(ROOT, extra)
    say(f"installing {requirement} for the NVIDIA GPU: more than 1 GB, this can take minutes")
    try:
        pip(requirement)
    except SetupError as error:
        say(f"warning: no CuPy, so no GPU: {error}")
        say(f"to try again: .venv/bin/python -m pip install '{requirement}'")


def pip(*arguments: object) -> None:
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    run(command, "pip could not install " + " ".join(map(str, arguments)))


def run(command: list, failure: str) -> None:
    """Run a command silently; if it fails, show its output. Raises SetupError."""
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT
    )
    if ran.returncode:
        if any(sign in ran.stdout for sign in NO_NETWORK):
            raise SetupError(
                f"{failure}: no network, or the package index cannot be reached. Connect and run it again, or name "
                "another index with PIP_INDEX_URL"
            )
        print(ran.stdout.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding), end="", flush=True)
        raise SetupError(failure)


def say(line: str) -> None:
    print(f"set-up: {line}", flush=True)


if __name__ == "__main__":
    main()
