"""The lessons' machinery: documents, runs, exercises, verdicts and the command, on a lesson made for these tests."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lessons.__main__ import wrapped
from lessons.course.document import (
    LESSONS,
    REPOSITORY,
    Lesson,
    cells,
    excerpt_matches,
    excerpts,
    source_of,
    with_outputs,
)
from lessons.course.examine import examine
from lessons.course.exercises import solved, stub
from lessons.course.run import picture_difference, same_output

README = """# 1. A lesson

```python
x = 2
print("x is", x / 3)
```

```text output
x is 0.667
```

```console
$ python -m lessons list
```

```python
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(2, 2))
axes.plot([1, x, 0])
figure.savefig("images/line.png")
```

```py source=minisrgan/errors.py:ShapeError
class ShapeError(MinisrganError, ValueError):
    # ...
```
"""
SOLUTION = '''"""Double."""


def double(x):
    """2x."""
    # >>> Return twice x
    return 2 * x
    # <<<


def half(x):
    # >>> Return half of x
    y = 0.5 * x
    return y
    # <<<
'''
CHECK = """
import numpy as np
from lessons.course.checking import check_function

def check(exercise):
    check_function(exercise.double, lambda x: x + x, {"three": (np.array([1.0, -2.0, 5.0]),)})
    check_function(exercise.half, lambda x: x / 2, {"one": (4.0,)})
"""


@pytest.fixture
def place(tmp_path):
    """A repository with the machinery and one lesson."""
    shutil.copytree(LESSONS, tmp_path / "lessons", ignore=shutil.ignore_patterns("[0-9]*", "__pycache__", "progress*"))
    folder = tmp_path / "lessons" / "01_double"
    (folder / "images").mkdir(parents=True)
    for name, text in [("README.md", README), ("solution.py", SOLUTION), ("check.py", CHECK)]:
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "hints.md").write_text("## Idea\none\n\n## Formula\ntwo\n\n## Nearly code\n\n    three\n")
    return tmp_path


@pytest.fixture
def lesson(place):
    return Lesson(place / "lessons" / "01_double")


@pytest.fixture
def command(place):
    """A function that runs `python -m lessons ...` there: (exit status, stdout, stderr)."""

    def run(*words):
        ran = subprocess.run([sys.executable, "-m", "lessons", *words], cwd=place, capture_output=True, text=True)
        assert "Traceback" not in ran.stderr or words[0] == "run"
        return ran.returncode, ran.stdout, ran.stderr

    return run


# ---- Documents ----------------------------------------------------------------------------------------


def test_cells_and_their_outputs():
    (first, shown), (second, none) = cells(README)
    assert first.text.startswith("x = 2") and shown.text == "x is 0.667\n" and none is None
    assert README.splitlines()[first.line - 1] == "x = 2" and "plt" in second.text


def test_outputs_are_put_in():
    made = with_outputs(README, ["new\nlines\n", "unshown\n"])
    assert made == README.replace("x is 0.667\n", "new\nlines\n")


def test_sources_by_name():
    assert source_of(REPOSITORY / "minisrgan/errors.py", "ShapeError").startswith("class ShapeError(")
    assert source_of(REPOSITORY / "minisrgan/ops/conv.py", "Conv2d.forward").startswith(("def ", "@"))
    assert source_of(REPOSITORY / "minisrgan/device/source.py", "SCALARS").startswith("SCALARS = {")
    launch = REPOSITORY / "minisrgan/device/launch.py"
    assert source_of(launch, "find_kernel").startswith("@functools.cache\ndef find_kernel")
    kernel = source_of(REPOSITORY / "kernels/channels.cu", "prelu_forward")
    assert "__global__" in kernel.splitlines()[0] and kernel.endswith("}\n") and kernel.count("\n}") == 1
    for path, name in [("minisrgan/errors.py", "Nothing"), ("kernels/channels.cu", "nothing")]:
        with pytest.raises(ValueError, match="has no"):
            source_of(REPOSITORY / path, name)


def test_excerpts():
    ((fence, path, name),) = excerpts(README)
    assert (path, name) == ("minisrgan/errors.py", "ShapeError")
    assert excerpt_matches(fence.text, source_of(REPOSITORY / path, name))


@pytest.mark.parametrize(
    "excerpt", ["a\nb\nc\nd", "a\n# ...\nd", "# ...\nd", "a\n    # ...", "a\n# ...\nc\n# ...", "# ..."]
)
def test_an_excerpt_may_leave_out(excerpt):
    assert excerpt_matches(excerpt, "a\nb\nc\nd")


@pytest.mark.parametrize(
    "excerpt", ["a\nb\nc", "b\nc\nd", "a\nc\nd", "a\n# ...\nc", "a\n# ...\nd\n# ...\nc\n# ...", "A\n# ..."]
)
def test_an_excerpt_may_not_differ(excerpt):
    assert not excerpt_matches(excerpt, "a\nb\nc\nd")


# ---- Runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("a 0.6667", "a 0.667"),
        ("1.02e-05", "1.00e-05"),
        ("(2, 3)", "(2,  3)\n"),
        ("-0.1", "0.0"),
        ("103.0 dB", "100.0 dB"),
    ],
)
def test_outputs_may_differ_by_little(printed, shown):
    assert same_output(printed, shown)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [("3", "2"), ("103", "100"), ("(2, 3)", "(2, 4)"), ("0.7", "0.5"), ("b 1", "a 1"), ("1 2", "1"), ("1e-5", "1e-3"),
     ("nan", "1.0")],
)  # fmt: skip
def test_outputs_may_not_differ_by_much(printed, shown):
    assert not same_output(printed, shown)


def draw(path, numbers, title="title"):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3))
    axes = figure.subplots()
    axes.plot(numbers)
    axes.set_title(title)
    figure.savefig(path)
    return path


def test_pictures_are_compared_by_what_they_show(tmp_path):
    one = draw(tmp_path / "one.png", [1, 3, 2])
    assert picture_difference(one, draw(tmp_path / "same.png", [1, 3.01, 2])) < 0.02
    assert picture_difference(one, draw(tmp_path / "other.png", [1, 2, 3])) > 0.02
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "small.png")
    assert picture_difference(one, tmp_path / "small.png") == 1


def test_a_run_is_checked_and_written(command, lesson):
    status, printed, said = command("run", "1", "--check")
    assert status == 1 and printed == "x is 0.6666666666666666\n" and "line.png: drawn by the lesson, but not" in said
    assert command("run", "1", "--write")[0] == 0
    assert (lesson.folder / "images" / "line.png").is_file()
    assert "x is 0.6666666666666666\n```" in lesson.readme.read_text()
    assert command("run", "1", "--check")[0] == 0

    draw(lesson.folder / "images" / "line.png", [1])
    draw(lesson.folder / "images" / "old.png", [1])
    lesson.readme.write_text(lesson.readme.read_text().replace("0.66666", "0.56666"))
    status, _, said = command("run", "1", "--check")
    assert status == 1
    for words in (
        "README.md:9: the cell prints",
        "line.png: 100.0% of the picture",
        "old.png: the lesson does not draw",
    ):
        assert words in said


def test_a_plain_run_leaves_the_lesson_as_it_is(command, place, lesson):
    before = lesson.readme.read_text()
    assert command("run", "1")[0] == 0
    assert lesson.readme.read_text() == before and not list((lesson.folder / "images").iterdir())
    assert (place / "runs" / "lessons" / "01_double" / "line.png").is_file()


def test_a_cell_that_fails_names_its_line(command, lesson):
    lesson.readme.write_text(README.replace("axes.plot([1, x, 0])", "axes.plot([1, y, 0])"))
    status, printed, said = command("run", "1", "--write")
    line = 1 + README[: README.index("axes.plot")].count("\n")
    assert status == 1 and f'README.md", line {line}' in said and "NameError" in said
    assert "lessons/course/run.py" not in said
    assert "0.667\n" in lesson.readme.read_text()  # as it was


# ---- Exercises ----------------------------------------------------------------------------------------


def test_a_stub_asks_for_what_the_solution_has():
    assert stub(SOLUTION) == (
        '"""Double."""\n\n\ndef double(x):\n    """2x."""\n    # TODO: Return twice x\n'
        '    raise NotImplementedError("Return twice x")\n\n\ndef half(x):\n    # TODO: Return half of x\n'
        '    raise NotImplementedError("Return half of x")\n'
    )
    assert "# >>>" not in solved(SOLUTION) and "    y = 0.5 * x\n    return y\n" in solved(SOLUTION)
    assert stub("{\n    // >>> Add\n    a += b;\n    // <<<\n}\n") == "{\n    // TODO: Add\n}\n"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (solved(SOLUTION), None, ""),
        (stub(SOLUTION), "unfinished", "TODO"),
        (stub(SOLUTION) + "\n", "unfinished", "Return twice x, line 7"),
        (solved(SOLUTION).replace("2 * x", "3 * x"), "constant factor", "1.5 times"),
        (
            solved(SOLUTION).replace("2 * x", "2 * y"),
            "error",
            "NameError: name 'y' is not defined, line 6: `return 2 * y`",
        ),
        (solved(SOLUTION).replace("2 * x", "2 * (x"), "syntax", "line 6"),
        (solved(SOLUTION).replace("def half", "def third"), "error", "half"),
        (solved(SOLUTION).replace("return 2", "import os; os._exit(3); return 2"), "error", "status 3"),
        (solved(SOLUTION).replace("return 2", "raise SystemExit; return 2"), "error", "SystemExit"),
        (solved(SOLUTION).replace("return 2", "import os; os.abort(); return 2"), "crash", "SIGABRT"),
    ],
)
def test_verdicts(lesson, text, kind, said):
    lesson.exercise.write_text(text)
    verdict = examine(lesson, lesson.exercise)
    assert verdict.kind == kind and said in verdict.message


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
def test_an_exercise_in_another_encoding_is_named_and_kept(command, lesson, encoding):
    text = (solved(SOLUTION) + "# größer\n").encode(encoding)
    command("start", "1")
    lesson.exercise.write_bytes(text)
    status, _, said = command("check")
    assert status == 2 and "exercise.py: is not saved as UTF-8" in said and "Traceback" not in said
    command("reset", "1")
    assert (lesson.folder / "exercise-1.py").read_bytes() == text


def test_the_mark_that_some_editors_write_is_no_mistake(lesson):
    lesson.exercise.write_text(solved(SOLUTION) + "# größer\n", encoding="utf-8-sig")
    assert examine(lesson, lesson.exercise).kind is None


def test_a_loop_without_end_is_ended(lesson):
    lesson.exercise.write_text("while True:\n    pass\n")
    assert examine(lesson, lesson.exercise, patience=2).kind == "timeout"


# ---- The command --------------------------------------------------------------------------------------


def test_code_is_not_broken_where_a_message_is_wrapped():
    code = "`sum += a[row  + r] * b[k]  // a comment-line`"
    for before in range(1, 99):
        lines = wrapped(f"{'.' * before} reads {code}, and that is all.").split("\n")
        assert sum(code in line for line in lines) == 1 and all(len(line) <= 100 for line in lines)
    assert wrapped(f"so: `{'+ ' * 60}1`; and `") == f"  so:\n  `{'+ ' * 60}1`;\n  and `"


def test_from_start_to_passed(command, lesson):
    assert "A lesson" in command("list")[1]
    status, printed, _ = command("start", "1")
    assert status == 0 and "lessons/01_double/exercise.py" in printed
    assert lesson.exercise.read_text() == stub(SOLUTION)
    status, printed, _ = command("check")
    assert status == 1 and "checking lessons/01_double/exercise.py" in printed and "unfinished" in printed
    for n, name in enumerate(["idea", "formula", "nearly code", "nearly code"], 1):
        said = command("hint")[1]
        assert f"hint {min(n, 3)} of 3, {name}" in said
        assert name != "nearly code" or "\n    three\n" in said  # as indented as it was written
    lesson.exercise.write_text(solved(SOLUTION))
    assert command("solution", "1")[1] == solved(SOLUTION)
    status, printed, _ = command("check")
    assert status == 0 and "passed" in printed
    printed = command("progress")[1]
    assert "1 of 1 passed" in printed and "(solution seen)" in printed
    assert "passed" in command("list")[1]
    status, _, said = command("check")
    assert status == 2 and "no exercise is open" in said
    assert command("check", "1")[0] == 0


def test_what_was_written_is_never_lost(command, lesson):
    command("start", "1")
    lesson.exercise.write_text("mine")
    assert "go on" in command("start", "1")[1] and lesson.exercise.read_text() == "mine"
    assert "exercise-1.py" in command("reset", "1")[1]
    assert lesson.exercise.read_text() == stub(SOLUTION)
    lesson.exercise.write_text("mine too")
    command("reset", "1")
    assert (lesson.folder / "exercise-1.py").read_text() == "mine"
    assert (lesson.folder / "exercise-2.py").read_text() == "mine too"
    command("reset", "1")  # a file that is as new is not kept
    assert not (lesson.folder / "exercise-3.py").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["start", "7"], "there is no lesson 7, only 1 to 1"),
        (["check"], "no exercise is open"),
        (["check", "1"], "exercise.py does not exist yet: python -m lessons start 1"),
        (["hint"], "no exercise is open"),
        (["run", "9"], "there is no lesson 9"),
        (["start", "one"], "invalid int"),
        (["fly"], "invalid choice"),
    ],
)
def test_mistakes_in_the_command_are_said(command, words, said):
    status, _, printed = command(*words)
    assert status == 2 and said in printed


def test_a_damaged_progress_file_is_named_and_kept(command, place):
    path = place / "lessons" / "progress.json"
    for damaged in ('{"01_double": ', "[]", '{"01_double": 3}'):
        path.write_text(damaged)
        status, _, said = command("list")
        assert status == 2 and "progress.json cannot be read" in said
        assert path.read_text() == damaged


def test_progress_is_kept_in_a_file(command, place):
    command("start", "1")
    command("check")
    done = json.loads((place / "lessons" / "progress.json").read_text())
    assert done["01_double"]["attempts"] == 1 and "started" in done["01_double"]


def test_the_doctor(command):
    status, printed, _ = command("doctor")
    assert status == 0 and "device" in printed and "lessons       1 in lessons" in printed
