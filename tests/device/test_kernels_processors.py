"""The kernels' tests on other processors than this one: other vectors and registers, so other tiles.

Each runs in a process of its own, which compiles the kernels for that processor.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import emulated_arm
import pytest
from kernel_helpers import needs_cpu, needs_kernels

pytestmark = [needs_kernels, needs_cpu]
HERE = Path(__file__).resolve().parents[1]
X86 = ["x86-64", "x86-64-v3"]  # SSE2 and AVX2; the other tests run with all that this processor has
# many tiles and sizes off every boundary, in all three directions; and the other kernels with barriers
FILES = "conv", "matmul", "batch_norm"
CHOSEN = "winograd_is or three_directions or ((split_depth or times_a_batch or statistics) and float32)"


def run_tests(*options, **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, "-k", CHOSEN]
    command += [HERE / "device" / f"test_kernels_{name}.py" for name in FILES]
    path = os.pathsep.join([str(HERE), *sys.path])  # the plugin's folder
    ran = subprocess.run(command, env=os.environ | environment | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are instructions of x86-64")
@pytest.mark.parametrize("instructions", X86)
def test_with_fewer_instructions(instructions):
    run_tests(MINISRGAN_CXXFLAGS=f"-march={instructions}")


@pytest.mark.skipif(emulated_arm.problem() is not None, reason=str(emulated_arm.problem()))
def test_on_an_emulated_arm():
    run_tests("-p", "emulated_arm", CXX=emulated_arm.COMPILER, MINISRGAN_CXXFLAGS="")
