"""The plan of the house, held to: a room imports only from rooms below it, and the evening's files stand alone."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import minisrgan

PACKAGE = Path(minisrgan.__file__).parent
FLOORS = [  # from the top; rooms of one floor may use each other
    ["__main__"],
    ["cli"],
    ["studies"],
    ["training"],
    ["upscaling", "exporting"],
    ["weights"],
    ["device"],  # which registers itself with the formulas below
    ["models", "ranks"],
    ["regularisers"],
    ["nn", "optim", "losses", "check", "measures"],
    ["tensor", "ops"],
    ["pages"],
    ["imaging"],
    ["files", "progress"],
    ["arrays", "in_place"],
    ["errors", "names", "nvidia", "__init__"],
]
HEIGHT = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = {  # what a room may import from elsewhere, besides Python's own library and NumPy
    "cli": {"matplotlib", "PIL", "cupy"},
    "studies": {"matplotlib", "PIL", "torch", "cupy"},
    "training": {"matplotlib", "PIL", "tensorboardX"},
    "exporting": {"safetensors"},
    "weights": {"safetensors", "h5py"},
    "pages": {"PIL"},
    "ranks": {"mpi4py", "cupy"},
    "imaging": {"PIL", "pillow_heif", "pillow_jxl"},
    "progress": {"tqdm"},
    "arrays": {"cupy"},
    "device": {"cupy"},
}
EVENING = """arrays tensor in_place ops check nn optim losses regularisers models/generator models/discriminator
    models/vgg training/trainer training/adversary training/config training/shares names""".split()  # fits one evening
MACHINES = "device upscaling studies cli".split()  # what the evening does without
LINES = 2500  # of the evening, without blank ones


def texts_of_any_encoding(tree):
    """The lines where a text is read or written in whatever encoding the system has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            opens = isinstance(node.func, ast.Name) and name == "open" and "b" not in ast.unparse(node.args[1:])
            said = {each.arg for each in node.keywords}
            if (opens or name in ("read_text", "write_text")) and "encoding" not in said:
                yield node.lineno


def test_texts_are_read_and_written_in_utf8():
    files = [*sources(), *sorted((PACKAGE.parent / "lessons").rglob("course/**/*.py")), PACKAGE.parent / "install.py"]
    assert len(files) > 80
    found = {f"{path.name}:{n}" for path in files for n in texts_of_any_encoding(ast.parse(path.read_bytes()))}
    assert not found


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(room, None) for each import within the package, (None, package) for each from outside."""
    here = ("minisrgan", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((None, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield None, node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            target = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
            target = [part for part in target if part][1:]
            yield from ((target[0] if target else alias.name, None) for alias in node.names)


def test_every_room_has_its_floor():
    assert {room_of(path) for path in sources()} == set(HEIGHT)


def test_rooms_import_only_from_below():
    upward = [
        f"{path.relative_to(PACKAGE)} imports {room}"
        for path in sources()
        for room, _ in imports(path)
        if room in HEIGHT and HEIGHT[room] > HEIGHT[room_of(path)]
    ]
    assert not upward


def test_the_outside_comes_in_at_few_doors():
    strangers = [
        f"{path.relative_to(PACKAGE)} imports {package}"
        for path in sources()
        for _, package in imports(path)
        if package and package not in sys.stdlib_module_names | {"numpy"} | OUTSIDE.get(room_of(path), set())
    ]
    assert not strangers


# ---- The evening -----------------------------------------------------------------------------------------


def files_of(names):
    """The files of rooms and of parts of rooms, by their names."""
    for name in names:
        path = PACKAGE / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_the_evening_is_one():
    lines = {path: sum(map(bool, map(str.strip, path.read_text(encoding="utf-8").splitlines()))) for path in
             files_of(EVENING)}  # fmt: skip
    assert sum(lines.values()) <= LINES, {str(path.relative_to(PACKAGE)): n for path, n in lines.items()}


def test_the_evening_imports_no_machine():
    for path in files_of(EVENING):
        assert not {room for room, _ in imports(path)} & {*MACHINES}, path


STEPS = """
import numpy as np
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.generator import GeneratorConfig
from minisrgan.training.config import Stage, TrainConfig
from minisrgan.training.trainer import Trainer
from minisrgan.imaging.patches import PhotoSet

models = GeneratorConfig(channels=4, blocks=1, edge_kernel=3), DiscriminatorConfig(channels=2, dense=4, crop=16)
config = TrainConfig(*models, batch=2, pretrain=Stage(1, 1e-3), gan=Stage(1, 1e-3), regulariser="label-smoothing")
pixels = np.random.default_rng(0).integers(256, size=(3, 24, 24, 3), dtype=np.uint8)
photos = PhotoSet([(f"photo {i}", each) for i, each in enumerate(pixels)], 4, 16)
trainer = Trainer(config, photos, "numpy")
before = trainer.generator.state()
print(trainer.pretrain_step()["loss_g"])
trainer.start_stage("gan")
print(trainer.gan_step()["loss_d"])
assert all((before[name] != array).any() for name, array in trainer.generator.state().items() if "weight" in name)
"""


def test_the_evening_trains_on_numpy_alone_without_the_machines(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "minisrgan", ignore=shutil.ignore_patterns(*MACHINES, "__pycache__"))
    environment = {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", STEPS], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert all(float(line) > 0 for line in ran.stdout.split())
