"""README.md and the pages in docs/ say what the code says."""

import csv
import importlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from test_architecture import EVENING, FLOORS

from lessons.course.document import fences, source_of
from minisrgan.models.architectures import build
from minisrgan.models.discriminator import Discriminator
from minisrgan.training.health import STATES
from minisrgan.training.presets import PRESETS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}


def rows(page, heading):
    """The cells of the first table below a heading of a page, row by row, without its head."""
    text = page.partition(f"\n{heading}\n")[2]
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_the_readme_is_one_screen():
    assert len(README.splitlines()) <= 80


def test_the_readme_leads_to_every_page():
    assert PAGES and all(f"](docs/{name}.md" in README for name in PAGES)


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name)
def test_lines_of_pages_are_no_longer_than_lines_of_code(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > 120 and not re.match(r"\s*\||!\[|\$\$", line)]
    assert long == []


def test_every_command_is_in_the_table(capsys):
    module, _, name = PROJECT["scripts"]["minisrgan"].partition(":")
    with pytest.raises(SystemExit):
        getattr(importlib.import_module(module), name)(["--help"])
    known = re.findall(r"^    ([a-z]+)\b", capsys.readouterr().out.partition("COMMAND\n")[2], re.MULTILINE)
    commands = "\n".join(cells[0] for cells in rows(PAGES["using"], "## The commands"))
    assert set(re.findall(r"minisrgan ([a-z]+)", commands)) == set(known) and known


def test_the_presets_have_the_sizes_of_the_table():
    def count(module):
        return f"{sum(each.data.size for each in module.named_parameters().values()):,}"

    for name, g, d, crops, _ in rows(PAGES["training"], "## The presets"):
        config, rng = PRESETS[name.strip("`")], np.random.default_rng(0)
        assert g.startswith(f"{config.generator.channels} channels, {config.generator.blocks} blocks: ")
        assert re.search(r": ([\d,]+)", g)[1] == count(build(config.generator, rng))
        assert d == count(Discriminator(config.discriminator, rng))
        assert crops == f"{config.batch} of {config.discriminator.crop}×{config.discriminator.crop}"


def test_every_state_of_a_training_is_in_the_table():
    assert {cells[0].strip("`") for cells in rows(PAGES["training"], "## When it goes wrong")} == set(STATES)


def test_the_table_of_the_ring_is_the_measured_one():
    found = {}
    with open(ROOT / "docs" / "modes.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pair = row["adversarial"], row["regulariser"].replace("none", "")
            found.setdefault(pair, []).append((int(row["modes"]), float(row["quality"])))
    means = {pair: np.mean(seeds, axis=0) for pair, seeds in found.items()}
    measured = {pair: [f"{modes:.1f}", f"{100 * quality:.0f} %"] for pair, (modes, quality) in means.items()}
    table = {tuple(cells[:2]): cells[2:] for cells in rows(PAGES["training"], "## Eight Gaussians in a ring")}
    assert table == measured


def test_the_seven_lines_are_the_trainers():
    (lines,) = (fence.text for fence in fences(PAGES["mathematics"]) if "update_discriminator" in fence.text)
    step = source_of(ROOT / "minisrgan" / "training" / "trainer.py", "Trainer.gan_step")
    assert lines.replace("\n", "\n    ").strip() in step


def test_the_code_on_the_pages_runs():
    code = [fence.text for page in PAGES.values() for fence in fences(page) if fence.words == "py"]
    code = [text for text in code if "import" in text]
    assert code
    for text in code:
        exec(text, {})


def test_every_dependency_has_its_reason():
    wanted = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    names = {re.match(r"[\w-]+", each)[0] for each in wanted}
    listed = {name for cells in rows(PAGES["layout"], "## Dependencies") for name in re.split(r"[, ]+", cells[0])}
    assert {re.sub(r"cupy-.*", "cupy", name) for name in names} <= listed


def test_the_map_shows_every_room_from_the_top():
    map_of = PAGES["layout"].partition("## The rooms")[2].partition("\nkernels/ ")[0].splitlines()
    lines = {name: n for n, line in enumerate(map_of) for name in re.findall(r"[\w.]+", line[:28])}
    floors = [[lines.get(room, lines.get(f"{room}.py")) for room in rooms if room[0] != "_"] for rooms in FLOORS]
    places = [place for floor in floors for place in sorted(floor)]
    assert places == sorted(places)


@pytest.mark.parametrize("page", ["README.md", "docs/layout.md"])
def test_the_evening_is_listed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = text.partition("## Read the code in an evening\n")[2].partition("\n## ")[0]
    links = [link.removeprefix("../") for link in re.findall(r"\]\((.*?)\)", text)]
    rooms = {str(Path(link).parent) for link in links} | {*links}
    for name in EVENING:
        path = Path("minisrgan", name)
        assert str(path) in rooms or f"{path}.py" in links or str(path.parent) in links, name
