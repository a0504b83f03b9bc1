"""Every lesson: its form, its excerpts, its code, and its exercise with stub, solution and planted mistakes."""

import functools
import re
import subprocess
import sys
import tempfile

import pytest

from lessons.course.checked_builds import BUILDS, problem
from lessons.course.document import REPOSITORY, excerpt_matches, excerpts, fences, find_lessons, source_of
from lessons.course.examine import examine, load
from lessons.course.exercises import hints, read, solved, stub
from lessons.course.site.links import documents

LESSONS = find_lessons()
every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
SECTIONS = ["What you will be able to do", "The idea", "Exercise", "What to take away", "References"]
WORDS = {"python", "text output", "text", "console", "py", "cuda"}  # of fences that are no excerpts
MISTAKES = [
    pytest.param(lesson, mistake, id=f"{lesson.name}-{i}-{mistake.kind}")
    for lesson in LESSONS
    for i, mistake in enumerate(load(lesson.folder / "mistakes.py", "mistakes").MISTAKES)
]


# ---- Form ---------------------------------------------------------------------------------------------


@every_lesson
def test_a_lesson_has_its_sections(lesson):
    text = without_fences(read(lesson.readme))
    assert re.match(r"<!--\n---\njupyter:\n.*?\n---\n-->\n\n# \d+\. ", text, re.DOTALL), "a notebook's hidden header"
    assert re.findall(r"^# (.*)$", text, re.MULTILINE) == [f"{lesson.number}. {lesson.title}"]
    assert re.search(r"^\*About \d+ minutes to read, \d+ seconds to run\.\*$", text, re.MULTILINE)
    found = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [name for name in found if name in SECTIONS] == SECTIONS
    assert found[:2] == SECTIONS[:2] and found[-3:] == SECTIONS[-3:] and len(found) > 5
    assert len(re.findall(r"arxiv\.org|doi\.org|https?://", text.partition("## References")[2])) or lesson.number == 2


@every_lesson
def test_a_lesson_leads_on(lesson):
    near = [(each, f"{each.number}. {each.title}") for each in LESSONS if abs(each.number - lesson.number) == 1]
    before = [f"[← {name}](../{each.name}/README.md)" for each, name in near if each.number < lesson.number]
    after = [f"[{name} →](../{each.name}/README.md)" for each, name in near if each.number > lesson.number]
    last = read(lesson.readme).rstrip().splitlines()[-1]
    assert last == " · ".join([*before, "[All lessons](../README.md)", *after])


@every_lesson
def test_fences_are_of_known_kinds(lesson):
    for fence in fences(read(lesson.readme)):
        assert fence.words in WORDS or "source=" in fence.words, f"line {fence.line - 1}: ```{fence.words}"
    assert without_fences(read(lesson.readme)).count("```") == 0, "a fence that is not closed"


@every_lesson
def test_pictures_have_words(lesson):
    text = read(lesson.readme)
    shown = re.findall(r"^!\[([^\]]*)\]\(images/([\w-]+\.png)\)\n\n\*(?!\*).*?\*$", text, re.MULTILINE | re.DOTALL)
    assert {name for _, name in shown} == {path.name for path in (lesson.folder / "images").iterdir()}
    assert shown and text.count("![") == len(shown), "a picture without a caption below it"
    assert all(len(alternative) > 30 for alternative, _ in shown)
    assert all(path.stat().st_size < 250_000 for path in (lesson.folder / "images").iterdir())


def without_fences(text):
    for fence in fences(text):
        text = text.replace(f"```{fence.words}\n{fence.text}```", "")
    return text


# ---- Mathematics, as GitHub, Jupyter and MyST can all show it ------------------------------------------


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_mathematics_can_be_shown_everywhere(path):
    assert mathematics_problems(read(path)) == []


def mathematics_problems(text):
    """The problems that GitHub, Jupyter or MyST would have with a page's mathematics, as lines of text."""
    text = re.sub(r"`[^`\n]+`", "", without_fences(text))
    problems = []
    for block in re.findall(r"\$\$.*?\$\$", text, re.DOTALL):
        if not re.search(r"(?:^|\n)\n" + re.escape(block) + r"\n(?:\n|$)", text):
            problems.append(f"no blank line around {block}")
        if re.search(r"^(?:[-+*>#]|=+$)\s", block, re.MULTILINE):
            problems.append(f"a line that Markdown takes for something else in {block}")
    inline = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    for paragraph in inline.split("\n\n"):
        if paragraph.count("$") % 2:
            problems.append(f"a $ without another in {paragraph}")
    for before, formula, after in re.findall(r"(.?)\$([^$]+)\$(.?)", inline, re.DOTALL):
        if formula != formula.strip() or re.match(r"[\w$]", before) or re.match(r"[\w$]", after):
            problems.append(f"spaces within, or none around ${formula}$")
    for formula in re.findall(r"\$+([^$]+)\$+", text):
        if re.search(r"\\[^A-Za-z\s]", formula):
            problems.append(f"a backslash before punctuation in {formula}")
        if re.search(r"\S[<>]|[<>]\S", formula):
            problems.append(f"no space around < or > in {formula}")
        if r"\operatorname" in formula:
            problems.append(rf"\operatorname in {formula}")
    for details in re.findall(r"<details>.*?</details>", text, re.DOTALL):
        if "$" in details:
            problems.append(f"mathematics in {details}")
    return problems


@pytest.mark.parametrize(
    "text",
    [r"a $x\{y$ b", r"a $x\,y$ b", r"a $x<y$ b", r"a $\operatorname{x}$ b", r"a$x$ b", r"a $x$b", r"a $ x$ b", "a $x b",
     "a\n$$\nx\n$$\n", "\n\n$$\n- x\n$$\n\n", "<details>\n\n$x$\n\n</details>"],
)  # fmt: skip
def test_what_would_break_is_found(text):
    assert mathematics_problems(text)


def test_what_would_not_break_passes():
    assert mathematics_problems("If $x < y$, then $f(x)$.\n\n$$\n\\frac{x}{y} = 1\n$$\n\nand `$HOME`\n") == []


# ---- Code and excerpts --------------------------------------------------------------------------------


@every_lesson
def test_excerpts_are_what_the_library_has(lesson):
    for fence, path, name in excerpts(read(lesson.readme)):
        source = source_of(REPOSITORY / path, name)
        assert excerpt_matches(fence.text, source), f"line {fence.line}: {path}:{name} is now\n{source}"


@every_lesson
def test_a_lesson_runs_and_shows_what_it_makes(lesson):
    command = [sys.executable, "-m", "lessons", "run", str(lesson.number), "--check"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


# ---- Exercises ----------------------------------------------------------------------------------------


@functools.cache
def kernels_problem():
    """Why kernels cannot be compiled here, or not with both sanitizers, by which they are judged; None if they can."""
    with tempfile.TemporaryDirectory() as folder:
        return next((found for build in BUILDS if (found := problem(build, folder))), None)


@pytest.fixture
def answer(tmp_path):
    """A function that writes a text into an exercise's file and returns the Verdict on it."""

    def examined(lesson, text):
        if lesson.solution.suffix == ".cu" and (problem := kernels_problem()):
            pytest.skip(problem)
        path = tmp_path / lesson.exercise.name
        path.write_text(text, encoding="utf-8")
        return examine(lesson, path)

    return examined


@every_lesson
def test_the_stub_is_unfinished(lesson, answer):
    text = stub(read(lesson.solution))
    assert "TODO" in text and ">>>" not in text and "<<<" not in text
    assert answer(lesson, text).kind == "unfinished"
    # a TODO that was seen but not done, so that the check itself has to find out
    assert answer(lesson, text.replace("TODO", "to do")).kind is not None


@every_lesson
def test_the_solution_passes(lesson, answer):
    assert answer(lesson, solved(read(lesson.solution))) == (None, "")


@pytest.mark.parametrize(("lesson", "mistake"), MISTAKES)
def test_a_mistake_is_diagnosed(lesson, mistake, answer):
    solution = solved(read(lesson.solution))
    assert solution.count(mistake.text) == 1, "the mistake's text must be once in the solution"
    verdict = answer(lesson, solution.replace(mistake.text, mistake.instead))
    assert verdict.kind == mistake.kind, verdict.message


@every_lesson
def test_there_are_mistakes_and_hints_enough(lesson):
    mistakes = [param.values[1] for param in MISTAKES if param.values[0] == lesson]
    assert len(mistakes) >= 5 and len({each.kind for each in mistakes}) >= 4
    assert [name for name, _ in hints(lesson)] == ["Idea", "Formula", "Nearly code"]
    assert all(len(text) > 40 and "$" not in text for _, text in hints(lesson))


# ---- The page that lists them --------------------------------------------------------------------------

INDEX = REPOSITORY / "lessons" / "README.md"


def test_every_lesson_is_listed():
    row = r"^\| (\d+) \| \[(.*?)\]\((\w+)/README\.md\) \| [^|]{10,} \| [^|]{10,} \|$"
    listed = re.findall(row, read(INDEX), re.MULTILINE)
    assert listed == [(str(lesson.number), lesson.title, lesson.name) for lesson in LESSONS]


def test_the_table_of_equations_names_what_there_is():
    table = read(INDEX).partition("## Where each equation")[2]
    objects = re.findall(r"\[`([\w.]+)`\]\(\.\./(minisrgan/[\w/]+\.py)\)", table)
    assert len(objects) > 10
    for name, path in objects:
        source_of(REPOSITORY / path, name)  # raises ValueError where it is not
    tests = re.findall(r"\[([\w ]+)\]\(\.\./(tests/[\w/]+\.py)\)", table)  # a test's name, in words
    assert len(tests) > 10
    missing = [words for words, path in tests if f"def test_{words.replace(' ', '_')}(" not in read(REPOSITORY / path)]
    assert missing == []
