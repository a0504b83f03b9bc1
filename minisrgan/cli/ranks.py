"""A command that mpiexec has started as several ranks."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable

from ..errors import MinisrganError
from ..ranks.launch import Place, share_machine
from .console import one_line

SHARED = ("train",)  # the commands whose work several ranks share
GRACE = 5.0  # seconds in which the others may come to an end too, before one that has failed ends them


def run_as_rank(
    place: Place, parse: Callable[[], argparse.Namespace], attempt: Callable[[argparse.Namespace], tuple]
) -> int:
    """Run a command on this rank. Returns its exit status.

    Rank 0 alone prints. Another rank prints only why it has failed, unless all have failed, as they do by a mistake in
    the options: then rank 0 says it. A rank that has failed by itself ends all: they would wait for it for ever.
    """
    errors = sys.stderr
    if place.rank:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
    args = parse()
    if args.command not in SHARED:
        print(f"minisrgan: {args.command} is for one process: start it without mpiexec", file=sys.stderr)
        return 2
    share_machine(place)
    from ..ranks.mpi import Mpi

    try:
        ranks = args.ranks = Mpi(place)
    except MinisrganError as error:
        print(f"minisrgan: {one_line(error)}", file=sys.stderr)
        return 2
    try:
        status, problem = attempt(args)
    except BaseException:
        status, problem = 1, traceback.format_exc()
    if problem and not place.rank:
        print(problem, file=sys.stderr)
    if ranks.meet(*[GRACE] if problem else []):
        return status
    if problem and place.rank:
        said = problem.removeprefix("minisrgan: ")
        print(f"\nminisrgan: rank {place.rank}: {said}", file=errors)  # below rank 0's progress bar
    for stream in (sys.stdout, sys.stderr, errors):
        stream.flush()
    ranks.abort(status or 1)
    return status or 1
