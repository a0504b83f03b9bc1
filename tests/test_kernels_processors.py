"""The kernels on other kinds of processors than this one: their vectors, registers and so their tiles are others."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_helpers import needs_cpu, needs_kernels

pytestmark = [needs_kernels, needs_cpu]
HERE = Path(__file__).resolve().parent
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="these are flags for an x86-64 processor")


@needs_x86
@pytest.mark.parametrize("instructions", ["x86-64", "x86-64-v3"])
def test_kernels_are_their_definitions_with_fewer_instructions(instructions):
    """SSE2 and AVX2, whatever more this processor has."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", HERE / "test_kernels_conv.py"]
    command += ["-k", "winograd or three_faces"]
    flags = f"{os.environ.get('MINISRGAN_CXXFLAGS', '')} -march={instructions}"
    ran = subprocess.run(command, env=os.environ | {"MINISRGAN_CXXFLAGS": flags}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]
