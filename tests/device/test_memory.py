"""How much memory a process has taken."""

import numpy as np

from minisrgan.device.memory import high_water_mark, most_memory


def test_the_high_water_mark_stays_up(tmp_path):
    (tmp_path / "status").write_text("VmPeak:\t   99 kB\nVmHWM:\t    12 kB\n")
    assert high_water_mark(tmp_path / "status") == 12 * 1024
    assert high_water_mark(tmp_path / "none") > 2**20
    before = most_memory("cpu")
    np.ones(before, np.uint8)  # and gone: more, with the interpreter itself, than was ever in use
    assert most_memory("cpu") > before
