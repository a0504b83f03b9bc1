"""The command `python -m lessons`. Run it in the repository's folder."""

import argparse
import importlib.util
import os
import re
import sys
import textwrap

try:
    from minisrgan.cli.console import console, one_line
    from minisrgan.errors import MinisrganError

    from .course.document import LESSONS, find_lessons
    from .course.exercises import LessonError, Progress, hints, read, reset, solved, start
except ModuleNotFoundError as error:
    sys.exit(f"lessons: {error.name} is not installed for {sys.executable}: make setup, then . .venv/bin/activate")

EXAMPLES = """
begin with:
  python -m lessons start 1
  python -m lessons check
"""


def shown(path):
    """The shortest way to type a path here."""
    return min(os.path.relpath(path), str(path), key=len)


def choose(lessons, number):
    for lesson in lessons:
        if lesson.number == number:
            return lesson
    raise LessonError(f"there is no lesson {number}, only 1 to {len(lessons)}: see python -m lessons list")


def started(lessons, progress, number):
    """The lesson with that number, by default the current one. Raises LessonError if it has no exercise yet."""
    lesson = choose(lessons, number) if number else progress.current(lessons)
    if lesson is None:
        raise LessonError("no exercise is open: python -m lessons start N starts one, check N checks one again")
    if not lesson.exercise.exists():
        problem = f"{shown(lesson.exercise)} does not exist yet"
        raise LessonError(f"{problem}: python -m lessons start {lesson.number} makes it")
    return lesson


# ---- Commands -----------------------------------------------------------------------------------------


def list_command(lessons, progress, args):
    for lesson in lessons:
        done = progress.of(lesson)
        mark = "passed" if "passed" in done else "started" if "started" in done else ""
        print(f"{lesson.number:>3}  {lesson.title:52}{mark}".rstrip())
    print("\nread lessons/NN_name/README.md; python -m lessons start N starts its exercise")


def start_command(lessons, progress, args):
    lesson = choose(lessons, args.number)
    path, new = start(lesson)
    progress.note(lesson, started="now")
    print(f"lesson {lesson.number}: {lesson.title}")
    print(f"  read   {shown(lesson.readme)}")
    print(f"  {'write ' if new else 'go on '} {shown(path)}")
    print(f"  then   python -m lessons check {lesson.number}")


def check_command(lessons, progress, args):
    from .course.examine import examine

    lesson = started(lessons, progress, args.number)
    print(f"checking {shown(lesson.exercise)}", flush=True)
    kind, message = examine(lesson, lesson.exercise)
    done = progress.of(lesson)
    progress.note(lesson, attempts=done["attempts"] + 1, started=done.get("started", "now"))
    if kind:
        print(f"\n{kind}\n{wrapped(message)}\n")
        if done["hints"] < 3:
            print(f"stuck? python -m lessons hint {lesson.number}")
        return 1
    if "passed" not in done:
        progress.note(lesson, passed="now")
    print(f"\nright: lesson {lesson.number}, {lesson.title}, is passed")
    following = next((each for each in lessons if "passed" not in progress.of(each)), None)
    if following:
        print(f"next: python -m lessons start {following.number}")
    return 0


def hint_command(lessons, progress, args):
    lesson = choose(lessons, args.number) if args.number else progress.current(lessons)
    if lesson is None:
        raise LessonError("no exercise is open: name one, python -m lessons hint N")
    given = hints(lesson)
    n = min(progress.of(lesson)["hints"] + 1, len(given))
    progress.note(lesson, hints=n)
    name, text = given[n - 1]
    print(f"hint {n} of {len(given)}, {name.lower()}:\n\n{text}")
    if n < len(given):
        print(f"\nanother one: python -m lessons hint {lesson.number}")
    else:
        print(f"\nthat was the last; python -m lessons solution {lesson.number} shows the solution")


def solution_command(lessons, progress, args):
    lesson = choose(lessons, args.number)
    progress.note(lesson, solution="now")
    print(solved(read(lesson.solution)), end="")


def reset_command(lessons, progress, args):
    lesson = choose(lessons, args.number)
    kept = reset(lesson)
    progress.note(lesson, started="now", attempts=0, hints=0)
    print(f"{shown(lesson.exercise)} is new" + (f"; your code is in {shown(kept)}" if kept else ""))


def progress_command(lessons, progress, args):
    passed = sum("passed" in progress.of(lesson) for lesson in lessons)
    print(f"{passed} of {len(lessons)} passed\n")
    print(f"{'':3}  {'lesson':52}{'attempts':>8}{'hints':>7}   passed")
    for lesson in lessons:
        done = progress.of(lesson)
        note = f"{done.get('passed', '')[:10]:10}{' (solution seen)' if 'solution' in done else ''}"
        counts = f"{done['attempts'] or '':>8}{done['hints'] or '':>7}"
        print(f"{lesson.number:>3}  {lesson.title:52}{counts}   {note}".rstrip())
    print(f"\nkept in {shown(progress.path)}")


def doctor_command(lessons, progress, args):
    from minisrgan.studies.doctor import print_doctor

    status = print_doctor()
    print(f"lessons       {len(lessons)} in {shown(LESSONS)}")
    problem = "" if os.access(LESSONS, os.W_OK) else ", but the folder cannot be written to"
    print(f"progress      {shown(progress.path)}{problem}")
    notebook = importlib.util.find_spec("jupytext") is not None
    missing = "no jupytext here: pip install jupyterlab jupytext opens the lessons as notebooks; nothing else needs it"
    print(f"notebooks     {'jupytext opens the lessons as notebooks' if notebook else missing}")
    return status


def run_command(lessons, progress, args):
    from .course.run import CellError, run

    status = 0
    for lesson in [choose(lessons, args.number)] if args.number else lessons:
        try:
            differences = run(lesson, args.mode)
        except CellError as error:
            differences = [str(error)]
        for each in differences:
            print(f"{shown(lesson.folder)}: {each}", file=sys.stderr)
            status = 1
    return status


def wrapped(text):
    """The text in lines of up to 100 characters. Code in backquotes stays on one line, however long it is."""
    whole = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
    whole = textwrap.fill(
        whole, 100, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return whole.replace("\0", " ")


# ---- The command line ---------------------------------------------------------------------------------

# name: (function, whether a lesson's number is given: "one" always, "may" sometimes, None never; what the command does)
COMMANDS = {
    "list": (list_command, None, "list the lessons, and show which are passed"),
    "start": (start_command, "one", "start a lesson's exercise"),
    "check": (check_command, "may", "check your code, and say what is wrong with it"),
    "hint": (hint_command, "may", "print the next of three hints"),
    "solution": (solution_command, "one", "print the solution"),
    "reset": (reset_command, "one", "start the exercise again; your code is kept under another name"),
    "progress": (progress_command, None, "show what you have done so far"),
    "run": (run_command, "may", "run the code of one lesson, or of all"),
    "doctor": (doctor_command, None, "show what this machine has for the lessons"),
}


def parser():
    parser = argparse.ArgumentParser(
        prog="python -m lessons",
        description="Lists the lessons, and starts and checks their exercises.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=list_command)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (function, number, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        command.set_defaults(function=function, number=None)
        if number:
            default = "default: all" if name == "run" else "default: the one you are at"
            optional = number == "may"
            text = f"the lesson{f' ({default})' if optional else ''}"
            command.add_argument("number", type=int, metavar="N", nargs="?" if optional else None, help=text)
        if name == "run":
            modes = command.add_mutually_exclusive_group()
            modes.add_argument("--check", dest="mode", action="store_const", const="check", default="show",
                               help="compare outputs and pictures with those in the lesson")  # fmt: skip
            modes.add_argument("--write", dest="mode", action="store_const", const="write",
                               help="write outputs and pictures into the lesson")  # fmt: skip
    return parser


def main():
    with console():
        return call(parser().parse_args())


def call(args):
    try:
        return args.function(find_lessons(), Progress(LESSONS / "progress.json"), args) or 0
    except MinisrganError as error:
        print(f"lessons: {one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = f"{error.filename or ''}: {error.strerror or error}"
        print(f"lessons: {one_line(problem)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
