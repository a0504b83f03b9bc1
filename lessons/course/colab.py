"""Sets up a lesson in a notebook, on Colab or elsewhere: each notebook's first cell calls `set_up`.

It runs before anything is installed, so at first it uses only the standard library.
"""

import importlib
import importlib.metadata as metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from minisrgan.nvidia import cupy_extra, cupy_requirement, nvidia_gpu

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"numpy": "numpy", "PIL": "pillow", "matplotlib": "matplotlib", "skimage": "scikit-image"}  # module: package
SESSION = "MINISRGAN_LESSON"  # the lesson that this session was set up for
PATIENCE = 300  # seconds for CuPy to compute a few numbers

# A CuPy that does not suit the driver can still be imported. Only a computation, a kernel and a matrix product show it.
PROBE = """
import cupy, numpy
twice = cupy.RawKernel('extern "C" __global__ void twice(float *x) { x[blockIdx.x * 32 + threadIdx.x] *= 2; }', "twice")
x = cupy.arange(96, dtype=cupy.float32)
twice((3,), (32,), (x,))
assert (x.get() == 2 * numpy.arange(96)).all(), "a kernel gives wrong numbers"
assert float((x.reshape(1, 96) @ cupy.ones((96, 1), cupy.float32))[0, 0]) == 96 * 95, "a product is wrong"
"""


class SetupError(Exception):
    """The set-up cannot go on. The message says why, and what to do about it."""


def set_up(lesson):
    """Install missing packages, choose the device, and change to the folder of a lesson, such as "01_derivatives"."""
    install(missing(project()["dependencies"]))
    device, why = choose_device()
    importlib.import_module("minisrgan.device")  # the kernels, for all cells
    os.environ["MINISRGAN_DEVICE"] = device
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(ROOT) not in paths:  # so that `python -m lessons check` finds the lessons from any folder
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, paths)])
    folder = ROOT / "lessons" / lesson
    os.chdir(folder)
    print(f"device: {device} ({why})")
    print(f"folder: {folder}")
    if os.environ.get(SESSION) != lesson:  # otherwise an existing exercise is this notebook's own
        keep_exercise(lesson)
    os.environ[SESSION] = lesson


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# ---- Packages -----------------------------------------------------------------------------------------


def missing(requirements):
    """The requirements that are not installed, or only in a version that they do not allow."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return requirements
    wanted = []
    for text in requirements:
        requirement = Requirement(text)
        try:
            if not requirement.specifier.contains(metadata.version(requirement.name), prereleases=True):
                wanted.append(text)
        except metadata.PackageNotFoundError:
            wanted.append(text)
    return wanted


def install(requirements):
    if not requirements:
        return
    print(f"installing {', '.join(requirements)}", flush=True)
    pip("install", *requirements)
    importlib.invalidate_caches()
    old = [name for name, package in LOADED.items() if name in sys.modules and is_old(name, package)]
    if old:
        raise SetupError(
            f"this session has loaded an older {', '.join(old)} than was installed now: restart the session (on Colab: "
            "Runtime, Restart session), then run this cell again"
        )


def is_old(name, package):
    return sys.modules[name].__version__ != metadata.version(package)


def pip(*arguments):
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode:
        raise SetupError(f"pip {' '.join(arguments)} failed: {last_line(ran.stdout)}")


def last_line(text):
    return (text.strip().splitlines() or ["it printed nothing"])[-1]


# ---- The device ---------------------------------------------------------------------------------------


def choose_device():
    """(the device, why): cuda if there is a GPU and a CuPy that works on it. CuPy is installed if need be."""
    gpu = nvidia_gpu()
    if not gpu:
        return without_gpu("no NVIDIA GPU was found; on Colab: Runtime, Change runtime type")
    extra = cupy_extra(*gpu)
    if not extra:
        return without_gpu("the GPU's driver is older than CUDA 12")
    problem = cupy_problem()
    if problem:
        print(f"CuPy does not work here ({problem})", flush=True)
        try:
            replace_cupy(extra)
        except SetupError as error:
            return without_gpu(f"no CuPy: {error}")
        problem = cupy_problem()
    if problem:
        return without_gpu(f"CuPy does not work: {problem}")
    return "cuda", "a computation and a kernel gave the right numbers"


def without_gpu(why):
    """(the device, why) without a GPU: the kernels on the CPU, or NumPy if no compiler is found."""
    from minisrgan.device import PROBLEMS

    problem = PROBLEMS["cpu"]()
    return ("numpy", f"{why}; no cpu: {problem}") if problem else ("cpu", why)


def cupy_problem():
    """Why CuPy does not work, or None. It is tried in another process, since this one can import CuPy only once."""
    try:
        ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"no answer in {PATIENCE} s"
    return last_line(ran.stderr) if ran.returncode else None


def replace_cupy(extra):
    """Install the CuPy that pyproject.toml's extra names, in place of any other."""
    requirement = cupy_requirement(ROOT, extra)
    others = {name for each in metadata.distributions() if (name := each.metadata["Name"] or "").startswith("cupy")}
    if others:
        pip("uninstall", "--yes", *sorted(others))
    print(f"installing {requirement}: more than 1 GB, this can take minutes", flush=True)
    pip("install", requirement)
    importlib.invalidate_caches()


# ---- The exercise -------------------------------------------------------------------------------------


def keep_exercise(name):
    """Rename the learner's exercise.py, if there is one: the notebook will write its own."""
    from .document import Lesson
    from .exercises import reset

    lesson = Lesson(ROOT / "lessons" / name)
    if any(lesson.folder.glob("solution.*")) and (kept := reset(lesson)):
        print(f"{lesson.exercise.name} is new; the one that was here is now {kept.name}")
