"""Style and types: what `make lint` checks, and that every public function says what it takes and gives."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECKS = ["ruff check", "ruff format --check", "pyrefly check"]
SOURCES = [*sorted((ROOT / "minisrgan").rglob("*.py")), ROOT / "install.py"]
FORMULAS = ("forward", "vjp")  # of an Op: class Op (tensor.py) says once what they take and give


@pytest.mark.parametrize("check", CHECKS)
def test_the_style(check):
    tool = check.split()[0]
    if not importlib.util.find_spec(tool):
        pytest.skip(f"{tool} is not installed")
    ran = subprocess.run([sys.executable, "-m", *check.split()], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def public_functions(body, inside=""):
    """(name, node) of each function and method whose name does not begin with an underscore, and of each __init__."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from public_functions(node.body, f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield inside + node.name, node


def without_types(node, method):
    """What of a function is not annotated: parameters by name, and "its result"."""
    listed = [*node.args.posonlyargs, *node.args.args]
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list)
    listed = listed[1:] if method and not static else listed
    stars = [each for each in (node.args.vararg, node.args.kwarg) if each]
    missing = [each.arg for each in [*listed, *node.args.kwonlyargs, *stars] if each.annotation is None]
    return missing + ["its result"] * (node.returns is None and node.name != "__init__")


def is_formula(name, node):
    """Whether it is an Op's forward or vjp, which has no self."""
    first = [each.arg for each in node.args.args[:1]]
    return name.rpartition(".")[2] in FORMULAS and first != ["self"]


def test_public_functions_have_types():
    found = [
        f"{path.relative_to(ROOT)}: {name}: {', '.join(missing)}"
        for path in SOURCES
        for name, node in public_functions(ast.parse(path.read_text(encoding="utf-8")).body)
        if not is_formula(name, node) and (missing := without_types(node, "." in name))
    ]
    assert not found, "\n".join(found)
