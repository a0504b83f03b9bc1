"""The benchmark: what it reports, that it compares fairly and the right way round, and that both sides are the same."""

import json
import sys
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from minisrgan.device import PROBLEMS
from minisrgan.errors import MinisrganError
from minisrgan.models.discriminator import Discriminator
from minisrgan.models.generator import Generator
from minisrgan.studies import bench

PAPER = bench.PAPER._replace(discriminator=bench.DiscriminatorConfig(dense=1))  # its dense layer takes long to make


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


def test_without_pytorch_it_says_so_and_measures_ours(no_torch, tmp_path):
    said = []
    out = tmp_path / "new" / "b.json"
    results = bench.bench("numpy", out, quick=True, say=said.append)
    assert any(line.startswith("no PyTorch") for line in said)
    assert json.loads(out.read_text()) == results
    assert results["device"] == "numpy" and results["quick"] is True
    assert results["disagreement"] is None and "problem" in results["pytorch"]
    assert results["machine"].keys() >= {"cpu", "cpus", "threads", "system", "python", "numpy", "commit", "date"}
    assert len(results["steps"]) == 4
    assert len(results["convolutions"]) == 3 * 13 + 2 * 2
    assert len(results["precisions"]) == 3 * 2 and results["precision"] == "float32"
    for row in [*results["steps"], *results["convolutions"], *results["elementwise"]]:
        assert row["name"] in "\n".join(said)
        assert 0 < row["ours"]["min"] <= row["ours"]["median"] and len(row["ours"]["rounds"]) == 1
        assert "ratio" not in row
    assert all(row["gflops"]["ours"] > 0 for row in results["convolutions"])
    assert [row["name"] for row in results["memory"]] == ["generator step", "discriminator step", "gan step"]
    assert all(row["ours"] >= 0 for row in results["memory"])
    assert all(0 < row["error"]["ours"] < 1e-6 and row["intensity"] > 0 for row in results["precisions"])
    roofs = results["roofs"]
    assert roofs["copy, GB/s"] > 0 and roofs["peaks, GFLOP/s"].keys() == {"float32"}
    assert all(row["of a copy"] == row["GB/s"] / roofs["copy, GB/s"] for row in results["elementwise"])
    assert results["timeline"] == {} and "compiled" not in results  # NumPy launches nothing
    assert out.with_name("b-roofline.png").exists() and not out.with_name("b-timeline.png").exists()


def test_what_was_measured_stays_if_the_rest_fails(no_torch, tmp_path, monkeypatch):
    def fail(*arguments):
        raise MinisrganError("no roof")

    monkeypatch.setattr(bench, "measure_roofs", fail)
    with pytest.raises(MinisrganError, match="no roof"):
        bench.bench("numpy", tmp_path / "b.json", quick=True, say=lambda line: None)
    assert json.loads((tmp_path / "b.json").read_text()).keys() >= {"machine", "disagreement", "steps"}


def test_the_ratio_is_theirs_over_ours_of_their_faster_layout():
    row = bench.compare({"ours": [1, 2, 3], "contiguous": [4, 4, 4], "channels-last": [3, 6, 9]})
    assert row["pytorch_layout"] == "contiguous"
    assert row["ratio"] == 2  # we are twice as fast
    assert row["ratio_spread"] == [4 / 3, 4]
    assert row["ours"] == {"median": 2, "min": 1, "rounds": [1, 2, 3]}
    assert row["channels-last"]["median"] == 6
    assert "2.00" in bench.table_line({"name": "x", **row})


def test_the_sides_take_turns():
    turns = []
    sizes = bench.QUICK._replace(rounds=3)
    times = bench.take_turns({"ours": lambda: turns.append("a"), "theirs": lambda: turns.append("b")}, sizes, int)
    assert turns == ["a", "a", "b", "b"] + 3 * ["a", "b"]  # twice to warm up
    assert [len(each) for each in times.values()] == [3, 3]


def test_three_rounds_do_for_long_work(monkeypatch):
    clock = SimpleNamespace(perf_counter=count(step=2).__next__)  # every look takes two seconds
    monkeypatch.setattr(bench, "time", clock)
    times = bench.take_turns({"ours": lambda: None}, bench.QUICK._replace(rounds=7), int)
    assert times == {"ours": [2, 2, 2]}


def test_short_work_is_done_many_times_a_turn_and_once_unmeasured(monkeypatch):
    clock = SimpleNamespace(perf_counter=count().__next__)  # every look takes a second
    monkeypatch.setattr(bench, "time", clock)
    done = []
    times = bench.take_turns({"ours": lambda: done.append(1)}, bench.QUICK._replace(burst=4), int)
    assert len(done) == 1 + 1 + 1 + 4
    assert times == {"ours": [1 / 4]}


def test_every_convolution_of_both_models_is_measured():
    shapes = bench.convolution_shapes(PAPER)
    rng = np.random.default_rng(0)
    models = Generator(PAPER.generator, rng), Discriminator(PAPER.discriminator, rng), bench.VGG(
        bench.VGGConfig(PAPER.vgg), rng)  # fmt: skip
    weights = {each.shape for model in models for each in model.parameters() if each.ndim == 4}
    assert {shape.weight().shape for shape in shapes} == weights
    assert len(set(shapes)) == len(shapes) == 13 + 9
    trunk = shapes[1]
    assert trunk.operations == 2 * (16 * 24 * 24 * 64) * (3 * 3 * 64)
    assert str(shapes[12]) == "D 12² 512→512 3×3 /2" and str(shapes[-1]) == "VGG 6² 512→512 3×3"
    assert trunk.intensity == trunk.operations / (4 * (2 * 16 * 24 * 24 * 64 + 3 * 3 * 64 * 64))


def test_a_folder_as_the_file_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        bench.bench("numpy", tmp_path, say=None)


def test_the_default_file_names_processor_and_date():
    machine = {"processor": "Intel(R) Xeon(R) E5-26 @ 2.0GHz", "date": "2026-03-04T05:06:07+00:00"}
    assert str(bench.default_file(machine, False)) == "benchmarks/results/intel-xeon-e5-26-2-0ghz-2026-03-04.json"
    assert bench.default_file(machine, True).name == "intel-xeon-e5-26-2-0ghz-quick-2026-03-04.json"
    assert bench.default_file(machine, False, True).name == "intel-xeon-e5-26-2-0ghz-compiled-2026-03-04.json"


def test_memory_that_cannot_be_measured_is_an_error():
    with pytest.raises(MinisrganError, match="memory of a nothing"):
        bench.peak_elsewhere(work="nothing", device="numpy", layout=None, threads=1, quick=True)


def test_the_gan_step_is_a_step_of_the_training():
    step = bench.gan_step(bench.QUICK, "numpy")
    trainer = step.__self__
    before = [trainer.generator.state(), trainer.discriminator.state()]
    step()
    after = [trainer.generator.state(), trainer.discriminator.state()]
    for old, new in zip(before, after):
        assert any((old[name] != new[name]).any() for name in old)
    assert trainer.config.content == "vgg54" and trainer.vgg.config.blocks == bench.QUICK.vgg


def test_an_error_is_relative_to_the_exact_result():
    assert bench.relative_error(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == 0.1


def test_what_cannot_be_compiled_is_a_row_with_its_problem(monkeypatch):
    class Peer:
        compiled_place = staticmethod(lambda device: "there")

        def gan_step(sizes, place):
            raise RuntimeError("no compiler\nand much more")

    for name in ("generator_step", "discriminator_step", "inference"):
        setattr(Peer, name, lambda sizes, place: lambda: None)
    monkeypatch.setattr(bench, "WORKS", dict.fromkeys(bench.WORKS, lambda sizes, device: lambda: None))
    monkeypatch.setattr(bench, "synchronizer", lambda device: lambda: None)
    said, rows, kept = [], [], []
    bench.measure_compiled(Peer, bench.QUICK, "cuda", said.append, rows, lambda: kept.append(len(rows)))
    assert rows[1] == {"name": "GAN step with VGG, 2 of 32²", "problem": "RuntimeError: no compiler"}
    assert all("compiled" in row and "ratio" in row for row in (rows[0], *rows[2:])) and kept == [1, 2, 3, 4]
    assert any("RuntimeError: no compiler" in line for line in said)


def test_beside_what_is_compiled_nothing_else_is_measured(no_torch, tmp_path):
    results = bench.bench("numpy", tmp_path / "b.json", quick=True, compiled=True, say=lambda line: None)
    assert results["compiled"] == [] and "steps" not in results and "problem" in results["pytorch"]


# ---- With PyTorch --------------------------------------------------------------------------------------


@pytest.fixture
def peer():
    pytest.importorskip("torch")
    from minisrgan.studies import bench_torch

    return bench_torch


@pytest.mark.parametrize("device", ["numpy", "cpu", "cuda"])
def test_both_sides_compute_the_same(peer, device):
    if problem := PROBLEMS[device]():
        pytest.skip(problem)
    for dtype, tolerance in [("float64", 1e-10), ("float32", 1e-2)]:
        errors = peer.disagreement(bench.QUICK, device, dtype)
        assert errors.keys() == {"G", "D", "VGG"}
        assert max(errors.values()) < tolerance


def test_a_difference_in_the_arrangement_is_found(peer, monkeypatch):
    def careless(name, array, config):
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)

    monkeypatch.setattr(peer, "as_theirs", careless)
    errors = peer.disagreement(bench.QUICK, "numpy", "float64")
    assert min(errors["G"], errors["D"]) > 1e-2  # VGG has nothing to arrange otherwise


def test_unlike_models_are_not_compared(peer):
    class Unlike:
        def disagreement(*_):
            return {"G": 1e-15, "D": float("nan")}

    with pytest.raises(MinisrganError, match="do not compute the same"):
        bench.check_agreement(Unlike, bench.QUICK, "numpy", lambda line: None)


def test_with_pytorch_every_row_has_a_ratio(peer, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "peak_elsewhere", lambda layout, **_: {None: 10, "contiguous": 30}.get(layout, 20))
    one = bench.Shape("one", 1, 6, 2, 3, stride=2)
    few = [one, one._replace(name="G trunk"), one._replace(cin=4)]
    monkeypatch.setattr(bench, "convolution_shapes", lambda sizes: few)
    results = bench.bench("numpy", tmp_path / "b.json", quick=True, say=lambda line: None)
    for row in [*results["steps"], *results["convolutions"]]:
        assert row["ratio"] == row[row["pytorch_layout"]]["median"] / row["ours"]["median"]
        assert row.keys() >= {"contiguous", "channels-last"}
    assert [row["ratio"] for row in results["memory"]] == [2, 2, 2]
    assert all(row["error"]["contiguous"] < 1e-6 for row in results["precisions"])
    assert {row["pytorch_precision"] for row in results["precisions"]} == {"float32"}
    assert "threads" in results["pytorch"]["settings"]
