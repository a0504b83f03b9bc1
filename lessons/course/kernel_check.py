"""Checks a learner's kernels in every way that kernels/cpu offers to find mistakes.

    from lessons.course.kernel_check import Launch, run_kernels

    made = run_kernels("exercise.cu", {"12 numbers": Launch("prelu", 3, 4, x, a, y, 12, 5)})
    compare("y of 12 numbers", made["12 numbers"]["y"], wanted)

This runs the launches with the threads in order, reversed and shuffled, with shared memory full of NaN, under
AddressSanitizer and under the race detector. It returns the arrays that each kernel may write, under the names of the
kernel's parameters, as they are after a run in order. Or it raises Wrong, which quotes the learner's own line.

The kernels are compiled with a main() of ours, which reads launches from one file and writes arrays to another.
"""

import atexit
import functools
import re
import shutil
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lessons.course import checked_builds
from lessons.course.checked_builds import BUILDS, MODES
from lessons.course.checking import Wrong
from minisrgan import files
from minisrgan.device import cpu, cuts, source
from minisrgan.device import launch as launching
from minisrgan.errors import KernelError

SECONDS = 10  # after which a run is stopped, because a kernel may loop for ever
NEAR = 4096  # bytes: an access this near to an array was meant for it
KEEP = "Keep the kernels' names and parameters as `start` wrote them."
SAME = 1e-4  # relative; results of two orders that differ by more do not differ by rounding alone
WITHOUT = {  # what a check without this build misses
    "address": "accesses outside of arrays are found only if they do harm",
    "races": "races are found only if the order of the threads changes the result",
}


class Launch:
    """A launch of a kernel: grid and block as for minisrgan.device.launch.launch, then the kernel's arguments."""

    def __init__(self, kernel, grid, block, *args, shared=0):
        self.kernel, self.shared = kernel, shared
        self.args = [cuts.contiguous(each) if isinstance(each, np.ndarray) else each for each in args]
        self.grid, self.block = launching.dim3(grid), launching.dim3(block)


def run_kernels(file, launches):
    """The arrays that the launches write, {label: {parameter: array}}. `launches` is {label: Launch}.

    Raises Wrong with a diagnosis.
    """
    try:
        program = Program(Path(file), launches)
        builds = program.compile()
    except KernelError as error:
        raise Wrong("error", str(error)) from error  # there is no compiler: the message says what to install
    program.run(builds, ("forward", "address", "races", "reversed", "shuffled", "poison"))
    return program.outputs("forward")


class Program:
    """The learner's file, and the launches of its kernels."""

    def __init__(self, path, launches):
        self.path, self.launches = path.resolve(), launches
        self.text = self.path.read_text(encoding="utf-8-sig")
        self.parameters, values, reals = [], [], set()
        try:
            listed = launching.signatures.__wrapped__(str(self.path))  # not from the cache: the file may have changed
        except KernelError as error:
            raise Wrong("signature", f"{error}. {KEEP}") from error
        for launch in launches.values():
            if launch.kernel not in listed:
                raise Wrong(
                    "signature",
                    f"{path.name} has no kernel `{launch.kernel}`, only: {', '.join(listed) or 'none'}. "
                    f'The kernel begins with `extern "C" __global__ void {launch.kernel}(`.',
                )
            try:
                real, _, _, numbers = listed[launch.kernel].check(launch.args, {})
            except KernelError as error:
                raise Wrong("signature", f"{error}. {KEEP}") from error
            reals.add(real)
            values.append(numbers)
            self.parameters.append(listed[launch.kernel].parameters)
        (self.real,) = reals
        self.names = list(listed)
        self.folder = Path(tempfile.mkdtemp(dir=scratch()))
        self.write_launches(values)

    # ---- The program, and the files that it reads and writes ------------------------------------------

    def write_launches(self, values):
        parts = [struct.pack("=i", len(self.launches))]
        for launch, parameters, numbers in zip(self.launches.values(), self.parameters, values):
            kernel = self.names.index(launch.kernel)
            parts.append(struct.pack("=i3I3IIi", kernel, *launch.grid, *launch.block, launch.shared, len(parameters)))
            for parameter, argument, number in zip(parameters, launch.args, numbers):
                if parameter.pointer:
                    content = b"" if argument is None else argument.tobytes()
                    parts += [struct.pack("=q", len(content)), content]
                else:
                    slot = source.SCALARS[self.real if parameter.type == "real" else parameter.type]
                    parts.append(struct.pack(f"=q{slot}", -1, number))
        (self.folder / "launches").write_bytes(b"".join(parts))

    def outputs(self, mode):
        """The arrays that the kernels wrote in a mode: {label: {parameter: array}}."""
        content, at, written = (self.folder / mode).read_bytes(), 0, {}
        for (label, launch), parameters in zip(self.launches.items(), self.parameters):
            written[label] = {}
            for parameter, argument in zip(parameters, launch.args):
                if not parameter.pointer or argument is None:
                    continue
                array = np.frombuffer(content, argument.dtype, argument.size, at).reshape(argument.shape)
                at += argument.nbytes
                if not parameter.const:
                    written[label][parameter.name] = array.copy()
        return written

    def sources(self):
        exports = "".join(f"EXPORT_KERNEL({name})\n" for name in self.names)
        entries = f"static const Entry ENTRIES[] = {{{', '.join(f'launch_{name}' for name in self.names)}}};\n"
        common = source.FOLDER / "common.cuh"
        text = common.read_text(encoding="utf-8")
        return [(common, text), (self.path, self.text), ("main", exports + TYPES + entries + MAIN)]

    def compile(self):
        """{build: its executable}. A build whose sanitizer is missing here is left out, and the user is told."""
        runtimes = runtimes_folder()
        sources, flags = self.sources(), [f"-Dreal={self.real}"]

        def compile_one(build):
            try:
                return checked_builds.compile_program(sources, build, runtimes, flags, self.folder)
            except KernelError as error:
                return error

        with ThreadPoolExecutor(len(BUILDS)) as pool:
            tried = dict(zip(BUILDS, pool.map(compile_one, BUILDS)))
        if isinstance(tried["fast"], KernelError):
            self.does_not_compile(str(tried["fast"]))
        executables = {build: each for build, each in tried.items() if not isinstance(each, KernelError)}
        for build in tried:
            if build not in executables:
                self.say_missing(build)
        return executables

    def say_missing(self, build):
        """Say what the check misses because a build cannot be made here."""
        reason = checked_builds.problem(build, self.folder) or f"the build `{build}` cannot be made here"
        print(f"(Not all could be checked: {reason}, so {WITHOUT[build]}.)")

    # ---- Diagnoses -------------------------------------------------------------------------------------

    def run(self, builds, modes):
        """Run the program in the modes. Raises Wrong for the gravest mistake that was found."""

        def run_one(mode):
            build, environment = MODES[mode]
            if build not in builds:
                return None
            return checked_builds.run(
                builds[build], environment, self.folder / "launches", self.folder / mode, timeout=SECONDS
            )

        ran = {modes[0]: run_one(modes[0])}
        self.timeout(ran[modes[0]])  # otherwise every mode would take as long
        with ThreadPoolExecutor(2) as pool:
            ran |= dict(zip(modes[1:], pool.map(run_one, modes[1:])))
        for mode in ("address", "races"):
            if ran[mode] and "FATAL: " in ran[mode].output and "==ERROR" not in ran[mode].output:
                self.say_missing(mode)  # it was made, but the sanitizer cannot run on this machine
                ran[mode] = None
        found = {mode: each for mode, each in ran.items() if each}
        for finder in (self.barrier, self.out_of_bounds, self.undefined, self.race, self.timeout, self.crash):
            for each in found.values():
                finder(each)
        self.guard(found)
        self.order()

    def line(self, number):
        """A line of the learner's file, to quote in a message."""
        return f"line {number}, `{self.text.splitlines()[int(number) - 1].strip().removesuffix(' {')}`"

    def lines_of(self, report):
        """The numbers of the learner's lines that a report names, in the report's order."""
        return re.findall(rf"{re.escape(str(self.path))}:(\d+)", report)

    def where(self, ran):
        """The name of the launch in which a run ended."""
        launch = self.last_launch(ran)
        return "The program" if launch is None else self.launch_name(launch)

    def last_launch(self, ran):
        """The number of the launch in which a run ended, or raced first: after its report the race detector goes on."""
        before = ran.output.partition("WARNING: ThreadSanitizer")[0]
        launches = re.findall(r"^check: launch (\d+)$", before, re.M)
        return int(launches[-1]) if launches else None

    def launch_name(self, launch):
        """A launch's name in messages: its kernel and its label."""
        label = list(self.launches)[launch]
        kernel = self.launches[label].kernel
        rest = label.removeprefix(kernel).lstrip(", ")
        return f"`{kernel}` ({rest})" if rest else f"`{kernel}`"

    def element(self, ran, address):
        """(name, index, size) of the array whose element is, or would be, at an address; None if no array is near."""
        launch = self.last_launch(ran)
        arguments = list(self.launches.values())[launch].args
        near = []
        for index, start, size in re.findall(rf"^check: array {launch} (\d+) (\w+) (\d+)$", ran.output, re.M):
            start, size, array = int(start, 16), int(size), arguments[int(index)]
            off = max(start - address, address - (start + size - 1), 0)
            if array is not None and off < NEAR:
                name = self.parameters[launch][int(index)].name
                near.append((off, name, (address - start) // array.itemsize, array.size))
        return min(near)[1:] if near else None

    def does_not_compile(self, messages):
        errors = re.findall(rf"{re.escape(str(self.path))}:(\d+):\d+: (?:fatal )?error: (.*)", messages)
        if errors:
            number, complaint = errors[0]
            raise Wrong("does not compile", f"{self.line(number)}: {complaint}")
        raise Wrong("does not compile", source.first_errors(messages))

    def barrier(self, ran):
        refused = re.search(r"^check: refused (.*)$", ran.output, re.M)
        if not refused:
            return
        why = re.sub(rf"(?:\bat )?{re.escape(str(self.path))}:(\d+)", lambda m: f"in {self.line(m[1])}", refused[1])
        why = why.partition(", ")[2]  # the kernel's name
        if "barrier" not in why:
            raise Wrong("error", f"{self.where(ran)}: {why}")
        raise Wrong(
            "barrier",
            f"{self.where(ran)}: {why}. All threads of a block must reach each __syncthreads() equally often: do not "
            "`return` before it, and do not put it into a branch or a loop that only some of the threads take.",
        )

    def out_of_bounds(self, ran):
        report = re.search(r"ERROR: AddressSanitizer: (\S+)(.*)", ran.output, re.S)
        overrun = re.search(r"(\S+):(\d+):\d+: runtime error: (index .* out of bounds.*)", ran.output)
        if overrun:
            raise Wrong("out of bounds", f"{self.where(ran)}, {self.line(overrun[2])}: {overrun[3]}.")
        if not report:
            return
        if report[1] == "SEGV" and not self.lines_of(report[2]):
            return
        access = re.search(r"^(READ|WRITE) of size \d+ at (\w+)", report[2], re.M)
        does = {"READ": "reads", "WRITE": "writes"}.get(
            access[1] if access else "", "uses memory outside of its arrays"
        )
        what = ""
        if access and (found := self.element(ran, int(access[2], 16))):
            name, at, size = found
            what = f" {name}[{at}], and {name} has {size} elements"
        elif access and (variable := re.search(r"global variable '(\w+?)(?:_storage)?'", report[2])):
            what = f" outside of the shared array {variable[1]}"
        elif access:
            what = " outside of the arrays"
        number = next(iter(self.lines_of(report[2])), None)
        place = f", {self.line(number)}" if number else ""
        raise Wrong("out of bounds", f"{self.where(ran)}{place}:{self.who(ran)} {does}{what}.")

    def who(self, ran):
        """The CUDA thread that was running when AddressSanitizer stopped the program."""
        at = re.search(r"^check: thread (\d+) (\d+) (\d+) block (\d+) (\d+) (\d+)$", ran.output, re.M)
        if not at:
            return " a thread"
        thread, block = (name_of_index(at.groups()[i : i + 3]) for i in (0, 3))
        return f" thread {thread} of block {block}"

    def undefined(self, ran):
        found = re.search(rf"{re.escape(str(self.path))}:(\d+):\d+: runtime error: (.*)", ran.output)
        if found:
            raise Wrong("undefined", f"{self.where(ran)}, {self.line(found[1])}: {found[2]}.")

    def race(self, ran):
        _, found, report = ran.output.partition("WARNING: ThreadSanitizer: data race")
        if not found:
            return
        report = report.partition("SUMMARY:")[0]
        accesses = re.findall(
            r"^  (?:Previous )?((?:atomic )?(?:read|write)) of size \d+ at (\w+) by [^\n]*\n((?:    #[^\n]*\n)*)",
            report, re.M | re.I,
        )  # fmt: skip
        if not accesses:
            raise Wrong("race", f"{self.where(ran)}: {report.strip().splitlines()[0]}")
        does = [{"read": "reads", "write": "writes"}[kind.lower().split()[-1]] for kind, _, _ in accesses[:2]]
        lines = [next(iter(self.lines_of(stack)), None) for _, _, stack in accesses[:2]]
        element = self.element(ran, int(accesses[0][1], 16))
        what = f"{element[0]}[{element[1]}]" if element else "the same number in shared memory"
        if lines[0] == lines[-1]:
            acts = "both write it" if does[0] == does[-1] else "one reads it, the other writes it"
            told = f"In {self.line(lines[0])}, {acts}." if lines[0] else f"{acts[0].upper()}{acts[1:]}."
        else:
            places = [f" in {self.line(each)}" if each else "" for each in lines]
            told = f"One {does[0]} it{places[0]}; the other {does[1]} it{places[1]}."
        advice = "Let only one thread use each element." if element else self.barrier_advice(lines)
        raise Wrong(
            "race", f"{self.where(ran)}: two threads use {what}, and their order is not defined. {told} {advice}"
        )

    def barrier_advice(self, lines):
        """Advice on the barriers between two lines that race. In a loop, each of the lines comes before the other."""
        first, last = sorted(int(line) if line else 0 for line in (lines[0], lines[-1]))
        between = without_comments("\n".join(self.text.splitlines()[first:last])) if first else ""
        if "__syncthreads" not in between:
            return "There is no __syncthreads() between the two."
        return (
            f"There is a __syncthreads() on the way from line {first} to line {last}: is there one on the way back, "
            "in the loop's next turn?"
        )

    def timeout(self, ran):
        if ran.status is None:
            raise Wrong("timeout", f"{self.where(ran)} did not end within {SECONDS} seconds. Does a loop never end?")

    def crash(self, ran):
        if ran.status:
            last = (ran.output.strip().splitlines() or [""])[-1]
            how = f"crashed (signal {-ran.status})" if ran.status < 0 else f"ended with status {ran.status}: {last}"
            raise Wrong("crash", f"{self.where(ran)} {how}. Usually an index is far outside of an array.")

    def guard(self, found):
        """Without AddressSanitizer: were the bytes around the arrays written to?"""
        for ran in found.values():
            if hit := re.search(r"^check: guard (\d+) (\d+) (before|after)$", ran.output, re.M):
                launch = int(hit[1])
                name = self.parameters[launch][int(hit[2])].name
                where = "before its first element" if hit[3] == "before" else "beyond its last element"
                raise Wrong("out of bounds", f"{self.launch_name(launch)} writes to {name} {where}.")

    def order(self):
        """Are the results the same in every order, and with shared memory full of NaN?"""
        usual = self.outputs("forward")
        for mode in ("poison", "reversed", "shuffled"):
            for launch, (label, arrays) in enumerate(self.outputs(mode).items()):
                for name in [name for name, array in arrays.items() if not nearly_equal(array, usual[label][name])]:
                    if mode == "poison":
                        raise Wrong(
                            "uninitialised",
                            f"{self.launch_name(launch)} reads shared memory that no thread has written: {name} is not "
                            "the same if that memory is NaN before each block. Which thread writes each element?",
                        )
                    raise Wrong(
                        "order",
                        f"{self.launch_name(launch)}: {name} is not the same if the threads run in {mode} order. A GPU "
                        "promises no order. Is a barrier missing, or do two blocks write the same element?",
                    )


def all_written(what, made):
    """Raise Wrong if elements of an output are NaN. A check fills the output with NaN before the launch."""
    if missing := int(np.isnan(made).sum()):
        first = [int(i) for i in np.argwhere(np.isnan(made))[0]]
        how_many = "all elements are" if missing == made.size else f"{missing} of {made.size} elements are"
        raise Wrong(
            "not written",
            f"{what}: {how_many} NaN, as before the launch; the first is at {first}. Which thread writes it? "
            "With += it stays NaN.",
        )


def nearly_equal(a, b):
    scale = np.nanmax(np.abs(b), initial=0) if b.size else 0
    return np.allclose(a, b, rtol=0, atol=SAME * scale, equal_nan=True)


def name_of_index(index):
    x, y, z = index
    return x if (y, z) == ("0", "0") else f"({x}, {y}, {z})"


def code_of(path):
    """The text of a .cu file without its comments."""
    return without_comments(Path(path).read_text(encoding="utf-8-sig"))


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


# ---- Folders -------------------------------------------------------------------------------------------


@functools.cache
def scratch():
    """A folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="minisrgan-lessons-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def runtimes_folder():
    """The folder of the three builds' compiled runtimes: in the cache of compiled kernels, or else in scratch()."""
    command, texts = (
        checked_builds.compiler(),
        [path.read_text(encoding="utf-8") for path in sorted((source.FOLDER / "cpu").glob("*.*"))],
    )
    made_from = "\0".join([*command, cpu.find_compiler().identity, *texts, str(BUILDS)])
    key = cpu.digest(made_from.encode(errors="surrogateescape"))
    folder = files.cache_folder() / f"checked-{key}"
    try:
        files.make_cache_folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        if cpu.problem_of(folder.parent) or cpu.problem_of(folder):
            raise PermissionError("another user could have put something there")
        checked_builds.compile_runtimes(folder, [each for each in BUILDS if not (folder / f"{each}.o").exists()])
    except OSError:  # the cache cannot be written to, or cannot be trusted
        folder = Path(scratch())
        checked_builds.compile_runtimes(folder)
    return folder


# ---- The main() ----------------------------------------------------------------------------------------

TYPES = "typedef int (*Entry)(const unsigned[3], const unsigned[3], unsigned, void **);\n"
MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
extern "C" const char *kernel_error();

#ifdef CHECK_ADDRESS  // AddressSanitizer watches the memory around an array; without it, guard bytes show a write there
constexpr size_t GUARD = 0;
extern "C" void __sanitizer_set_death_callback(void (*)());
static void say_who() {
    fprintf(stderr, "\ncheck: thread %u %u %u block %u %u %u\n", threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x,
            blockIdx.y, blockIdx.z);
}
#else
constexpr size_t GUARD = 256;
#endif
// Another value for each array, so that bytes copied from one to another show. And not NaN, from which a kernel would
// compute NaN again.
static unsigned char untouched(int argument) { return 0x50 + argument; }

static FILE *launches;
template <class T>
static T get() {
    T value;
    if (fread(&value, sizeof value, 1, launches) != 1) abort();
    return value;
}
static void check_guard(const unsigned char *at, int launch, int argument, const char *where) {
    for (size_t i = 0; i < GUARD; ++i)
        if (at[i] != untouched(argument)) {
            printf("check: guard %d %d %s\n", launch, argument, where);
            return;
        }
}

int main(int, char **paths) {
#ifdef CHECK_ADDRESS
    __sanitizer_set_death_callback(say_who);
#endif
    setvbuf(stdout, nullptr, _IONBF, 0);
    launches = fopen(paths[1], "rb");
    FILE *out = fopen(paths[2], "wb");
    int count = get<int>();
    for (int l = 0; l < count; ++l) {
        int kernel = get<int>();
        unsigned grid[3], block[3];
        for (unsigned &size : grid) size = get<unsigned>();
        for (unsigned &size : block) size = get<unsigned>();
        unsigned shared = get<unsigned>();
        int n = get<int>();
        unsigned char *memory[64];
        long long bytes[64];
        uint64_t slot[64];
        void *args[64];
        printf("check: launch %d\n", l);
        for (int i = 0; i < n; ++i) {
            args[i] = &slot[i];
            bytes[i] = get<long long>();
            if (bytes[i] < 0) {
                slot[i] = get<uint64_t>();
                continue;
            }
            memory[i] = static_cast<unsigned char *>(malloc(bytes[i] + 2 * GUARD));
            memset(memory[i], untouched(i), bytes[i] + 2 * GUARD);
            if (fread(memory[i] + GUARD, 1, bytes[i], launches) != size_t(bytes[i])) abort();
            slot[i] = reinterpret_cast<uint64_t>(memory[i] + GUARD);
            printf("check: array %d %d %llx %lld\n", l, i, static_cast<unsigned long long>(slot[i]), bytes[i]);
        }
        if (ENTRIES[kernel](grid, block, shared, args)) {
            printf("check: refused %s\n", kernel_error());
            return 3;
        }
        for (int i = 0; i < n; ++i) {
            if (bytes[i] < 0) continue;
            check_guard(memory[i], l, i, "before");
            check_guard(memory[i] + GUARD + bytes[i], l, i, "after");
            fwrite(memory[i] + GUARD, 1, bytes[i], out);
            free(memory[i]);
        }
    }
    fclose(out);
}
"""
