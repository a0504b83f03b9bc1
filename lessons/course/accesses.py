"""What the threads of a kernel read and write, access by access, as a GPU would: counted on a CPU.

    found = accesses("conv.cu", "weight_grad", None, x, g, parts, sizes, pixels, 1, WIDE=2)     of one block
    for site in found.shared(): print(site)                            each access to shared memory, by its line

A GPU's side of the kernel is compiled for this CPU, in such a way that each access of memory is noted (accesses.h): by
which thread, of which bytes. So these are the real addresses. What a GPU makes of them is worked out here:

Shared memory has 32 banks of 4 bytes, and delivers one word of each bank at a time: a *wavefront*. A warp's access to
4 bytes a thread takes one wavefront if no two different words are in one bank. Else there is a bank conflict, and it
takes as many as the fullest bank has words. Accesses to 8 bytes are made by half a warp at a time, those to 16 bytes by
a quarter. (https://docs.nvidia.com/cuda/cuda-c-best-practices-guide, "Shared memory and memory banks")

Memory beyond is read in sectors of 32 bytes. The fewer sectors an access touches, the better.
"""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minisrgan.device.cpu import runtime
from minisrgan.device.geometry import macros
from minisrgan.device.launch import Frame, Size, address, dim3, find_kernel
from minisrgan.device.source import FOLDER, cuda_source, first_errors, flags, kernel_names, numbered
from minisrgan.errors import KernelError
from minisrgan.files import private_folder

from .checked_builds import compiler

HERE = Path(__file__).resolve().parent
AS_ON_A_GPU = "#undef CPU\n"
BANKS, WORD, SECTOR, WARP = 32, 4, 32, 32
ACCESS = np.dtype(
    [("site", "u8"), ("address", "u8")]
    + [(name, "i4") for name in ("block", "thread", "array", "bytes", "write", "unused")]
)
SHARED = -1  # in the place of an array's number


class Site(NamedTuple):
    """One access in a kernel's text, and what all warps together made of it."""

    lines: str  # where it is: in which line, and where that was inlined
    write: bool
    bytes: int  # of a thread
    accesses: int  # of a warp
    pieces: int  # that they took: wavefronts of shared memory, sectors of other memory
    ways: int  # how many words of one bank the worst of them asked for at once: 1 without a bank conflict

    def __str__(self) -> str:
        what = f"{'stores' if self.write else 'loads'} of {self.bytes} bytes"
        return f"{self.lines}: {self.accesses} {what} in {self.pieces} pieces, {self.ways}-way"


class Accesses(NamedTuple):
    """The accesses of one block."""

    noted: np.ndarray  # of ACCESS
    compiled: Path  # the kernel's library, which knows the lines

    def shared(self) -> list[Site]:
        """The accesses to shared memory."""
        return self.sites(SHARED)

    def of(self, argument: int) -> list[Site]:
        """The accesses to the array that is this argument of the kernel, counted from 0."""
        return self.sites(argument)

    def sites(self, array: int) -> list[Site]:
        noted, found = self.noted[self.noted["array"] == array], []
        for site in np.unique(noted["site"]):
            here = noted[noted["site"] == site]
            event, size = events(here), int(here["bytes"].max())
            if array == SHARED:
                at_once = WARP * WORD // min(max(size, WORD), 16)  # how many lanes
                pieces, ways = wavefronts(event * WARP + here["thread"] % WARP // at_once, here["address"], size)
            else:
                pieces, ways = distinct(event, here["address"] // SECTOR), 1
            place = lines(self.compiled, int(site)), bool(here["write"][0]), size
            found.append(Site(*place, len(np.unique(event)), pieces, ways))
        return found


def events(noted: np.ndarray) -> np.ndarray:
    """Which access of a warp each thread's one belongs to, as numbers: the n-th ones of its threads are one."""
    who = noted["block"].astype(np.int64) * 1024 + noted["thread"]
    order = np.argsort(who, kind="stable")
    sorted_who = who[order]
    turn = np.empty(len(who), np.int64)
    turn[order] = np.arange(len(who)) - np.searchsorted(sorted_who, sorted_who)
    return np.unique(turn << 32 | who // WARP, return_inverse=True)[1].reshape(-1)


def distinct(group: np.ndarray, what: np.ndarray) -> int:
    """How many different things the groups have, all together."""
    return len(np.unique(np.stack([group.astype(np.int64), what.astype(np.int64)]), axis=1).T)


def wavefronts(group: np.ndarray, address: np.ndarray, size: int) -> tuple[int, int]:
    """(how many wavefronts the accesses of all groups take, how many the worst group takes)."""
    words = max(size // WORD, 1)
    word = (address.astype(np.int64)[:, None] // WORD + np.arange(words)).reshape(-1)
    asked = np.unique(np.repeat(group, words) << 32 | word)  # a word that two lanes ask for is delivered to both
    bank, counts = np.unique(asked >> 32 << 32 | asked % BANKS, return_counts=True)
    begins = np.flatnonzero(np.r_[True, bank[1:] >> 32 != bank[:-1] >> 32])
    most = np.maximum.reduceat(counts, begins)
    return int(most.sum()), int(most.max())


@functools.cache
def noting_library(file: str | Path, real: str, defines: tuple[tuple[str, int], ...]) -> Path:
    """A GPU's side of a kernel file, compiled so that its accesses are noted. Raises KernelError."""
    exports = "".join(f"EXPORT_KERNEL({name})\n" for name in kernel_names(file))
    text = f"{AS_ON_A_GPU}{cuda_source(file)}{numbered(HERE / 'accesses.h')}{exports}"
    handle, path = tempfile.mkstemp(suffix=".cpp", dir=private_folder())
    with open(handle, "w", encoding="utf-8") as written:
        written.write(text)
    unit, library = f"{path}.o", Path(f"{path}.so")
    how = ["-std=c++17", "-O1", "-g", "-fno-tree-sra", "-fPIC", "-w", "-DCHECK_ADDRESS", *flags(real, defines)]
    # Linked without -fsanitize=thread, so that ThreadSanitizer itself stays away.
    compiled = [*compiler(), *how, "-fsanitize=thread", "-include", str(FOLDER / "cpu/cuda.h"), "-c", path, "-o", unit]
    for command in compiled, [*compiler(), "-shared", unit, "-o", str(library)]:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if ran.returncode:
            raise KernelError(f"{command[0]} cannot compile {file}: {first_errors(ran.stderr)}")
    return library


@functools.cache
def lines(library: Path, site: int) -> str:
    """The lines that an instruction comes from: `conv.cu:155`, or `conv.cu:108 < conv.cu:155` for an inlined one."""
    # an address is the one that a call returns to: the call is before it
    command = ["addr2line", "-i", "-e", str(library), hex(site - 1)]
    said = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout
    places = [Path(line.split(" ")[0]).name for line in said.splitlines()]
    kept = [place for place in places if not place.startswith("common.cuh")] or places
    return " < ".join(kept)


def accesses(
    file: str | Path, name: str, block: Size | None, *args: Any, shared: int = 0, room: int = 1 << 22, **choice: int
) -> Accesses:
    """Run one block of a kernel, as on a GPU, and note its accesses.

    file, name, args, shared, choice    as of device.launch; the arrays are NumPy's
    block                               its threads; None: as many as a GPU's block has by geometry.py
    room                                the most accesses there may be

    Raises KernelError if there are more, and as `launch` does.
    """
    kernel = find_kernel(file, name)
    real, _, _, values = kernel.check(args, choice)
    defines = macros(file, True, **choice)
    runtime()
    path = noting_library(file, real, tuple(sorted(defines.items())))
    library = ctypes.CDLL(str(path))
    noted = np.empty(room, ACCESS)
    arrays = np.array([(a := address(x), a + x.nbytes) if isinstance(x, np.ndarray) else (0, 0) for x in args], "u8")
    count = ctypes.c_int64.in_dll(library, "access_count")
    count.value = 0
    library.note_accesses(
        ctypes.c_void_p(noted.ctypes.data), ctypes.c_int64(room), ctypes.c_void_p(arrays.ctypes.data), len(arrays)
    )
    slots = [each.slot(real) for each in kernel.parameters]
    frame = Frame(slots, values, [], (1, 1, 1), dim3(defines["THREADS"] if block is None else block))
    where = map(ctypes.c_void_p, (frame.sizes, frame.sizes + 12, shared, frame.table))
    if getattr(library, f"launch_{name}")(*where):
        raise KernelError(runtime().kernel_error().decode())
    if count.value > room:
        raise KernelError(f"{name} makes {count.value} accesses, and there is room for {room}: take fewer numbers")
    return Accesses(noted[: count.value], path)
