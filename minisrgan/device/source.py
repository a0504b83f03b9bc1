"""The text of the kernels, and the macros that it is compiled with, on a GPU and on a CPU."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import KernelError

PACKAGE = Path(__file__).resolve().parents[1]

# an installed package has the kernels in it, the repository has them beside it
FOLDER = next(folder for folder in (PACKAGE / "kernel_source", PACKAGE.parent / "kernels") if folder.is_dir())

SCALARS = {  # how a number of each type lies in an argument's slot of 8 bytes, in the letters of `struct`
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

COMMENT = re.compile(r"//[^\n]*|/\*(?!\[).*?\*/", re.DOTALL)  # but not /*[...]*/
BOUNDS = r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
INCLUDE = re.compile(r'^#include "([\w./-]+\.cuh)"$', re.MULTILINE)
KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{BOUNDS}void\s+{BOUNDS}(\w+)\s*\((.*?)\)\s*[{{;]', re.DOTALL)


def kernel_files() -> list[str]:
    return sorted(path.name for path in FOLDER.glob("*.cu"))


def kernel_text(file: str | Path) -> str:
    """The text of a kernel file without its comments, but with the sizes of arrays. Raises KernelError."""
    return COMMENT.sub("", with_headers(FOLDER / file))


def kernel_names(file: str | Path) -> list[str]:
    """The names of a file's kernels, in order."""
    return [name for name, _ in KERNEL.findall(kernel_text(file))]


def cuda_source(file: str | Path) -> str:
    """common.cuh, the file and its headers as one text: CuPy's cache would not notice an edited #include."""
    return numbered("common.cuh") + numbered(file)


def numbered(file: str | Path) -> str:
    """The text of a file and of its headers, with the names and lines that a compiler's messages need."""
    return f"{line_directive(FOLDER / file)}\n{with_headers(FOLDER / file)}\n"


def with_headers(path: Path) -> str:
    """The text of a file, with the .cuh files that it includes in the place of each #include. Raises KernelError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KernelError(f"no kernel file {path}: {error.strerror}") from error

    def header(match: re.Match[str]) -> str:
        found, next_line = path.parent / match[1], text.count("\n", 0, match.end()) + 2
        return f"{line_directive(found)}\n{with_headers(found)}\n{line_directive(path, next_line)}"

    return INCLUDE.sub(header, text)


def line_directive(path: Path, line: int = 1) -> str:
    """`#line 1 "path"`, for a path of any characters: quotes, and bytes that are no text."""
    name = os.fsencode(path).decode(errors="replace")
    name = name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'#line {line} "{name}"'


def flags(real: str, defines: Iterable[tuple[str, int]]) -> list[str]:
    return [f"-Dreal={real}", *(f"-D{name}={value:d}" for name, value in defines)]


def first_errors(text: str) -> str:
    """The lines of a compiler's output that say what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join([line for line in lines if re.search(r"\berror\s*:", line)][:5] or lines[-5:])
