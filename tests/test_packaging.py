"""pyproject.toml, requirements.txt and what they point at say the same."""

import importlib
import tomllib
from pathlib import Path

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
