"""The command `minisrgan`. It puts the commands together, and turns their exceptions into one line."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__
from ..errors import MinisrganError, message_of
from ..ranks.launch import place_of
from . import (
    bench,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    gradcheck,
    losses,
    modes,
    pack,
    resources,
    sweep,
    train,
    upscale,
    vgg,
)
from .console import console, one_line
from .ranks import run_as_rank

# Each has `add`, which declares the command and its options, and `run`, which does the work. `run` imports what it
# needs, so that --help and a mistyped option answer at once.
COMMANDS = (
    train,
    upscale,
    export,
    pack,
    evaluate,
    compare,
    gradcheck,
    losses,
    sweep,
    modes,
    demo,
    bench,
    resources,
    vgg,
    doctor,
)


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, as all of minisrgan does."""

    words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"minisrgan: {message} ({help_on(self.words, self.prog)})\n")


def help_on(words: Sequence[str], command: str) -> str:
    """Where to look; before that, what to write for a file whose name was taken for an option."""
    file = next((word for word in words if word.startswith("-") and os.path.isfile(word)), None)
    return (f"for the file {one_line(file)}, write ./{one_line(file)}; " if file else "") + f"see {command} --help"


def build_parser() -> Parser:
    parser = Parser(
        prog="minisrgan",
        description="Learn, check and train a super-resolution GAN, from scratch.",
        epilog="`minisrgan COMMAND --help` shows a command's options and an example.",
    )
    parser.add_argument("--version", action="version", version=f"minisrgan {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command and its options. Exits with status 2 if they are mistaken."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if not args.command:
        names = ", ".join(command.__name__.rpartition(".")[-1] for command in COMMANDS)
        parser.error(f"name a command: {names}")
    if unknown:
        what = one_line(" ".join(unknown))
        parser.exit(2, f"minisrgan: unrecognized arguments: {what} ({help_on(unknown, f'minisrgan {args.command}')})\n")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 done, 1 a check or some of the photos failed, 2 a mistake in what was
    asked or nothing done, 130 interrupted.

    If a signal other than Ctrl-C's stops a training, the exit status is 128 plus the signal's number.
    """
    with console():
        if place := place_of():
            return run_as_rank(place, lambda: parse(argv), attempt)
        return call(parse(argv))


def call(args: argparse.Namespace) -> int:
    status, problem = attempt(args)
    if problem:
        print(problem, file=sys.stderr)
    return status


def attempt(args: argparse.Namespace) -> tuple[int, str | None]:
    """(the exit status, a line for the user if the command failed)."""
    vars(args).setdefault("ranks", None)  # a Communicator, where mpiexec has started several processes
    try:
        return args.run(args) or 0, None
    except BrokenPipeError:
        raise
    except (MinisrganError, OSError, MemoryError) as error:
        problem = message_of(error)
    except KeyboardInterrupt as stopped:
        return 128 + (stopped.args or (2,))[0], "\ninterrupted"  # the signal's number; 2 is Ctrl-C's
    return 2, f"minisrgan: {one_line(problem)}"
