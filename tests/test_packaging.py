"""pyproject.toml, requirements.txt, the Makefile and the files that they name agree with each other."""

import importlib
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_requirements_are_the_dependencies_and_the_test_extra():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert sorted(listed) == sorted(PROJECT["dependencies"] + EXTRAS["test"])


def test_the_advice_on_cupy_is_the_extras():
    advice = (ROOT / "requirements.txt").read_text()
    for extra in ("cuda12", "cuda13"):
        (requirement,) = EXTRAS[extra]
        assert f'pip install "{requirement}"' in advice


def test_the_console_script_is_a_function():
    module, _, name = PROJECT["scripts"]["minisrgan"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_oldest_python_is_the_installers():
    from install import OLDEST

    assert PROJECT["requires-python"] == ">={}.{}".format(*OLDEST)


def test_the_licence_is_what_pyproject_says():
    assert PROJECT["license"] == "MIT"
    licence, notice = ((ROOT / name).read_text(encoding="utf-8") for name in PROJECT["license-files"])
    assert licence.startswith("MIT License\n") and PROJECT["authors"][0]["name"] in licence
    assert "VGG19" in notice and "Creative Commons Attribution" in notice


def test_format_is_held_to_one_minor_version():
    (ruff,) = (each for each in EXTRAS["test"] if each.startswith("ruff"))
    least, most = map(int, re.fullmatch(r"ruff>=0\.(\d+),<0\.(\d+)", ruff).groups())
    assert most == least + 1


def test_before_a_commit_ruff_looks_as_make_lint_does():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for command in ("ruff check", "ruff format"):
        assert f"entry: .venv/bin/python -m {command}" in hooks and f"$(BIN)/python -m {command}" in MAKEFILE


# ---- The Makefile -------------------------------------------------------------------------------------

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_target_says_what_it_does():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    assert re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE) == phony


def test_make_lists_its_targets_by_purpose():
    if not shutil.which("make"):
        pytest.skip("no make")
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    groups = dict(re.findall(r"^(\w.*)\n((?:  make .*\n)+)", listed, re.MULTILINE))
    groups = {heading: re.findall(r"  make ([a-z-]+) ", lines) for heading, lines in groups.items()}
    assert [*groups] == ["Everyday", "Checks", "Lessons and pages", "Maintenance"]
    assert sum(groups.values(), []) == re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
    assert {"setup", "demo", "quick", "test"} <= {*groups["Everyday"]}


def test_what_make_names_is_there():
    paths = re.findall(r"(?<![\w./-])((?:tests|minisrgan|lessons)/[\w/.-]+|install\.py)", MAKEFILE)
    assert len(paths) > 4 and [path for path in paths if not (ROOT / path).exists()] == []
    assert (ROOT / "lessons" / re.search(r"^QUICK_LESSON = (\w+)$", MAKEFILE, re.MULTILINE)[1]).is_dir()


def test_a_type_checker_of_another_project_sees_our_types():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "py.typed" in data["minisrgan"] and (ROOT / "minisrgan" / "py.typed").is_file()
