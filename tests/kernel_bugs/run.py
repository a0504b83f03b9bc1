"""Do the kernels pass every checked build of kernels/cpu? And would those builds notice if they were wrong?

Three tables, each program in it compiled and run in every mode that it is there for:

1. toy kernels (*.cu here). Compiled as it is, each is sound; with -DBUG it has the bug that its comment describes.
   The bug must be caught in the modes that the comment names, the sound kernel must be clean in all of them.
2. the real kernels and the steps of lesson 6. real/<file>.cu is a main() for kernels/<file>.cu, real/steps/<file>.cu
   for a step. Its `// Builds:` lines say how to compile the two. All must be clean in all modes.
3. the same with a bug planted in the text of the real kernel (BUGS, below), which must be caught.

    python tests/kernel_bugs/run.py [name ...]      a name is a file's, without .cu
"""

import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lessons.course.checked_builds import MODES, compile_program, compile_runtimes, run
from minisrgan.device.geometry import macros
from minisrgan.device.source import first_errors, with_headers
from minisrgan.errors import KernelError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
KERNELS = REPOSITORY / "kernels"
LESSON = REPOSITORY / "lessons/06_fast_convolution"
# The kernels' files, by the names that their main()s have in real/.
FILES = {path.stem: path for path in sorted(KERNELS.glob("*.cu"))}
FILES |= {
    f"{steps}/{path.stem}": path for steps in ("steps", "on_a_gpu") for path in sorted(LESSON.glob(f"{steps}/*.cu"))
}

FAST = tuple(mode for mode, (build, _) in MODES.items() if build == "fast")
NATIVE = ["-march=native" if os.uname().machine == "x86_64" else "-mcpu=native"]
# The word `gpu` among a file's builds: its tiles, blocks and loops as a GPU has them. Only common.cuh and cuda.h
# know then that this is a CPU. So a race between the 256 threads of a block shows here, without a GPU.
AS_ON_A_GPU = "#undef CPU\n#undef INDEPENDENT\n#define INDEPENDENT\n"


class Program(NamedTuple):
    """A kernel with its main(): what is compiled, and what is expected of it."""

    name: str
    sources: tuple  # (path that messages name, text), one after another
    flags: tuple
    modes: tuple
    buggy: bool = False  # each of the modes must find something; else none may


# ---- Running -------------------------------------------------------------------------------------------


def summary(ran, kernel):
    """None for a clean run, or else the line that says what was found."""
    if ran.status is None:
        return "HANGS"
    if ran.status == 0:
        return None
    lines = ran.output.splitlines()
    told = [x for x in lines if re.search(r"^(wrong|refused):|runtime error:|^SUMMARY:|^WARNING: Thread", x)]
    if ran.status < 0 and not told:
        return f"CRASHES with signal {-ran.status}"
    if not told:
        return f"exit {ran.status}: {lines[-1] if lines else ''}"
    # The line of the kernel, where the message names only a line of common.cuh.
    place = re.search(rf"\b{re.escape(kernel)}:\d+", "\n".join(lines))
    said = re.sub(rf"{re.escape(str(HERE))}/|{re.escape(str(KERNELS))}/", "", told[-1])
    return said if not place or kernel in said else f"{place.group()}: {said}"


def examine(program, folder):
    """What each mode finds."""
    executables, found = {}, {}
    for mode in program.modes:
        build, environment = MODES[mode]
        try:
            if build not in executables:
                executables[build] = compile_program(program.sources, build, folder, (f"-I{HERE}", *program.flags))
            found[mode] = summary(run(executables[build], environment), program.sources[1][0].name)
        except KernelError as error:
            found[mode] = f"DOES NOT COMPILE: {first_errors(str(error)).splitlines()[0]}"
    return found


def complaints(program, found):
    """What is wrong with what was found: nothing, if the program is what it should be."""
    if program.buggy:
        wrong = [mode for mode, said in found.items() if not said or said.startswith(("HANGS", "CRASHES", "DOES NOT"))]
    else:
        wrong = [mode for mode, said in found.items() if said]
    said = {found[mode] or "nothing found": [] for mode in wrong}
    for mode in wrong:
        said[found[mode] or "nothing found"].append(mode)
    return [f"{program.name} ({', '.join(modes)}): {line}" for line, modes in said.items()]


# ---- The programs of the three tables ------------------------------------------------------------------


def toys():
    """(sound, buggy) for each toy kernel."""
    pairs = []
    for path in sorted(HERE.glob("*.cu")):
        sources = with_text(KERNELS / "common.cuh", path)
        wanted = re.search(r"^// Caught by: (.*)$", sources[1][1], re.M).group(1).split(", ")
        sound = Program(path.stem, sources, ("-Dreal=float",), tuple(MODES))
        modes = tuple(MODES) if wanted == ["always"] else tuple(wanted)
        pairs.append((sound, sound._replace(flags=("-Dreal=float", "-DBUG"), modes=modes, buggy=True)))
    return pairs


def with_text(*paths):
    return tuple((path, with_headers(path)) for path in paths)


def reals():
    """Each real kernel file in each of its builds. A file without a main() in real/ is an error."""
    return [real(name, build) for name in FILES for build in builds(name)]


def real(name, build):
    """The kernel file of that name with its main(), in the build that some words say: `double gpu WIDE=4`.

    It is cut up as the product's launches are, by minisrgan/device/geometry.py; a step, as its build says.
    """
    common, kernel, main = with_text(KERNELS / "common.cuh", FILES[name], HERE / f"real/{name}.cu")
    words = build.split()
    choice = {macro: int(value) for macro, equals, value in (word.partition("=") for word in words) if equals}
    meaning = {"float": ["-Dreal=float"], "double": ["-Dreal=double"], "native": NATIVE}
    flags = [flag for word in words for flag in meaning.get(word, [])]
    defines = macros(FILES[name].name, "gpu" in words, **choice)
    flags = (*flags, *(f"-D{macro}={value}" for macro, value in defines.items()))
    if "gpu" in words:
        common = common[0], common[1] + AS_ON_A_GPU
    return Program(f"{name}.cu, {build}", (common, kernel, main), flags, tuple(MODES))


def builds(name):
    return "; ".join(re.findall(r"^// Builds: (.*)$", (HERE / f"real/{name}.cu").read_text(), re.M)).split("; ")


class Bug(NamedTuple):
    """A change to a real kernel: after the text `after`, which the file has once, the first `old` becomes `new`."""

    file: str
    build: str
    what: str
    after: str
    old: str
    new: str
    caught_by: tuple

    def program(self):
        assert self.build in builds(self.file)  # where it is shown that the kernel is clean without the bug
        common, (path, text), main = (sound := real(self.file, self.build)).sources
        before, found, rest = text.partition(self.after)
        if not found or self.after in rest or self.old not in rest:
            raise ValueError(f"{path.name} has changed: `{self.what}` must be planted in another way")
        sources = common, (path, before + found + rest.replace(self.old, self.new, 1)), main
        return sound._replace(name=f"{self.file}.cu: {self.what}", sources=sources, modes=self.caught_by, buggy=True)


BARRIER, FEW = "__syncthreads();", "float native FEW=3 KH=3 KW=3"
BUGS = [
    Bug("conv", "float gpu WIDE=2", "conv2d multiplies before all is loaded",
        "slabs.put(*a, *b, window);", BARRIER, "", ("races", "reversed")),
    Bug("conv", "float native WIDE=2", "conv2d loads a slab over one in use",
        "sums.add(*a, *b, mine, min(SLAB, stop - k0));", BARRIER, "", ("races",)),
    Bug("conv", "float WIDE=2", "conv2d reads a row above the image",
        "bool in = ", "unsigned(at.row + i) < unsigned(image.height)", "at.row + i < image.height", ("address",)),
    Bug("conv", "float native WIDE=2", "a run of a window begins a pixel to the left of the image",
        "int low = ", "max(-at.column, 0)", "max(-at.column - 1, 0)", ("forward",)),
    Bug("conv", "float gpu WIDE=2", "conv2d reads a row above the image on a GPU",
        "return i < image.kh && ", "unsigned(window.row + i) < unsigned(image.height)", "window.row + i < image.height",
        ("address",)),
    Bug("conv", "float gpu WIDE=2", "the next tap's channels begin a pixel too far",
        "if (++j < image.kw) continue;", "(image.width - image.kw)", "(image.width - image.kw + 1)", ("forward",)),
    Bug("conv", "float gpu WIDE=2", "the windows of the next image are those of this one",
        "p = 0, window.row -= ", "g.height - g.out_h", "-g.out_h", ("forward",)),
    Bug("conv", "float gpu WIDE=2", "a slab is fetched through the windows of the slab before",
        "windows.put(window[turn ^ 1]);", "fetch(window[turn ^ 1])", "fetch(window[turn])", ("forward",)),
    Bug("conv", "double native WIDE=1", "conv2d leaves out the last row of a tile",
        "int m = m0 + mine.row_of(r);", "m >= pixels", "m >= pixels || r == ROWS_M - 1",
        ("forward",)),
    Bug("conv", "float native WIDE=2", "two tiles of conv2d overlap by a row",
        "m0 = tile / tiles_n % tiles_m * TILE_M", ", n0", " - (tile >= tiles_n), n0", ("races",)),
    Bug("conv", "float gpu WIDE=2", "weight_grad gathers before windows are there",
        "windows.put(window[0]);", BARRIER, "", ("races", "reversed")),
    Bug("conv", "float native WIDE=2", "weight_grad multiplies before all is loaded",
        "slabs.put(*a, *b, window[turn]);", BARRIER, "", ("races", "reversed")),
    Bug("conv", "float WIDE=2", "the rows beyond the last of a slab are not cleared",
        "        else\n            for (int r = thread / CHUNKS", "r < SLAB; r += LOADERS)",
        "r < SLAB && first + r < end; r += LOADERS)", ("poison",)),
    Bug("conv", "float native WIDE=2", "turn_weights writes a square before it is read",
        "square[c][o] = from", BARRIER, "", ("races", "reversed")),
    Bug("steps/2_tiled", "float native THREADS=256", "step 2 multiplies before all is loaded",
        "conv_tiled(", BARRIER, "", ("races", "reversed")),
    Bug("steps/2_tiled", "float gpu THREADS=256", "step 2 stores channels beyond the last",
        "int m = m0 + row, o = o0 + column;", "m < pixels_of(g) && o < g.cout", "m < pixels_of(g)",
        ("address", "forward")),
    Bug("steps/3_blocked", "float THREADS=64", "step 3 loads a slab over one in use",
        "sum[r][c] += a[row + r][k] * b[k][column + c];", BARRIER, "", ("races",)),
    Bug("steps/3_blocked", "double native THREADS=64", "step 3's shared tile is a row short",
        "conv_blocked(", "[TILE][SLAB]", "[TILE - 1][SLAB]", ("address",)),
    Bug("steps/1_direct", "float native", "a pixel to the right of the image is read",
        "bool inside = ", "unsigned(column) < unsigned(g.width)", "unsigned(column) <= unsigned(g.width)",
        ("forward",)),
    Bug("steps/4_vectors", "double gpu THREADS=128", "step 4's last vector is a whole one",
        "int m = m0 + row + r, o = o0 + column + v * LANES;", "g.cout % LANES == 0", "true", ("address",)),
    Bug("on_a_gpu/5_banks", "float gpu THREADS=128", "step 5 loads a slab over one in use",
        "sums.add(stage[0]);", BARRIER, "", ("races",)),
    Bug("on_a_gpu/6_pipelined", "float gpu THREADS=128", "step 6 waits for one copy too few",
        "for (int slab = 0; slab < slabs; ++slab) {", "STAGES - 2", "STAGES - 1", ("late",)),
    Bug("on_a_gpu/6_pipelined", "float gpu THREADS=128", "step 6 copies into the stage before the barrier",
        "copy_async_wait<STAGES - 2>();", "__syncthreads();\n            begin(slab + STAGES - 1);",
        "begin(slab + STAGES - 1);\n            __syncthreads();", ("races",)),
    Bug("on_a_gpu/7_tensor_cores", "float gpu THREADS=128", "step 7 exchanges two numbers of a fragment",
        "Fragment left[M_STEPS];", "sums.group + e % 2 * 8, chunk = k8 / CHUNK + e / 2",
        "sums.group + e / 2 * 8, chunk = k8 / CHUNK + e % 2", ("forward",)),
    Bug("on_a_gpu/8_ldmatrix", "float gpu THREADS=128", "step 8's lanes name the rows of another matrix",
        "load_rows_of_four(left[m],", "lane % 16, k8 / CHUNK + lane / 16", "lane / 2, k8 / CHUNK + lane % 2",
        ("forward",)),
    Bug("on_a_gpu/9_split", "float gpu THREADS=128", "step 9's parts overlap by a slab",
        "int first = ", "min(length, slabs_of(g) - first)", "min(length + 1, slabs_of(g) - first)", ("forward",)),
    Bug("winograd", "float native", "tiles are multiplied before they are transformed",
        "first < tiles.count; first += gridDim.x * CHUNK) {", BARRIER, "", ("races",)),
    Bug("winograd", "double", "outputs are transformed back before the products are there",
        "sums.store(m + ", BARRIER, "", ("races", "reversed")),
    Bug("winograd", "float gpu", "products overwrite others that are not transformed back yet",
        "transform_outputs(g, tiles, m, epilogue, ", BARRIER, "", ("races",)),
    Bug("winograd", "float native", "the next chunk is transformed over one in use",
        "w + (long long)point * CHUNK * span + panel * PANEL, span, count);", BARRIER, "", ("races",)),
    Bug("winograd", "float", "outputs below the image are written",
        "transform_output, d, 6, 4);", "row + i < g.out_h", "row + i <= g.out_h", ("address", "forward")),
    Bug("winograd", "float native", "tiles read a column to the right of the image",
        "unsigned(row + i) < unsigned(g.height)", "unsigned(g.width)", "unsigned(g.width + 1)",
        ("forward",)),
    Bug("winograd", "double native", "parts of a weight gradient begin with what was in memory",
        "Sums<ROWS_C> sums;", "if (first == start) sums.clear();\n                else", "", ("forward",)),
    Bug("winograd", "double", "a chunk has more tiles than whole groups of rows",
        "ROWS = 6, ROWS_C = 8;", "static_assert(CHUNK % ROWS == 0", "#define ROWS 8\nstatic_assert(true",
        ("forward", "poison")),
    Bug("conv_few", "float gpu FEW=3 KH=9 KW=9", "conv2d_few loads a slab over one in use",
        "for (int c0 = 0; c0 < g.cin; c0 += SLAB) {", BARRIER, "", ("races",)),
    Bug("conv_few", FEW, "conv2d_few multiplies before all is loaded",
        "tile[c][r][q] = in", BARRIER, "", ("races", "reversed")),
    Bug("conv_few", FEW, "conv2d_few's halo is a row short",
        "__syncthreads();\n            for (int e = thread", "ROWS_IN * COLUMNS_IN", "(ROWS_IN - 1) * COLUMNS_IN",
        ("poison",)),
    Bug("conv_few", FEW, "conv2d_few's shared tile is a column short",
        "SHARED(real, tile, ", "[SLAB][ROWS_IN][COLUMNS_IN]", "[SLAB][ROWS_IN][COLUMNS_IN - 1]", ("address",)),
    Bug("conv_few", FEW, "weight_grad_few's parts overlap by a line",
        "int line = part * part_rows; ", "(part + 1) * part_rows", "(part + 1) * part_rows + 1", ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=64", "a fragment of A has rows and columns exchanged",
        "load_rows_of_four(to, tile + swizzled(row", "lane % 16, k8 / CHUNK + lane / 16",
        "lane / 16 * 8 + lane % 8, k8 / CHUNK + lane / 8 % 2", ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=64", "a lane takes its neighbour's number of B",
        "PITCH_N + column", "lane / 4 + e / 2 * 8", "(lane / 4 + 1) % 8 + e / 2 * 8", ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=16 TILE_N=64", "the pairs of A and of B have different numbers k",
        "right[e] = as_bf16_pair(", "float_of(low[e]), float_of(low[e + 1])", "float_of(low[e + 1]), float_of(low[e])",
        ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=64", "a slab is multiplied while its copies are under way",
        "for (int slab = 0; slab < slabs; ++slab) {", "copy_async_wait<STAGES - 2>()", "copy_async_wait<STAGES - 1>()",
        ("late",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=64", "a slab is multiplied before all copies are there",
        "copy_async_wait<STAGES - 2>();", BARRIER, "", ("races", "reversed")),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=64", "a stage is overwritten while it is multiplied",
        "for (int slab = 0; slab < slabs; ++slab) {", "slab + STAGES - 1", "slab + STAGES", ("races", "forward")),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=64", "a group is not closed where no slab is left to copy",
        "if (next < slabs) load(stage(next), stage(next) + SIZE_A);", "copy_async_commit();",
        "if (next < slabs) copy_async_commit();", ("late",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "a window is read beyond the right side of the image",
        "bool in = unsigned(top[l]", "unsigned(left[l] + place.j) < unsigned(inner.width)", "left[l] + place.j >= 0",
        ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "weights are read below the last",
        "int down = l * (SLAB / COPIES_N);", "k + down < depth && n < g.cout", "n < g.cout", ("address",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "a weight gradient's pixels stay in their image",
        "if (p[l] >= g.out_h) ", "p[l] -= g.out_h, line[l] += g.height", "p[l] -= g.out_h", ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "two parts of a sum overlap",
        "first = min(part * part_slabs, slabs);", "min(part_slabs, slabs - first)",
        "min(part_slabs + 1, slabs - first)", ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "all tiles share a ticket",
        "sums.store(of_tile + work.part", "tickets + work.tile", "tickets", ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "a mean is taken before all warps have added their rows",
        "return [](float number) { return number; }; });", BARRIER, "", ("races",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "the rows beyond the last pixel count for the mean",
        "float total = 0;", "if (row + 8 * r + lane / 4 < rows) total", "total", ("forward",)),
    Bug("conv_mma", "float gpu PRECISION=1 TILE_N=32", "a tile's last block reads parts that may not be there yet",
        "bool is_last(", "__threadfence();", "", ("races",)),
    Bug("conv_rows", "float gpu", "a row is gathered from beyond its end",
        "int j = f / channels, column = ", "unsigned(column) < unsigned(width)", "column >= 0", ("forward", "address")),
    Bug("channels", "float gpu", "a sum is folded before all is there",
        "for (int rows = tile.abreast; rows > 1", BARRIER, "", ("races",)),
    Bug("channels", "float gpu", "a mean is read before it is complete",
        "total[mine + j] += total[mine + j + below];", BARRIER, "", ("races",)),
    Bug("channels", "float native", "all parts of a sum go to the first row",
        "void store_part(", "blockIdx.x) * tile.channels", "0) * tile.channels", ("races", "forward")),
    Bug("channels", "float", "two groups share their statistics",
        "struct Normal {", "mean += start_of(blockIdx.z, 1, tile.channels), ", "", ("forward",)),
    Bug("channels", "float", "the last part runs over the end",
        "Tile my_tile(", "min(rows_per_part, rows - first)", "rows_per_part", ("address",)),
    Bug("channels", "float gpu", "rows that begin anywhere are stored as vectors",
        "V out;", "count >= COLUMNS && i % COLUMNS == 0", "count >= COLUMNS", ("address",)),
    Bug("channels", "float native", "the last block reads parts that may not be there yet",
        "bool is_last(", "__threadfence();", "", ("races",)),
    Bug("measures", "float gpu", "the last block reads sums that may not be there yet",
        "bool is_last(", "__threadfence();", "", ("races",)),
    Bug("elementwise", "float gpu", "the numbers after the last whole vector are left out",
        "store(y + v * LANES);\n    FOR_EACH(i, ", "n % LANES", "n % LANES - 1", ("forward",)),
    Bug("elementwise", "double gpu", "parts that do not begin at a whole vector are loaded as vectors",
        "real *y /*[n]*/, int n, int n_parts) {", "n % LANES == 0", "true", ("address",)),
    Bug("matmul", "float gpu", "a slab is loaded over one in use",
        "for (int v = 0; v < VECS; ++v) sum[r][v].fma(factor, other[v]);", BARRIER, "", ("races",)),
    Bug("pixel_shuffle", "float native", "the last block copies runs that are not there",
        "runs_per_block, count = ", "min(runs_per_block, runs - first)", "runs_per_block", ("address",)),
    Bug("spectral", "float gpu", "a length is taken before the vector is there",
        "bool is_last(", "__threadfence();", "", ("races",)),
    Bug("pooling", "double SIZE=3", "an odd image's last pixel is its own square",
        "long long corner_of(", "out_w = width / SIZE", "out_w = (width + SIZE - 1) / SIZE", ("forward", "address")),
]  # fmt: skip


def planted():
    return [bug.program() for bug in BUGS]


def programs():
    return [*(program for pair in toys() for program in pair), *reals(), *planted()]


def quick():
    """Few enough for every commit: each real file's first build in the modes that need no sanitizer, the sanitizers
    where blocks have most to share, and a few planted bugs."""
    first = [real(name, builds(name)[0]) for name in FILES]
    chosen = [program._replace(modes=FAST) for program in first]
    shared = ("conv", "float gpu WIDE=2"), ("conv_mma", "float gpu PRECISION=1 TILE_N=32"), ("channels", "float gpu")
    chosen += [real(*each)._replace(modes=("races",)) for each in shared]
    chosen += [program._replace(modes=("address",)) for program in first if program.name.startswith(("conv", "steps/"))]
    few = {"conv2d loads a slab over one in use": "races", "conv2d_few's halo is a row short": "poison"}
    few |= {"a chunk has more tiles than whole groups of rows": "forward"}
    few |= {"a slab is multiplied while its copies are under way": "late"}
    few |= {"a mean is read before it is complete": "races", "the last part runs over the end": "address"}
    return chosen + [bug.program()._replace(modes=(few[bug.what],)) for bug in BUGS if bug.what in few]


# ---- The tables ---------------------------------------------------------------------------------------


def main(names):
    def chosen(programs):
        return [each for each in programs if not names or each.name.partition(".")[0] in names]

    pairs, clean, bugs = [pair for pair in toys() if chosen(pair)], chosen(reals()), chosen(planted())
    wrong = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        compile_runtimes(folder)
        in_order = [*(program for pair in pairs for program in pair), *clean, *bugs]
        results = pool.map(lambda program: examine(program, folder), in_order)

        def next_result(program):
            """(what was found, whether that is what should be)"""
            wrong.extend(complained := complaints(program, found := next(results)))
            return found, not complained

        def print_bug(program, width, without=""):
            found, caught = next_result(program)
            said = next(iter(found.values())) or "nothing"
            modes, caught = "always" if len(found) == len(MODES) else ", ".join(found), "yes" if caught else "NO"
            print(f"{program.name:{width}}{modes:28}{caught:8}{without}{said[:110]}", flush=True)

        if pairs:
            print(f"{'bug in a toy kernel':34}{'must be caught by':28}{'caught':8}{'without it':12}what was said")
        for sound, buggy in pairs:
            _, is_clean = next_result(sound)
            print_bug(buggy, 34, f"{'clean' if is_clean else 'NOT CLEAN':12}")
        if clean:
            print(f"\n{'real kernels, and how they are built':46}clean in")
        for program in clean:
            found, _ = next_result(program)
            print(f"{program.name:46}{' '.join(mode for mode in found if not found[mode])}", flush=True)
        if bugs:
            print(f"\n{'bug in a real kernel':66}{'must be caught by':28}{'caught':8}what was said")
        for program in bugs:
            print_bug(program, 66)
    print(f"\n{len(pairs)} toy kernels, {len(clean)} builds of real ones, {len(pairs) + len(bugs)} bugs")
    print("all clean, all caught" if not wrong else "NOT AS IT SHOULD BE:", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
