"""The kernels in the checked builds of kernels/cpu, and bugs in them that those builds must catch.

On every commit a selection of tests/kernel_bugs; all of it with MINISRGAN_ALL_CHECKS=1, or `make kernels-checked`.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from kernel_bugs import run

from lessons.course import checked_builds
from lessons.course.checked_builds import BUILDS, compile_runtimes

PROGRAMS = run.programs() if os.environ.get("MINISRGAN_ALL_CHECKS") else run.quick()


@pytest.fixture(scope="module")
def what_is_found(tmp_path_factory):
    """For each program's name, where what was found in it comes to be. They run side by side."""
    folder = tmp_path_factory.mktemp("checked")
    if problems := [problem for build in BUILDS if (problem := checked_builds.problem(build, folder))]:
        pytest.skip(problems[0])
    compile_runtimes(folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {program: pool.submit(run.examine, program, folder) for program in PROGRAMS}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.name}, {' '.join(program.modes)}")
def test_kernels_are_clean_and_bugs_are_caught(program, what_is_found):
    assert not run.complaints(program, what_is_found[program].result())


def test_the_quick_selection_has_bugs_in_it_and_every_kernel_file():
    programs = run.quick()
    assert sum(program.buggy for program in programs) >= 4
    assert {program.sources[1][0] for program in programs} == set(run.FILES.values())


def test_a_bug_that_goes_unseen_is_a_complaint():
    program = run.quick()[0]._replace(buggy=True)
    assert run.complaints(program, {"races": None}) and run.complaints(program, {"races": "HANGS"})
    assert not run.complaints(program, {"races": "SUMMARY: data race"})
