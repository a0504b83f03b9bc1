"""The lessons' links, site and notebooks, and the set-up of a notebook on Colab."""

import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lessons.course import colab
from lessons.course.document import REPOSITORY, Lesson, find_lessons
from lessons.course.site import links, outputs
from lessons.course.site.markdown import anchors, change_links, slug
from lessons.course.site.markdown import links as links_of

HAS_SITE = all(map(importlib.util.find_spec, ("sphinx", "myst_nb", "jupytext", "furo", "math_core")))
needs_site = pytest.mark.skipif(not HAS_SITE, reason="the site extra is not installed: pip install -e '.[site]'")
HEADER = """<!--
---
jupyter:
  kernelspec:
    display_name: Python 3
    language: python
    name: python3
---
-->

"""
SOLUTION = '''"""The task."""


def f(x):
    # >>> Double it
    return 2 * x
    # <<<
'''


# ---- Links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", links.documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_relative_link_leads_somewhere(path):
    assert links.local_problems(path) == []


def test_links_are_found_in_prose_alone():
    text = """# A
[one](a.md) and `[not](b.md)` and $\\mathbb{E}[x](y)$, ![two
words](c.png "title") [![three](d.png)](e.md#x) <https://f.org/g> [h]

```py
[not](i.md)
```

<img src="j.png"> [h]: not

[h]: k.md
"""
    found = ["a.md", "c.png", "e.md#x", "d.png", "https://f.org/g", "j.png", "k.md"]
    assert [link.target for link in links_of(text)] == found
    assert links_of(text)[-1].line == 11
    assert change_links("a [`b`](c) $[d](e)$", lambda *link: "|".join(link)) == "a |`b`|c $[d](e)$"


@pytest.mark.parametrize(
    "heading, anchor",
    [("The game", "the-game"), ("1. What's *that*?", "1-whats-that"), ("`a_b` and σ(z) – why", "a_b-and-σz--why"),
     ("[A](b.md) C", "a-c")],
)  # fmt: skip
def test_anchors_are_githubs(heading, anchor):
    assert slug(heading) == anchor


def test_a_heading_that_comes_again_has_a_number():
    assert anchors('# A\n## A\n```sh\n# B\n```\n<a id="c"></a>') == {"a", "a-1", "c"}


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](#here) [b](#there)\n[c](gone.md) [d](../out.md) [e](page.md#nowhere)")
    found = links.local_problems(page, tmp_path)
    assert [problem.split(": ")[1] for problem in found] == ["#there", "gone.md", "../out.md", "page.md#nowhere"]


@pytest.fixture
def server():
    """The address of a server that knows one page, and refuses HEAD for another."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response({"/here": 200, "/shy": 200, "/busy": 429}.get(self.path, 404))
            self.end_headers()

        def do_HEAD(self):
            self.send_response(405 if self.path == "/shy" else 404 if self.path == "/gone" else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_external_links_are_asked(server):
    assert links.external_problem(f"{server}/here") is None
    assert links.external_problem(f"{server}/shy") is None
    assert links.external_problem(f"{server}/busy") is None
    assert "404" in links.external_problem(f"{server}/gone")
    server_that_is_not = "http://127.0.0.1:9"
    assert "refused" in links.external_problem(server_that_is_not).lower()


# ---- The site -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A repository with two lessons that have everything a lesson may have."""
    root = tmp_path_factory.mktemp("sample")
    (root / "lessons" / "01_derivatives" / "images").mkdir(parents=True)
    (root / "lessons" / "02_engine").mkdir()
    (root / "README.md").write_text("# The project\n\n## Two commands\n\n[Mathematics](docs/mathematics.md)\n")
    (root / "docs").mkdir()
    page = "# The mathematics\n\n[Back](../README.md)\n\n## The grid\n\n![Losses](losses.png)\n\n[all](../lessons)\n"
    (root / "docs" / "mathematics.md").write_text(page)
    shutil.copytree(REPOSITORY / "kernels", root / "kernels")
    readme = root / "kernels" / "README.md"  # the lesson that it names is not here
    readme.write_text(re.sub(r"\]\(\.\./lessons/[^)]*\)", "](README.md)", readme.read_text()))
    for name in ("benchmarks", "minisrgan", "pyproject.toml", "docs/losses.png", "docs/modes.png"):
        (root / name).symlink_to(REPOSITORY / name)
    for path in (REPOSITORY / "lessons").glob("*.py"):
        shutil.copy(path, root / "lessons")
    course = Path("lessons", "course")
    shutil.copytree(REPOSITORY / course, root / course, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "lessons" / "README.md").write_text("# Lessons\n\n[The first](01_derivatives/README.md#the-idea)\n")
    folder = root / "lessons" / "01_derivatives"
    shutil.copy(REPOSITORY / "docs" / "losses.png", folder / "images" / "error.png")
    folder.joinpath("README.md").write_text(HEADER + SAMPLE)
    folder.joinpath("solution.py").write_text(SOLUTION)
    second = "# 2. An autodiff engine\n\nText.\n\n[← 1. Derivatives](../01_derivatives/README.md)\n"
    (root / "lessons" / "02_engine" / "README.md").write_text(HEADER + second)
    return root


SAMPLE = r"""# 1. Derivatives

A first sentence, and $D(x) = \sigma(z)$, a formula.

*About 4 minutes to read, 1 second to run.*

## The idea

$$
f'(x) = \frac{f(x+h) - f(x-h)}{2h}
$$

```python
print("the answer is", 42)
```

```text output
the answer is 42
```

```python
path = "images/error.png"
```

![Two curves
that cross](images/error.png)

*A caption with $h$ and [a link](../02_engine/README.md).*

```py source=minisrgan/losses.py:PixelL1.forward
def forward(sr, hr):
    # ...
```

```cuda source=kernels/channels.cu:prelu_forward
extern "C" __global__ void prelu_forward(const real *x) {}
```

```console
python -m lessons start 1
```

See [the losses](../../minisrgan/losses.py), [the models](../../minisrgan/models/), [the
mathematics](../../docs/mathematics.md#the-grid), [commands](../../README.md#two-commands),
[numbers](../../pyproject.toml), [all lessons](../), [kernels](../../kernels), [measured](../../benchmarks),
[weights](../../minisrgan/weights/tiny-stage1.safetensors).

![Another](../../docs/modes.png)

[All lessons](../README.md) · [2. An autodiff engine →](../02_engine/README.md)
"""


def build(root, to):
    """Build a site in a process of its own, as `make site` does: (what it says, its folder)."""
    command = "import sys; from lessons.course.site.build import build; sys.exit(build(*sys.argv[1:], run=False))"
    made = subprocess.run([sys.executable, "-c", command, to, root], cwd=REPOSITORY, capture_output=True, text=True)
    return made.returncode, made.stdout + made.stderr


@pytest.fixture(scope="module")
def sample_site(sample, tmp_path_factory):
    to = tmp_path_factory.mktemp("site")
    status, said = build(sample, to)
    assert status == 0, said
    return to / "html"


@needs_site
def test_the_site_of_the_lessons_is_built_without_a_warning(tmp_path):
    assert build(REPOSITORY, tmp_path) == (0, "")
    for lesson in find_lessons():
        assert (tmp_path / "html" / "lessons" / f"{lesson.name}.html").exists()
        assert (tmp_path / "html" / "notebooks" / f"{lesson.name}.ipynb").exists()


@needs_site
def test_a_lessons_page_shows_everything_once(sample_site):
    page = (sample_site / "lessons" / "01_derivatives.html").read_text()
    assert page.count("the answer is 42") == 1 and "text output" not in page
    assert page.count("<figure") == 1 and page.count('alt="Two curves that cross"') == 1
    assert "[All lessons]" not in page and "About 4 minutes" in page
    assert r"\sigma(z)" in page and r"\frac{f(x+h)" in page
    assert 'class="together"' in page, "a comma after a formula may begin a line"


@needs_site
def test_links_to_sources_lead_to_the_line(sample_site):
    page = (sample_site / "lessons" / "01_derivatives.html").read_text()
    lines = (REPOSITORY / "minisrgan" / "losses.py").read_text().splitlines()
    line = lines.index("    def forward(sr, hr):", lines.index("class PixelL1(Loss):")) + 1
    assert f'"../sources/minisrgan/losses.py.html#L-{line}"' in page
    assert '"../sources.html#folder-minisrgan-models"' in page
    assert '"../sources.html#folder-benchmarks"' in page and "tiny-stage1.safetensors" in page
    assert '"../docs/mathematics.html#the-grid"' in page and '"../project.html#two-commands"' in page
    assert '"../kernels/index.html"' in page
    assert '<span id="L-1">' in (sample_site / "sources" / "pyproject.toml.html").read_text()


@needs_site
def test_the_pages_about_the_project_are_in_the_sidebar_and_lead_to_each_other(sample_site):
    page = (sample_site / "docs" / "mathematics.html").read_text()
    assert 'href="../project.html"' in page and 'href="../index.html"' in page and "losses.png" in page
    assert 'href="docs/mathematics.html"' in (sample_site / "project.html").read_text()
    sidebar = (sample_site / "index.html").read_text().partition("sidebar-tree")[2].partition("</aside>")[0]
    assert all(f'href="{name}.html"' in sidebar for name in ("project", "docs/mathematics", "kernels/cpu", "sources"))


@needs_site
def test_every_page_about_the_project_is_on_the_site():
    from lessons.course.site.pages import PROJECT

    here = {path.relative_to(REPOSITORY).as_posix() for path in links.documents()}
    assert {name for name in here if not name.startswith("lessons/")} == set(PROJECT)


@needs_site
def test_the_site_has_all_that_it_loads(sample_site):
    assert links.site_problems(sample_site) == []
    assert (sample_site / "_static" / "tex-svg.js").exists()
    index = (sample_site / "searchindex.js").read_text()
    assert "lessons/01_derivatives" in index


@needs_site
@pytest.mark.parametrize(
    "text, said",
    [("$x_{$ is wrong", "not LaTeX"), (r"$\thickspace$", "MathJax has no"),
     ("[a](gone.md)", "no such file"), ("[a](../README.md#no)", "no such heading")],
)  # fmt: skip
def test_a_fault_stops_the_site(sample, tmp_path, text, said):
    root = tmp_path / "root"
    shutil.copytree(sample, root, symlinks=True)
    with (root / "lessons" / "02_engine" / "README.md").open("a") as file:
        file.write(f"\n{text}\n")
    status, words = build(root, tmp_path / "site")
    assert status != 0 and said in words


def test_what_no_fence_shows_is_run_for_once(tmp_path, monkeypatch):
    folder = tmp_path / "01_times"
    folder.mkdir()
    code = "```python\nprint(1)\n```\n\n```text output\none\n```\n\n```python\nprint(2)\n```\n"
    (folder / "README.md").write_text(f"# 1. Times\n\n{code}")
    monkeypatch.setattr(outputs, "KEPT", tmp_path / "kept")
    lesson = Lesson(folder)
    assert outputs.outputs(lesson, run=False) == ["one\n", ""]
    assert outputs.outputs(lesson) == ["one\n", "2\n"]
    monkeypatch.setattr(outputs, "execute", lambda *args: pytest.fail("it was run already"))
    assert outputs.outputs(lesson, run=False) == outputs.outputs(lesson) == ["one\n", "2\n"]


def test_problems_of_a_site_are_found(tmp_path):
    text = '<a id="x" href="#x"></a><a href="#y"></a><a href="gone.html"></a><script src="https://cdn.org/a.js">'
    (tmp_path / "index.html").write_text(text)
    found = sorted(problem.partition(": ")[2] for problem in links.site_problems(tmp_path))
    assert found == ["#y: there is no such anchor", "gone.html: there is no such file", "loads https://cdn.org/a.js"]


# ---- Notebooks ----------------------------------------------------------------------------------------


@needs_site
@pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.name)
def test_a_lesson_is_a_valid_notebook(lesson):
    from lessons.course.site.notebooks import notebook

    made = notebook(lesson)  # it is validated there
    ids = [cell.id for cell in made.cells]
    assert len(set(ids)) == len(ids) and ids[:2] == ["title", "set-up"] and ids[-3:] == ["exercise", "check", "hint"]
    assert json.dumps(made) == json.dumps(notebook(lesson)), "not the same each time"
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert "](images/" not in text and "](../" not in text and "text output" not in text


@needs_site
def test_a_notebook_has_what_it_needs(sample):
    from lessons.course.site.notebooks import notebook

    made = notebook(find_lessons(sample / "lessons")[0], sample)
    source = {cell.id: cell.source for cell in made.cells}
    assert source["title"].startswith("# 1. Derivatives\n") and 'LESSON = "01_derivatives"' in source["set-up"]
    assert source["exercise"].startswith('%%writefile exercise.py\n"""The task."""')
    assert "# TODO: Double it" in source["exercise"]
    assert source["check"] == '!"{sys.executable}" -m lessons check 1'
    prints, draws = [cell for cell in made.cells if cell.cell_type == "code"][1:3]
    assert prints.outputs[0].text == "the answer is 42\n"
    assert draws.source.endswith('\ndisplay(Image("images/error.png"))') and "image/png" in draws.outputs[0].data
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert "![Another](data:image/png;base64," in text and "the losses (`minisrgan/losses.py`)" in text
    assert "`minisrgan/losses.py`, `PixelL1.forward`:\n\n```python\n" in text


@needs_site
def test_an_address_makes_links_of_the_sources(sample, tmp_path):
    from lessons.course.site.notebooks import notebook

    root = tmp_path / "root"
    shutil.copytree(sample, root, symlinks=True)
    settings = (root / "pyproject.toml").read_text().replace('repository = ""', 'repository = "https://example.org/m"')
    (root / "pyproject.toml").unlink()
    (root / "pyproject.toml").write_text(settings)
    made = notebook(find_lessons(root / "lessons")[0], root)
    assert 'REPOSITORY = "https://example.org/m"' in made.cells[1].source
    assert "[the losses](https://example.org/m/blob/main/minisrgan/losses.py)" in made.cells[-5].source


def run_set_up(sample, here):
    """Run the code of a notebook's first cell in a folder: the finished process."""
    from lessons.course.site.notebooks import notebook

    code = notebook(find_lessons(sample / "lessons")[0], sample).cells[1].source
    code += "\nPath('exercise.py').write_text('written in the notebook')\nset_up(LESSON)  # once more"
    code += "\nimport os; print(os.getcwd(), os.environ['MINISRGAN_DEVICE'])"
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MINISRGAN_DEVICE")}
    return subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, env=environment)


@needs_site
def test_the_first_cell_sets_up(sample, tmp_path):
    if colab.nvidia_gpu():
        pytest.skip("it would install CuPy on a machine with a GPU")
    (tmp_path / "minisrgan").symlink_to(sample)
    exercise = sample / "lessons" / "01_derivatives" / "exercise.py"
    exercise.write_text("mine = True\n")
    ran = run_set_up(sample, tmp_path)
    assert ran.returncode == 0, ran.stderr
    folder, device = ran.stdout.splitlines()[-1].rsplit(" ", 1)
    assert Path(folder) == exercise.parent.resolve() and device in ("cpu", "numpy")
    assert "no NVIDIA GPU was found" in ran.stdout
    assert exercise.with_name("exercise-1.py").read_text() == "mine = True\n" and "exercise-1.py" in ran.stdout
    assert exercise.read_text() == "written in the notebook"


@needs_site
def test_without_a_repository_the_first_cell_says_so(sample, tmp_path):
    ran = run_set_up(sample, tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("RuntimeError: minisrgan is not here: set REPOSITORY")


# ---- CuPy, as Colab may have it -----------------------------------------------------------------------

BROKEN = """
float32 = RawKernel = print
def arange(n, dtype): raise RuntimeError("cudaErrorInsufficientDriver: the driver is too old")
"""
WORKING = """
import numpy
float32 = numpy.float32
class Array(numpy.ndarray):
    def get(self): return numpy.asarray(self)
def arange(n, dtype): return numpy.arange(n, dtype=dtype).view(Array)
def ones(shape, dtype): return numpy.ones(shape, dtype).view(Array)
class RawKernel:
    def __init__(self, code, name): pass
    def __call__(self, grid, block, args): args[0][:] *= FACTOR
"""


@pytest.fixture
def fake_cupy(tmp_path, monkeypatch):
    """A machine whose driver says CUDA 12.4; returns a function that puts a CuPy there."""

    def write(text):
        (tmp_path / "cupy.py").write_text(text)

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(colab, "nvidia_gpu", lambda: (12040, (7, 5)))
    return write


def test_a_cupy_that_works_is_kept(fake_cupy, monkeypatch):
    fake_cupy(WORKING.replace("FACTOR", "2"))
    monkeypatch.setattr(colab, "pip", lambda *args: pytest.fail("nothing was to install"))
    assert colab.choose_device()[0] == "cuda"


@pytest.mark.parametrize(
    "text, said", [(BROKEN, "cudaErrorInsufficientDriver"), (WORKING.replace("FACTOR", "3"), "wrong numbers")]
)
def test_a_cupy_that_imports_but_fails_is_replaced(fake_cupy, monkeypatch, capsys, text, said):
    def pip(*arguments):
        asked.append(arguments)
        fake_cupy(WORKING.replace("FACTOR", "2"))

    asked = []
    fake_cupy(text)
    monkeypatch.setattr(colab, "pip", pip)
    assert colab.choose_device()[0] == "cuda"
    assert asked[-1] == ("install", colab.project()["optional-dependencies"]["cuda12"][0])
    assert said in capsys.readouterr().out


def test_without_a_cupy_that_works_the_cpu_is_left(fake_cupy, monkeypatch):
    fake_cupy(BROKEN)
    monkeypatch.setattr(colab, "pip", lambda *args: None)  # what it installs does not work either
    device, why = colab.choose_device()
    assert device in ("cpu", "numpy") and "cudaErrorInsufficientDriver" in why


def test_what_pip_cannot_install_leaves_the_cpu(fake_cupy, monkeypatch):
    def pip(*arguments):
        raise colab.SetupError("pip install failed: no network")

    fake_cupy(BROKEN)
    monkeypatch.setattr(colab, "pip", pip)
    device, why = colab.choose_device()
    assert device in ("cpu", "numpy") and "no network" in why


def test_what_is_missing_or_too_old_is_installed():
    assert colab.missing(["numpy>=2", "numpy>=99", "no-such-package"]) == ["numpy>=99", "no-such-package"]
    assert colab.missing(colab.project()["dependencies"]) == []


def test_packages_newer_than_loaded_ask_for_a_restart(monkeypatch):
    monkeypatch.setattr(colab, "pip", lambda *args: None)
    colab.install(["numpy>=2"])  # the one that is loaded
    monkeypatch.setattr(colab.metadata, "version", lambda package: "99.0")
    with pytest.raises(colab.SetupError, match="restart the session"):
        colab.install(["numpy>=99"])
