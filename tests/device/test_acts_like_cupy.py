"""What a GPU would be asked first, on a stand-in for CuPy: acts_like_cupy/README.md tells what that is.

Each in a process of its own, which believes that there is a GPU.
"""

import csv
import inspect
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisrgan.device.cpu import cpu_problem

TESTS = Path(__file__).resolve().parents[1]
STAND_IN = TESTS / "acts_like_cupy"
pytestmark = pytest.mark.skipif(cpu_problem() is not None, reason=str(cpu_problem()))
KERNEL_TESTS = [
    f"device/test_kernels_{name}.py" for name in ("conv", "conv_mma", "elementwise", "matmul", "batch_norm")
]
KERNEL_TESTS.append("device/test_mma.py")
KERNEL_TESTS.append("lessons/test_lesson_6_steps.py")
TOO_LONG = "not the_kernels_are_the_definitions and not winograd_is_the_definition and not three_faces"


def on_stand_in(*arguments, cwd=TESTS.parent, device="cuda", precision="tf32", **variables):
    """What a Python with these arguments says, where `cupy` is the stand-in. It must end well."""
    path = os.pathsep.join([str(STAND_IN), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "MINISRGAN_DEVICE": device, "OMP_NUM_THREADS": "1"}
    environment |= {"MINISRGAN_PRECISION": precision} | variables
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, *map(str, arguments)]
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, f"{command} ended with {ran.returncode}:\n{ran.stdout[-6000:]}\n{ran.stderr[-6000:]}"
    return ran.stdout


def minisrgan(*arguments, **where):
    return on_stand_in("-m", "minisrgan", *arguments, **where)


def logged(run):
    return list(csv.DictReader((run / "log.csv").read_text().splitlines()))


def snippet(text):
    return on_stand_in("-c", text)


@pytest.mark.parametrize("tests", KERNEL_TESTS)
def test_the_kernels_tests(tests):
    said = on_stand_in("-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS / tests, "-k", TOO_LONG)
    assert " passed" in said


def test_a_training_goes_through_both_stages_and_on_and_its_generator_is_used(tmp_path, smooth_photo):
    """Its losses are those of the CPU's kernels, which sum in another order."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.fromarray(smooth_photo(72, 80, seed=i)).save(photos / f"{i}.png")
    small = ["--preset", "tiny", "--batch", "2", "--crop", "32", "--data", photos]
    losses = []
    for device in ("cuda", "cpu"):
        run = tmp_path / device
        minisrgan(
            "train", *small, "--steps", "2", "1", "--out", run, "--device", device, device=device, precision="3xtf32"
        )
        losses.append([float(row["loss_g"]) for row in logged(run)])
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*losses, rtol=1e-3)

    minisrgan("train", "--resume", tmp_path / "cuda", "--steps", "2", "2", "--device", "cuda")
    assert len(logged(tmp_path / "cuda")) == 4

    weights = ["--weights", tmp_path / "cuda" / "generator.safetensors"]
    enlarged = []
    for device in ("cuda", "cpu"):
        out = tmp_path / f"{device}.png"
        minisrgan("upscale", photos / "0.png", "-o", out, *weights, "--device", device, device=device)
        enlarged.append(np.asarray(Image.open(out)).astype(int))
    assert enlarged[0].shape == (288, 320, 3)
    assert abs(enlarged[0] - enlarged[1]).max() <= 1
    assert "1.png" in minisrgan("evaluate", photos, *weights, "--device", "cuda", cwd=tmp_path)


@pytest.fixture
def gpu_sh(tmp_path):
    """A function that runs benchmarks/gpu.sh: (its exit status, {step: exit code}, the folder of its results).

    The commands of `scripts`, {name: text}, are found before any others.
    """

    def run(scripts, **variables):
        for name, text in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        path = os.pathsep.join([str(STAND_IN), os.environ.get("PYTHONPATH", "")])
        variables |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": path, "OUT": tmp_path / "out"}
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in variables.items()}
        script = TESTS.parent / "benchmarks" / "gpu.sh"
        ran = subprocess.run([script], env=environment, capture_output=True, text=True)
        (results,) = (tmp_path / "out").iterdir()
        table = (results / "steps.txt").read_text().splitlines()[1:]
        assert "\n".join(table) in ran.stdout
        codes = [re.match(r"([\w -]*?) +(?:exit +(\d+)|skipped)", line).groups() for line in table]
        return ran.returncode, {name: code and int(code) for name, code in codes if name != "nvidia-smi"}, results

    return run


PROFILERS = dict.fromkeys(["ncu", "compute-sanitizer"], 'while [ "${1#--}" != "$1" ]; do shift 2; done; exec "$@"')
ASKED = ["doctor", "compile", "kernels", "gradcheck", "bench", "ncu", "sanitizer", "races", "compiled", "lesson-6"]
TRAINED = ["train", "stage-1", "stage-2", "upscale", "pack generator", "pack pretrain", "log"]


def test_the_quarter_of_an_hour_goes_on_after_steps_that_fail(gpu_sh):
    """Each step is a Python that does nothing. Those of gradcheck and train fail."""
    nothing = 'echo "$@ on $MINISRGAN_DEVICE, pool $MINISRGAN_GPU_POOL"\n[ "$3" != gradcheck -a "$3" != train ]'
    status, codes, results = gpu_sh(PROFILERS | {"python": nothing}, PYTHON="python")
    assert status == 1
    assert codes == dict.fromkeys(ASKED + TRAINED, 0) | {"gradcheck": 1, "train": 1}
    assert "-k written or empty on cuda, pool off" in (results / "said.txt").read_text()


def test_the_quarter_of_an_hour_on_toy_sizes(gpu_sh, tmp_path, smooth_photo):
    for folder in ("data", "test"):
        (tmp_path / folder).mkdir()
        for i in range(2):
            Image.fromarray(smooth_photo(40, 44, seed=i)).save(tmp_path / folder / f"{i}.png")
    sizes = {"QUICK": "1", "DATA": tmp_path / "data", "TEST": tmp_path / "test", "MINUTES": "0.001 0.001"}
    status, codes, results = gpu_sh(PROFILERS, PYTHON=sys.executable, **sizes)
    said = (results / "said.txt").read_text()
    assert all(words in said for words in ("GPU           none, a stand-in", " passed, 0 failed", "2 ways of 1 files"))
    assert (status, codes) == (0, dict.fromkeys(ASKED + TRAINED, 0)), said
    assert results.name.startswith("none-a-stand-in-20")
    assert {path.name for path in results.iterdir()} == {
        "steps.txt", "said.txt", "bench.json", "bench-compiled.json", "bench-roofline.png", "bench-timeline.png",
        "generator.safetensors", "training.tgz"}  # fmt: skip
    assert json.loads((results / "bench.json").read_text())["device"] == "cuda"
    with tarfile.open(results / "training.tgz") as archive:
        names = archive.getnames()
    assert {"config.json", "log.csv", "generator-pretrain.safetensors", "curves.png", "upscaled.png"} <= {*names}


# ---- Is the stand-in as strict as CuPy? --------------------------------------------------------------


@pytest.mark.parametrize(
    "expression, error",
    [
        ("x + np.ones(3)", "TypeError"),
        ("np.ones(3) * x", "TypeError"),
        ("x == np.ones(3)", "TypeError"),
        ("cupy.where(np.ones(3, bool), x, 0)", "TypeError"),
        ("cupy.where(x > 0, np.ones(3), 0)", "TypeError"),
        ("cupy.concatenate([x, np.ones(3)])", "TypeError"),
        ("cupy.matmul(x, np.ones(3))", "TypeError"),
        ("cupy.take_along_axis(x, np.zeros(3, int), axis=0)", "TypeError"),
        ("np.asarray(x)", "TypeError"),
        ("list(map(np.asarray, x))", "TypeError"),
        ("x.__setitem__(slice(0, 2), np.ones(2))", "ValueError"),
        ("range(x.sum())", "TypeError"),
        ("np.array(5.0)[x.sum()]", "(TypeError, IndexError)"),
        ("cupy.array(['a'])", "TypeError"),
    ],
)
def test_what_cupy_refuses_is_refused(expression, error):
    snippet(f"""
import cupy, numpy as np
x = cupy.ones(3)
try:
    {expression}
except {error}:
    pass
else:
    raise SystemExit("not refused")
""")


def test_what_cupy_does_is_done():
    snippet("""
import cupy, numpy as np
x = cupy.asarray(np.arange(6.0).reshape(2, 3))
assert np.array_equal((2 * x.T[1:] - np.float64(1)).get(), 2 * np.arange(6.0).reshape(2, 3).T[1:] - 1)
assert float(np.linalg.norm(x)) == np.linalg.norm(np.arange(6.0))  # dispatched to cupy.linalg
x[0] = 7
view = x[0, 1]
assert view.shape == () and view.base is x and x.T[1:].base is x
assert np.isnan(cupy.empty(3).get()).all()
before = cupy._array.COUNT["synchronisations"]
x.sum(), x.max() > 2
assert cupy._array.COUNT["synchronisations"] == before
assert x.sum().item() == 33.0 and f"{x.sum():.1f}" == "33.0"
assert cupy._array.COUNT["synchronisations"] == before + 2
assert (1 * cupy.asarray(np.float32(1e-40))).get() == 0 < (1 * cupy.asarray(1e-40)).get()
assert cupy.asarray(np.float32(1e-40)).copy().get() > 0
""")


FILL = """extern "C" __global__ void fill(real *x, int n) {
#ifdef CPU
#error "as on a GPU"
#endif
    for (int i = 0; i < n; ++i) x[i] = 1;
}"""


@pytest.mark.parametrize(
    "sizes, n, said",
    [
        ("1, 1, 1, 2048, 1, 1, 0", 3, "invalid argument"),
        ("0, 1, 1, 1, 1, 1, 0", 3, "invalid argument"),
        ("1, 1, 1, 1, 1, 1, 10**5", 3, "invalid argument"),
        ("1, 1, 1, 1, 1, 1, 0", 4, "wrote beyond an array"),
        ("1, 1, 1, 1, 1, 1, 0", 3, "ends well: [1.0, 1.0, 1.0]"),
    ],
)
def test_a_kernel_is_launched_as_on_a_gpu(sizes, n, said):
    assert said in snippet(f"""
import ctypes, cupy, numpy as np
f = cupy.RawModule(code={FILL!r}, options=("-std=c++17", "-Dreal=float")).get_function("fill")
x = cupy.empty(3, np.float32)
slots = np.array([x.data.ptr, {n}])
table = np.array([slots.ctypes.data, slots.ctypes.data + 8])
try:
    cupy.cuda.driver.launchKernel(f.kernel.ptr, {sizes}, 0, table.ctypes.data, 0)
    slots[:] = 0  # the driver has its own copy of the arguments
    print("ends well:", x.tolist())
except Exception as error:
    print(type(error).__name__, error)
""")


def test_its_signatures_are_cupys():
    """Every parameter that the stand-in has, CuPy has too, by the same name and in the same order."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed: nothing to compare the stand-in with")
    listed = snippet("""
import cupy, inspect, json
own = lambda thing: inspect.isfunction(thing) and thing.__name__ not in ("call", "forwards", "<lambda>")
names = {name: thing for name, thing in vars(cupy).items() if name[0] != "_" and own(thing)}
names |= {f"ndarray.{name}": thing for name, thing in vars(cupy.ndarray).items() if name[0] != "_" and own(thing)}
names["RawModule"] = cupy.RawModule
skip = ("only_ours", "by_numpy", "fresh", "own", "wrap", "ufunc", "memories", "store", "copy_from_host", "matmul")
print(json.dumps({n: list(inspect.signature(t).parameters) for n, t in names.items() if n not in skip}))
""")
    for name, parameters in json.loads(listed).items():
        theirs = cupy
        for part in name.split("."):
            theirs = getattr(theirs, part)
        try:
            signature = inspect.signature(theirs)
        except (ValueError, TypeError):  # compiled, without a signature: that it's there has been seen
            continue
        there = [each for each in signature.parameters if each != "self"]
        if there == ["args", "kwargs"]:
            continue
        here = [each for each in parameters if each != "self"]
        assert here == [each for each in there if each in here], f"{name}: {here}, CuPy has {there}"
