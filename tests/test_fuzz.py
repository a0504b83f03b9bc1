"""Feeds damaged files to each reader for some seconds, and checks that a faulty reader is noticed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import fuzz
import pytest

from minisrgan.errors import WeightsError

SCRIPT = Path(__file__).with_name("fuzz.py")


def test_whatever_is_in_a_file_it_is_read_or_refused_in_one_line(tmp_path):
    command = [sys.executable, SCRIPT, "--seconds", "20", "--seed", "0", "--keep", tmp_path / "failures"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = [int(count) for count in re.findall(r": (\d+) files, 0 failed", done.stdout)]
    assert len(counts) >= 11 and min(counts) >= 20


def refuses(*lines):
    def read(path):
        raise WeightsError("\n".join(lines))

    return read


def hangs(path):
    while True:
        pass


WRONG = {
    "another exception": lambda path: {}["x"],
    "two lines": refuses("one", "two"),
    "a crash": lambda path: os.kill(os.getpid(), 9),
    "a hang": hangs,
    "too much memory": lambda path: bytearray(3 << 30),
    "a warning": lambda path: sys.modules["warnings"].warn("odd", stacklevel=1),
}


@pytest.mark.parametrize("read", WRONG.values(), ids=WRONG)
def test_a_reader_that_goes_wrong_is_found_out(tmp_path, monkeypatch, capsys, read):
    monkeypatch.setattr(fuzz, "PATIENCE", 1)
    reader = fuzz.Reader([b"some bytes"], (fuzz.damaged,), read)
    tried, failed = fuzz.fuzz("x", reader, 0, 0.3, tmp_path / "of", tmp_path / "failures")
    assert failed >= 1 and len(list((tmp_path / "failures").iterdir())) == failed
    assert "number 0 of seed 0" in capsys.readouterr().err


def test_damage_that_is_not_noticed_is_found_out(tmp_path):
    reader = fuzz.Reader([b"some bytes"], (fuzz.damaged,), lambda path: path.read_bytes()).sealed()
    _, failed = fuzz.fuzz("x", reader, 0, 0.3, tmp_path / "of", tmp_path / "failures")
    assert failed >= 1


def test_the_same_seed_makes_the_same_files_and_a_sound_reader_does_not_fail(tmp_path):
    reader = fuzz.Reader([b"some bytes"], (fuzz.damaged,), refuses("one line"))
    assert [fuzz.case(reader, 1, n) for n in range(9)] == [fuzz.case(reader, 1, n) for n in range(9)]
    began = time.time()
    tried, failed = fuzz.fuzz("x", reader, 0, 0.3, tmp_path / "of", tmp_path / "failures")
    assert failed == 0 < tried and time.time() - began < 10
