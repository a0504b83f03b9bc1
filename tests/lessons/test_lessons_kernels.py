"""kernel_check.py if a tool is missing, or if a kernel never ends. The lessons' mistakes.py test the rest."""

import numpy as np
import pytest
from kernel_helpers import needs_cpu, needs_kernels

from lessons.__main__ import wrapped
from lessons.course import checked_builds, kernel_check
from lessons.course.checking import Wrong
from lessons.course.document import fences, find_lessons
from lessons.course.examine import examine
from lessons.course.exercises import read, solved
from lessons.course.kernel_check import Launch, run_kernels
from minisrgan.errors import KernelError

pytestmark = [needs_kernels, needs_cpu]
COPY = """
extern "C" __global__ void copy(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];
}
"""


@pytest.fixture
def run_copy(tmp_path):
    """A function that runs a text's kernel `copy` on 5 numbers, on 2 blocks of 4, and gives what it wrote."""

    def run(text):
        path = tmp_path / "exercise.cu"
        path.write_text(text)
        x = np.arange(1, 6, dtype=np.float32)
        return run_kernels(path, {"five": Launch("copy", 2, 4, x, np.full(5, np.nan, np.float32), 5)})["five"]["y"]

    return run


@pytest.fixture
def no_sanitizers(monkeypatch):
    """A compiler that has none."""
    compile_program = checked_builds.compile_program

    def compile_fast(sources, build, *rest):
        if build != "fast":
            raise KernelError("unrecognised option -fsanitize")
        return compile_program(sources, build, *rest)

    monkeypatch.setattr(checked_builds, "compile_program", compile_fast)


@pytest.fixture
def race_detector(tmp_path):
    if problem := checked_builds.problem("races", tmp_path):
        pytest.skip(problem)


def test_a_sound_kernel_passes(run_copy):
    assert run_copy(COPY).tolist() == [1, 2, 3, 4, 5]


RELAY = """
extern "C" __global__ void copy(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    SHARED(real, one, [1]);
    real mine = 0;
    for (int turn = 0; turn < 4; ++turn) {
        if (threadIdx.x == turn) one[0] = x[turn];
        __syncthreads();
        mine += one[0];
        __syncthreads();
    }
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = mine;
}
"""
READ = "mine += one[0];\n"


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("        __syncthreads();\n        " + READ, "There is no __syncthreads"),
        (READ + "        __syncthreads();\n", "on the way from line 6 to line 8: is there one on the way back"),
    ],
    ids=["before the use", "before the next turn"],
)
def test_a_race_says_where_a_barrier_is_and_where_none(run_copy, race_detector, without, said):
    assert run_copy(RELAY)[0] == 10
    with pytest.raises(Wrong, match=f"race.*{said}"):
        run_copy(RELAY.replace(without, READ))


def test_lesson_4_quotes_what_its_check_says_of_a_race(tmp_path, race_detector):
    lesson = next(each for each in find_lessons() if each.name == "04_first_kernel")
    path = tmp_path / lesson.exercise.name
    path.write_text(solved(read(lesson.solution)).replace("        __syncthreads();\n", ""))
    verdict = examine(lesson, path)
    (quoted,) = [fence.text for fence in fences(read(lesson.readme)) if fence.words == "text"]
    assert quoted == f"{verdict.kind}\n{wrapped(verdict.message)}\n"


def test_without_sanitizers_it_says_so_and_goes_on(run_copy, no_sanitizers, capsys):
    assert run_copy(COPY).tolist() == [1, 2, 3, 4, 5]
    assert capsys.readouterr().out.count("Not all could be checked") == 2
    with pytest.raises(Wrong, match="out of bounds.*writes to y beyond its last element"):
        run_copy(COPY.replace("if (i < n)", ""))


def test_without_a_compiler_it_says_what_to_install(run_copy, monkeypatch):
    monkeypatch.setattr(checked_builds, "find_compiler", lambda: None)
    kernel_check.runtimes_folder.cache_clear()
    with pytest.raises(Wrong, match="install g.."):
        run_copy(COPY)


def test_a_loop_without_end_is_stopped(run_copy, monkeypatch):
    monkeypatch.setattr(kernel_check, "SECONDS", 1)
    with pytest.raises(Wrong, match="timeout: `copy` .five. did not end within 1 seconds"):
        run_copy(COPY.replace("if (i < n)", "for (volatile int j = 0; j < 1; j = 0)"))


@pytest.mark.parametrize(
    "text",
    [COPY.replace("copy", "copied"), COPY.replace("int n)", "long long n, int m)"), COPY.replace("[n]", "[m]")],
    ids=["name", "parameters", "size"],
)
def test_names_and_parameters_are_to_stay(run_copy, text):
    with pytest.raises(Wrong, match="signature"):
        run_copy(text)
