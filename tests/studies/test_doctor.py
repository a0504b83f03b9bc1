"""The doctor's report: what it names, and that it survives a machine with little."""

import os

from minisrgan.device import DEVICES, PROBLEMS
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


def test_no_compiler_is_no_problem(monkeypatch):
    monkeypatch.setattr("minisrgan.studies.machine.find_compiler", lambda: None)
    assert report("numpy")["C++ compiler"].startswith("none: not needed")


def test_the_kernel_cache_is_described(tmp_path, monkeypatch):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "a" / "b"))
    assert doctor.kernel_cache() == f"{tmp_path / 'a' / 'b'}: 0 libraries, 0.0 MiB"
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "conv.so").write_bytes(bytes(3 * 2**20))
    assert doctor.kernel_cache().endswith("b: 1 libraries, 3.0 MiB")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "MINISRGAN_CACHE names another" in doctor.kernel_cache()


def test_the_printed_report_is_one_aligned_line_for_each_row(capsys):
    doctor.print_doctor("numpy")
    lines = capsys.readouterr().out.splitlines()
    rows, _ = doctor.doctor_report("numpy")
    assert [line.split("  ")[0] for line in lines] == [name for name, _ in rows]
    assert len({len(line) - len(value) for line, (_, value) in zip(lines, rows, strict=True)}) == 1
    assert {name for name, _ in rows} >= {"minisrgan", "Python", "NumPy", "device"}
    assert all(f"not {name}" in dict(rows) for name in DEVICES if name != "numpy")
