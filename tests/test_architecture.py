"""The map of the rooms in the README, held to: a room imports only from rooms below it."""

import ast
import sys
from pathlib import Path

import minisrgan

PACKAGE = Path(minisrgan.__file__).parent
FLOORS = [  # from the top; rooms of one floor may use each other
    ["tools", "__main__"],
    ["upscale"],
    ["training"],
    ["regularisers"],
    ["losses"],
    ["models"],
    ["nn", "optim"],
    ["bands"],
    ["autodiff"],
    ["imaging"],
    ["arrays", "kernels"],
    ["geometry"],
    ["errors", "__init__"],
]
HEIGHT = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = {  # what a room may import from elsewhere, besides Python's own library
    "tools": {"numpy", "PIL", "matplotlib", "tqdm", "cupy", "torch"},
    "models": {"numpy", "safetensors", "h5py"},
    "imaging": {"numpy", "PIL"},
    "arrays": {"numpy", "cupy"},
    "kernels": {"numpy", "cupy"},
}


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
    files = [*sources(), *sorted((PACKAGE.parent / "lessons").glob("*.py"))]
    found = {f"{path.name}:{n}" for path in files for n in texts_of_any_encoding(ast.parse(path.read_bytes()))}
    assert not found


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(room, None) for each import within the package, (None, package) for each from outside."""
    here = ("minisrgan", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
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
