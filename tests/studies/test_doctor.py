"""The doctor's report: what it names, and that it survives a machine with little."""

import os
import sys
from types import SimpleNamespace

import pytest

from minisrgan.device import DEVICES, PROBLEMS
from minisrgan.device.cpu import Compiler
from minisrgan.studies import doctor


def report(device=None):
    return dict(doctor.doctor_report(device)[0])


def test_the_device_is_reported_with_who_asked_for_it(monkeypatch):
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")
    rows = report()
    assert rows["device"] == "numpy (asked for by MINISRGAN_DEVICE)"
    assert "not numpy" not in rows
    assert "not cuda" in rows


def test_every_other_device_says_why_not(monkeypatch):
    monkeypatch.setitem(doctor.PROBLEMS, "cuda", lambda: "the GPU is on holiday")
    assert report("numpy")["not cuda"] == "the GPU is on holiday"


def test_a_device_that_cannot_be_had_is_reported_with_the_rest(monkeypatch, capsys):
    monkeypatch.setitem(PROBLEMS, "cuda", lambda: "the GPU is on holiday")
    assert doctor.print_doctor("numpy") == 0
    for device, problem in [("tpu", "unknown device 'tpu' from --device"), ("cuda", "but the GPU is on holiday")]:
        assert doctor.print_doctor(device) == 2
        rows = report(device)
        assert problem in rows["device"] and rows["not numpy"] == "it works too; --device chooses"
        assert "kernel cache" in capsys.readouterr().out


def test_blas_is_named_with_its_threads(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert doctor.blas().endswith("threads: 3 by OPENBLAS_NUM_THREADS")


@pytest.mark.parametrize(
    "command, macros, row",
    [
        (["g++", "-march=native"], '#define __VERSION__ "13.1"\n#define X 1', "g++ -march=native: version 13.1"),
        (["c++"], "#define X 1", "c++: version unknown"),
    ],
)
def test_the_compiler_of_the_kernels_is_named(monkeypatch, command, macros, row):
    monkeypatch.setattr(doctor, "find_compiler", lambda: Compiler(command, macros))
    assert doctor.compiler() == row


def test_no_compiler_is_no_problem(monkeypatch):
    monkeypatch.setattr(doctor, "find_compiler", lambda: None)
    assert report("numpy")["C++ compiler"].startswith("none: not needed")


def test_the_kernel_cache_is_described(tmp_path, monkeypatch):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "a" / "b"))
    assert doctor.kernel_cache() == f"{tmp_path / 'a' / 'b'}: 0 libraries, 0.0 MiB"
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "conv.so").write_bytes(bytes(3 * 2**20))
    assert doctor.kernel_cache().endswith("b: 1 libraries, 3.0 MiB")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "MINISRGAN_CACHE names another" in doctor.kernel_cache()


def test_a_gpu_without_cupy_is_described_by_its_driver(monkeypatch):
    monkeypatch.setattr(doctor, "cuda_problem", lambda: "CuPy is not installed")
    monkeypatch.setattr(doctor, "nvidia_gpu", lambda: (12040, (8, 6)))
    assert doctor.gpu() == "compute capability 8.6, driver for CUDA 12.4; `make setup` brings CuPy for it"
    monkeypatch.setattr(doctor, "nvidia_gpu", lambda: (11080, (8, 6)))
    assert doctor.gpu().endswith("too old for CuPy")
    monkeypatch.setattr(doctor, "nvidia_gpu", lambda: None)
    assert doctor.gpu().startswith("none")


def test_a_working_gpu_is_named(monkeypatch):
    runtime = SimpleNamespace(
        getDeviceProperties=lambda device: {"name": b"Tesla T4"},
        memGetInfo=lambda: (3 * 2**30, 15 * 2**30),
        driverGetVersion=lambda: 13000,
    )
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), __version__="14.2.0")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(doctor, "cuda_problem", lambda: None)
    assert doctor.gpu() == "Tesla T4, 3.0 GiB of 15.0 GiB free, driver for CUDA 13.0, CuPy 14.2.0"


def test_memory_is_linuxs_own_or_left_out(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8388608 kB\nMemAvailable:  2097152 kB\nHugePages_Total:  0\n")
    assert doctor.free_memory(meminfo) == "2.0 GiB of 8.0 GiB"
    assert doctor.free_memory(tmp_path / "absent") is None


def test_cpus_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5, 7}, raising=False)
    assert doctor.cpu_count() == 3


def test_the_printed_report_is_one_aligned_line_for_each_row(capsys):
    doctor.print_doctor("numpy")
    lines = capsys.readouterr().out.splitlines()
    rows, _ = doctor.doctor_report("numpy")
    assert [line.split("  ")[0] for line in lines] == [name for name, _ in rows]
    assert len({len(line) - len(value) for line, (_, value) in zip(lines, rows, strict=True)}) == 1
    assert {name for name, _ in rows} >= {"minisrgan", "Python", "NumPy", "device"}
    assert all(f"not {name}" in dict(rows) for name in DEVICES if name != "numpy")
