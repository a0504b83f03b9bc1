"""`minisrgan compare`: runs side by side on a page; or the page of one run, anew."""

import argparse
from pathlib import Path

from .options import Commands, add_command, add_device, html, start_device


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "compare",
        run,
        "put runs side by side on a page: photos, figures, curves and settings",
        "minisrgan compare runs/a runs/b -o compare.html",
    )
    add_device(command)
    command.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs; of one alone, its page is made anew")
    command.add_argument(
        "-o",
        "--output",
        type=html,
        metavar="OUT",
        help="the page to write; by default compare.html, or compare-2.html if there is one already; of one run, its "
        "report.html",
    )


def run(args: argparse.Namespace) -> None:
    from ..files import check_own, free_name
    from ..pages.markup import MADE
    from ..studies.compare import compare, report

    def start() -> str:  # only a run of an earlier version is measured
        return start_device(args)

    alone = len(args.runs) == 1
    default = Path(args.runs[0], "report.html") if alone else free_name("compare.html")
    out = args.output or default
    if args.output:
        check_own(out, MADE)
    if alone:
        report(args.runs[0], out, start)
    else:
        compare(args.runs, out, start)
    print(out)
