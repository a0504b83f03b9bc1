"""What `doctor` and the benchmarks say about the machine."""

import os
import sys
from types import SimpleNamespace

import pytest

from minisrgan.device.cpu import Compiler
from minisrgan.studies import machine


def test_blas_is_named_with_its_threads(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert machine.blas().endswith("threads: 3 by OPENBLAS_NUM_THREADS")


@pytest.mark.parametrize(
    "command, macros, row",
    [
        (["g++", "-march=native"], '#define __VERSION__ "13.1"\n#define X 1', "g++ -march=native: version 13.1"),
        (["c++"], "#define X 1", "c++: version unknown"),
    ],
)
def test_the_compiler_of_the_kernels_is_named(monkeypatch, command, macros, row):
    monkeypatch.setattr(machine, "find_compiler", lambda: Compiler(command, macros))
    assert machine.compiler() == row


def test_a_gpu_without_cupy_is_described_by_its_driver(monkeypatch):
    monkeypatch.setattr(machine, "cuda_problem", lambda: "CuPy is not installed")
    monkeypatch.setattr(machine, "nvidia_gpu", lambda: (12040, (8, 6)))
    assert machine.gpu() == "compute capability 8.6, driver for CUDA 12.4; `make setup` brings CuPy for it"
    monkeypatch.setattr(machine, "nvidia_gpu", lambda: (11080, (8, 6)))
    assert machine.gpu().endswith("too old for CuPy")
    monkeypatch.setattr(machine, "nvidia_gpu", lambda: None)
    assert machine.gpu().startswith("none")


def test_a_working_gpu_is_named(monkeypatch):
    runtime = SimpleNamespace(
        getDeviceProperties=lambda device: {"name": b"Tesla T4"},
        memGetInfo=lambda: (3 * 2**30, 15 * 2**30),
        driverGetVersion=lambda: 13000,
    )
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), __version__="14.2.0")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(machine, "cuda_problem", lambda: None)
    assert machine.gpu() == "Tesla T4, 3.0 GiB of 15.0 GiB free, driver for CUDA 13.0, CuPy 14.2.0"


def test_memory_is_linuxs_own_or_left_out(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8388608 kB\nMemAvailable:  2097152 kB\nHugePages_Total:  0\n")
    assert machine.free_memory(meminfo) == "2.0 GiB of 8.0 GiB"
    assert machine.free_memory(tmp_path / "absent") is None


def test_cpus_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5, 7}, raising=False)
    assert machine.cpu_count() == 3


def test_the_processor_is_named(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Chip\n")
    assert machine.cpu_model(tmp_path / "cpuinfo") == "A Chip"
    assert machine.cpu_model(tmp_path / "none")


def test_code_outside_a_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    assert machine.commit() is None
