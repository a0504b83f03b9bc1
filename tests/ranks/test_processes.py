"""Ranks as processes, started by mpiexec: what a user sees, and what happens if one of them dies."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisrgan.device.cpu import cpu_problem
from minisrgan.weights.array_files import read_arrays

MPIEXEC = Path(sys.executable).with_name("mpiexec")  # of the wheel; another MPI's may not fit mpi4py
pytestmark = pytest.mark.skipif(
    not (find_spec("mpi4py") and MPIEXEC.exists()), reason="mpi4py and an MPI are not here: pip install '.[mpi]'"
)
ROOT = Path(__file__).parents[2]
LONGEST = 60  # seconds
QUICK = """
import os, types
report = sys.modules["minisrgan.training.report"] = types.ModuleType("report")  # pictures take longer than the training
report.draw_comparison = report.draw_curves = lambda *args: None
os.fsync = lambda file: None  # and so does a disk
from minisrgan.training import loop
loop.LOOKS = 3
"""
BEGIN = "import sys\n"
MAIN = "from minisrgan.cli.main import main\nsys.exit(main(sys.argv[1:]))\n"


def environment(**more):
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MINISRGAN_DEVICE": "numpy",
        "MPLBACKEND": "agg",
    } | more  # fmt: skip


def command(size, *words, patch=""):
    train = [sys.executable, "-c", BEGIN + QUICK * (words[0] == "train") + patch + MAIN, *map(str, words)]
    return [str(MPIEXEC), "-n", str(size), *train] if size > 1 else train


def start(size, *words, patch="", **more):
    """minisrgan on several ranks, after a `patch` in Python, in a group that a test may kill as a whole."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    return subprocess.Popen(
        command(size, *words, patch=patch), env=environment(**more), start_new_session=True, **pipes
    )


def ended(process):
    """(exit status, stdout, stderr) of a process that has to end by itself."""
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def run(size, *words, patch="", **more):
    return ended(start(size, *words, patch=patch, **more))


@pytest.fixture(scope="module")
def small(photo_folder):
    """The options of a training that takes a second."""
    return f"train --data {photo_folder} --crop 16 --batch 4 --content pixel --copies 0".split()


def pids_of(process, size):
    """The process ids of the ranks, once all are there: {rank: id}."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                words = (entry / "cmdline").read_bytes()
                if os.getsid(int(entry.name)) != process.pid and not is_child(int(entry.name), process.pid):
                    continue
            except (OSError, ProcessLookupError):
                continue
            ranks = [int(each[9:]) for each in variables if each.startswith(b"PMI_RANK=")]
            if ranks and b"minisrgan" in words:
                found[ranks[0]] = int(entry.name)
        if len(found) == size:
            return found
        time.sleep(0.05)
    raise AssertionError("not all ranks have started")


def is_child(pid, ancestor):
    while pid > 1:
        if pid == ancestor:
            return True
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pid = int(status[1])
    return False


def wait_for_rows(folder, rows):
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        if (log := folder / "log.csv").exists() and len(log.read_text().splitlines()) > rows:
            return
        time.sleep(0.02)
    raise AssertionError("no steps are taken")


def rows_of(folder):
    with open(folder / "log.csv", newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def compare_rows(one, two):
    """The logs of two runs are the same, but for the rounding."""
    for ours, theirs in zip(rows_of(one), rows_of(two), strict=True):
        for column, text in ours.items():
            if column in ("stage", "health"):
                assert theirs[column] == text
            elif text:
                assert float(theirs[column]) == pytest.approx(float(text), rel=1e-3, abs=1e-5), column


def state_of(folder):
    arrays, about = read_arrays(folder / "checkpoint.safetensors")
    return arrays, {name: about[name] for name in ("stage", "step", "crops", "noise", "adam")}


def same_state(one, other):
    (ours, about), (theirs, also) = state_of(one), state_of(other)
    return about == also and ours.keys() == theirs.keys() and all((ours[n] == theirs[n]).all() for n in ours)


def test_two_ranks_train_as_one_does_and_twice_to_the_same_bits(tmp_path, small):
    words = [*small, "--steps", 3, 3, "--sync-batch-norm", "--out"]
    outs = {}
    for name, size in {"one": 1, "two": 2, "again": 2}.items():
        status, outs[name], err = run(size, *words, tmp_path / name)
        assert status == 0, err
    assert same_state(tmp_path / "two", tmp_path / "again")
    assert rows_of(tmp_path / "two") == rows_of(tmp_path / "again")
    compare_rows(tmp_path / "one", tmp_path / "two")
    # one rank prints, and what one process prints
    changing = ("stage ", "2 ranks, with 2 of the 4 crops of a step each")
    lines = {name: [line for line in out.splitlines() if not line.startswith(changing)] for name, out in outs.items()}
    assert [line.replace(str(tmp_path / "two"), str(tmp_path / "one")) for line in lines["two"]] == lines["one"]
    assert json.loads((tmp_path / "two" / "config.json").read_text())["sync_batch_norm"] is True


def test_a_run_goes_on_with_any_number_of_ranks(tmp_path, small):
    words = [*small, "--sync-batch-norm", "--adversarial", "relativistic"]
    for name, sizes in {"straight": [1], "changing": [4, 2, 1]}.items():
        out = tmp_path / name
        status, _, err = run(sizes[0], *words, "--steps", 2, *([2] if len(sizes) > 1 else [4]), "--out", out)
        assert status == 0, err
        for i, size in enumerate(sizes[1:], 3):
            status, _, err = run(size, "train", "--resume", out, "--steps", 2, i)
            assert status == 0, err
    (straight, about), (changing, also) = (state_of(tmp_path / name) for name in ("straight", "changing"))
    assert about == also  # the same crops and noise
    for name, array in straight.items():
        if name.startswith("generator."):  # Adam makes much of a rounding in its first steps, up to the rate in each
            assert np.allclose(changing[name], array, atol=1e-3), name


@pytest.mark.parametrize("size, dies", [(2, 1), (4, 0)])
def test_a_rank_that_is_killed_ends_the_run_which_can_be_resumed(size, dies, tmp_path, small):
    out = tmp_path / "run"
    process = start(size, *small, "--steps", 3, 100_000, "--out", out)
    pids = pids_of(process, size)
    wait_for_rows(out, 4)
    os.kill(pids[dies], signal.SIGKILL)
    status, _, err = ended(process)
    assert status != 0 and err
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    status, _, err = run(2 if size == 4 else 1, "train", "--resume", out, "--steps", 3, 4)
    assert status == 0, err
    assert [(row["stage"], row["step"]) for row in rows_of(out)][-1] == ("gan", "4")


@pytest.mark.parametrize("asked", [0, 1])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(asked, tmp_path, small):
    out = tmp_path / "run"
    process = start(2, *small, "--steps", 100_000, 1, "--out", out)
    pids = pids_of(process, 2)
    wait_for_rows(out, 2)
    os.kill(pids[asked], signal.SIGTERM)
    status, _, err = ended(process)
    assert status == 128 + signal.SIGTERM, err
    assert err.count("saving after this step") == 1 and err.count("interrupted") == 1
    _, about = state_of(out)
    assert about["step"] == int(rows_of(out)[-1]["step"]) > 2  # nothing is lost


CTRL_C = """
import os, signal
from minisrgan.ranks.mpi import Mpi
signal.signal(signal.SIGINT, signal.default_int_handler)
begun = Mpi.{method}
def interrupted(self, *args):
    os.kill(os.getpid(), signal.SIGINT)
    return begun(self, *args)
Mpi.{method} = interrupted
"""


@pytest.mark.parametrize("method, expected", [("__init__", 130), ("meet", 0)])
def test_ctrl_c_while_mpi_starts_or_ends_is_no_crash(method, expected, tmp_path, small):
    out = tmp_path / "run"
    status, _, err = run(2, *small, "--steps", 1, 1, "--out", out, patch=CTRL_C.format(method=method))
    assert status == expected, err
    assert err.count("interrupted") == (expected == 130) and "Traceback" not in err
    assert (out / "generator.safetensors").exists() == (expected == 0)


QUICKER = """
loop.look = lambda *args: [30.0, 30.0]
"""


@pytest.mark.skipif(cpu_problem() is not None, reason=str(cpu_problem()))
def test_on_a_gpu_the_messages_go_by_nccl(tmp_path, small):
    """On the stand-ins for CuPy and NCCL, which is all that there is of GPUs here."""
    path = f"{ROOT / 'tests' / 'acts_like_cupy'}{os.pathsep}{ROOT}"
    words = [*small, "--device", "cuda", "--precision", "float32", "--steps", 1, 1]
    for name, size in {"one": 1, "two": 2}.items():
        more = ["--sync-batch-norm", "--regulariser", "instance-noise", "--out", tmp_path / name]
        status, out, err = run(size, *words, *more, patch=QUICKER, PYTHONPATH=path)
        assert status == 0, err
    assert "no CUDA graph: several ranks exchange their gradients in each step" in out + err
    compare_rows(tmp_path / "one", tmp_path / "two")


FAILS = """
import os
import minisrgan.cli.ranks, minisrgan.ranks.mpi
from minisrgan.training.ranked import RankTrainer
minisrgan.cli.ranks.GRACE = 0.5
step = RankTrainer.update
def update(self, *args, **kwargs):
    minisrgan.ranks.mpi.PATIENCE = 2 if self.step > 1 else 60  # which is not for the beginning
    if self.ranks.rank == int(os.environ["FAILS"]) and self.step == 2:
        {failure}
    return step(self, *args, **kwargs)
RankTrainer.update = update
"""


SPOILS = """
from minisrgan.training import ranked
sample = ranked.RankTrainer.sample_hr
def sample_hr(self, crops):
    hr = sample(self, crops)
    once = self.step == 3 and not self.rollbacks and self.ranks.rank == 1
    return hr * float("nan") if once else hr
ranked.RankTrainer.sample_hr = sample_hr
"""


def test_a_number_that_is_not_finite_on_one_rank_takes_all_back(tmp_path, small):
    out = tmp_path / "run"
    status, _, err = run(2, *small, "--steps", 6, 1, "--on-nan", "rollback", "--out", out, patch=SPOILS)
    assert status == 0, err
    assert err.count("step 4 of stage pretrain: loss_pixel is nan") == 1
    assert [(row["step"], row["rollbacks"]) for row in rows_of(out)][-1] == ("1", "1")


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_one_rank_ends_all_with_one_line(rank, tmp_path, small):
    patch = FAILS.format(failure="raise MemoryError")
    status, _, err = run(2, *small, "--steps", 9, 1, "--out", tmp_path / "run", patch=patch, FAILS=str(rank))
    assert status == 2
    line = "minisrgan: out of memory: try a smaller preset or photo"
    assert err.count(line.replace(": ", ": rank 1: ", 1) if rank else line) == 1
    assert "Traceback" not in err


def test_a_rank_that_is_stuck_is_given_up(tmp_path, small):
    patch = FAILS.format(failure="__import__('time').sleep(1000)")
    status, _, err = run(2, *small, "--steps", 9, 1, "--out", tmp_path / "run", patch=patch, FAILS="1")
    assert status == 2
    assert "minisrgan: no answer from the others in 0.0333333 minutes: one of them is stuck" in err


@pytest.mark.parametrize(
    "words, line",
    [
        (["train", "--batch", "3"], "3 crops a step cannot be shared equally by 2 ranks"),
        (["doctor"], "doctor is for one process"),
        (["upscale", "nothing.png", "-o", "-"], "stdin and stdout are for one process"),
    ],
)
def test_a_mistake_is_said_once(words, line, tmp_path):
    status, _, err = run(2, *words, *(["--out", tmp_path / "run"] if words[0] == "train" else []))
    assert status == 2
    assert len([each for each in err.splitlines() if each.startswith("minisrgan: ")]) == 1 and line in err


def test_ranks_that_differ_are_refused(tmp_path, small, photo_folder):
    begin = [str(MPIEXEC)]
    for device in ("numpy", "numpy", "cpu"):
        words = [*small, "--steps", 1, 1, "--batch", 3, "--device", device, "--out", tmp_path / "run"]
        begin += ["-n", "1", *command(1, *words), ":"]
    ran = subprocess.run(begin[:-1], env=environment(), capture_output=True, text=True, timeout=LONGEST)
    if "no C++ compiler" in ran.stderr:
        pytest.skip("no C++ compiler for the device cpu")
    assert ran.returncode == 2
    assert "minisrgan: rank 2 has another device than rank 0: cpu, not numpy" in ran.stderr
    assert not (tmp_path / "run").exists()


def test_without_mpi4py_one_line_says_what_to_install(tmp_path):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ModuleNotFoundError('no mpi4py')\n")
    paths = f"{tmp_path}{os.pathsep}{ROOT}"
    status, out, err = run(2, "train", "--out", tmp_path / "run", PYTHONPATH=paths)
    assert (status, out) == (2, "")
    assert err.count("started as 2 ranks, but mpi4py is not installed: pip install mpi4py mpich") == 1


def test_a_process_alone_does_not_import_mpi4py(photo_folder):
    program = "import sys; from minisrgan.cli.main import main; main(['losses', '--help'])"
    ran = subprocess.run(
        [sys.executable, "-c", f"try: {program}\nexcept SystemExit: pass\nassert 'mpi4py' not in sys.modules"],
        env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


# ---- A folder's photos, shared out -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, smooth_photo):
    """Five photos, one of them in a folder within, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "within").mkdir(parents=True)
    for i, name in enumerate(["a.png", "b.png", "c.png", "d.png", "within/a.png"]):
        Image.fromarray(smooth_photo(40 + 9 * i, 80 - 5 * i, seed=i)).save(folder / name)
    (folder / "broken.png").write_bytes(b"nothing")
    return folder


def files_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_upscale_shares_out_a_folder(tmp_path, folder, generator_file):
    said, found = [], []
    for size in (1, 2):
        out = tmp_path / str(size)
        status, stdout, err = run(size, "upscale", folder, "-o", out, "--weights", generator_file)
        assert status == 1, err  # one failed
        said.append((stdout.replace(str(out), "out"), [line for line in err.splitlines() if "broken" in line]))
        found.append(files_in(out))
    assert len(found[0]) == 5 and found[0] == found[1]
    assert said[0] == said[1]


def test_evaluate_shares_out_a_folder(tmp_path, folder, generator_file):
    said, found = [], []
    for size in (1, 2):
        out = tmp_path / str(size)
        words = ["--weights", generator_file, "--csv", out / "figures.csv", "--save", out / "images"]
        status, stdout, err = run(size, "evaluate", folder, *words)
        assert status == 0, err
        said.append(stdout.replace(str(out), "out"))
        found.append((files_in(out / "images"), (out / "figures.csv").read_text()))
    assert said[0] == said[1] and "mean of 5" in said[0] and "broken.png" in said[0]
    assert found[0] == found[1] and len(found[0][0]) == 15
