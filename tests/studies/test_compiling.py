"""Compiling ahead: what is compiled, and that one failure does not hide the others."""

import pytest

from minisrgan.device import geometry
from minisrgan.device.source import kernel_files
from minisrgan.studies import compiling


def test_every_variant_is_compiled_for_the_types_that_it_has():
    todo = compiling.jobs(kernel_files())
    assert {file for file, _, _ in todo} == {*kernel_files()} and len(set(todo)) == len(todo)
    for file in kernel_files():
        reals = {real for each, real, _ in todo if each == file}
        assert reals == ({"float"} if file in geometry.FLOAT_ONLY else {"float", "double"})
    assert ("matmul.cu", "double", tuple(sorted(geometry.macros("matmul.cu", True, NARROW=1).items()))) in todo


@pytest.mark.parametrize("fails", [True, False])
def test_a_failure_is_said_and_stops_no_other(monkeypatch, fails):
    class Pool:
        def __init__(self, processes):
            assert processes == 2

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *error: None  # noqa: E731
        map = staticmethod(lambda function, jobs, chunksize: [function(job) for job in jobs])

    class Module:
        def __init__(self, file, real, defines):
            self.real = real

        def get_function(self, name):
            if fails and self.real == "double":
                raise ValueError("no doubles here")

    monkeypatch.setattr(compiling, "cuda_module", Module)
    monkeypatch.setattr(compiling.multiprocessing, "get_context", lambda method: type("Context", (), {"Pool": Pool}))
    said = []
    assert compiling.compile_all(["adam.cu"], said.append) == fails
    assert "adam.cu float" in said[0] and "adam.cu double" in said[1]
    assert ("ValueError: no doubles here" in said[1]) == fails and f", {int(fails)} failed" in said[-1]
