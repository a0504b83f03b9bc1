"""How a step scales: the formula, the simulation, and what the page says was measured."""

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from minisrgan.errors import ConfigError
from minisrgan.models.architectures import build
from minisrgan.models.discriminator import Discriminator
from minisrgan.studies import scaling
from minisrgan.studies.scaling import Way, formula, gradient_bytes, simulated
from minisrgan.training.presets import PRESETS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "machines.md").read_text(encoding="utf-8")
STEP = {"messages": 4, "bytes": 8000}
WAY = Way(latency=0.001, per_byte=1e-6)


def test_where_all_steps_take_as_long_the_simulation_is_the_formula():
    for n, cores in [(1, 1), (2, 2), (4, 4), (4, 2)]:
        expected = max(1, n / cores) * 0.1 + 4 * 0.001 + 8000 * 1e-6
        assert formula(n, cores, 0.1, WAY, STEP) == pytest.approx(expected)
        assert simulated(n, cores, [0.1], WAY, STEP) == pytest.approx(expected)


def test_in_the_simulation_all_wait_for_the_slowest():
    free, alone = Way(0.0, 0.0), {"messages": 1, "bytes": 0}
    times = [simulated(n, n, [0.1, 0.3], free, alone, steps=2000) for n in (1, 2, 4)]
    # of n ranks, none is slow in one step of 2ⁿ
    assert times == pytest.approx([0.3 - 0.2 / 2**n for n in (1, 2, 4)], rel=0.04)


def test_ranks_beyond_the_cores_take_turns():
    free, alone = Way(0.0, 0.0), {"messages": 1, "bytes": 0}
    assert simulated(3, 2, [0.1], free, alone) == pytest.approx(0.2)
    assert simulated(4, 1, [0.1], free, alone) == pytest.approx(0.4)


def cells(heading):
    table = re.search(r"(?:^\|.*\|\n)+", PAGE.partition(heading)[2], re.MULTILINE)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_the_page_says_how_large_the_gradients_are():
    for name, *sizes in cells("## What is sent"):
        config, rng = PRESETS[name.strip("`")], np.random.default_rng(0)
        models = build(config.generator, rng), Discriminator(config.discriminator, rng)
        assert sizes == [f"{4e-6 * model.parameter_count():.1f} MB" for model in models]
    assert gradient_bytes("tiny", "gan") == 4 * (153_744 + 556_849)


def test_the_page_has_the_measured_times():
    (measured,) = (ROOT / "benchmarks" / "results").glob("ranks-*.json")
    results = json.loads(measured.read_text(encoding="utf-8"))
    expected = []
    for row in results["here"]:
        times = (1e3 * row[name] for name in ("formula", "simulated", "measured", "inside"))
        if row["ranks"] == 2:
            expected.append([row["stage"], "1", "", "", f"{1e3 * row['alone']:.1f} ms", ""])
        expected.append(["", f"{row['ranks']}{' on two cores' * (row['ranks'] > 2)}", *(f"{t:.1f} ms" for t in times)])
    assert cells("rank, preset `tiny`:\n") == expected
    gains = {(row["preset"], row["stage"], str(row["ranks"]), row["network"]): row["gains"][0]
             for row in results["beyond"]}  # fmt: skip
    table, what = cells("times log₂ N."), ""
    for first, n, *texts in table:
        what = first or what
        preset, stage = what.replace("`", "").split(", ")
        assert texts == [f"{gains[preset, stage, n, network]:.1f}" for network in scaling.NETWORKS]
    assert len(table) == 9


def test_without_mpiexec_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="no mpiexec beside .*: pip install mpi4py mpich"):
        scaling.measured_on("numpy", "tiny", 2, 1, 1)


@pytest.mark.skipif(
    not (find_spec("mpi4py") and Path(sys.executable).with_name("mpiexec").exists()),
    reason="mpi4py and an MPI are not here: pip install '.[mpi]'",
)
def test_it_measures_the_ranks_of_this_machine(monkeypatch, tmp_path, capsys):
    said = []
    monkeypatch.setattr(scaling, "HERE", (2,))
    monkeypatch.setattr(scaling, "BEYOND", (2,))
    results = scaling.scaling("numpy", str(tmp_path / "ranks.json"), quick=True, say=said.append)
    assert json.loads((tmp_path / "ranks.json").read_text()) == results
    for row in results["here"]:
        assert all(row[name] > 0 for name in ("formula", "simulated", "measured", "latency", "per_byte"))
        assert 0 < row["inside"] < row["measured"] and row["messages"] > 3
    assert any(line.startswith("tiny    gan") for line in said)
    assert "tiny, 2 ranks, batch 8" in capsys.readouterr().err  # what it is doing meanwhile
