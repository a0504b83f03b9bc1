"""Builds the site.

    python -m lessons.course.site.build             runs lessons whose outputs are not known yet (make site)
    python -m lessons.course.site.build --no-run    runs none, and shows only outputs that are known

Sphinx's input goes to build/site/pages, the site itself to build/site/html.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from ..document import REPOSITORY
from ..run import CellError
from .links import documents, local_problems, site_problems
from .notebooks import write_notebooks
from .pages import Site


def build(to, root=REPOSITORY, run=True):
    """Build the site; return the exit status, which is 1 for a dead link or any warning of Sphinx."""
    to, root = Path(to), Path(root)
    if report(problem for path in documents(root) for problem in local_problems(path, root)):
        return 1
    for folder in ("pages", "extra", "doctrees", "html"):  # so that nothing stays that was removed from a lesson
        shutil.rmtree(to / folder, ignore_errors=True)
    Site(to / "pages", root).write(run)
    write_notebooks(to / "extra" / "notebooks", root)
    options = ["-b", "html", "-q", "-W", "--keep-going", "-c", str(Path(__file__).parent), "-d", str(to / "doctrees")]
    options += ["-D", f"html_extra_path={to / 'extra'}"]  # the notebooks
    status = build_main([*options, str(to / "pages"), str(to / "html")])
    return status or report(site_problems(to / "html"))


def report(problems):
    """Print the problems; return the exit status."""
    problems = list(problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def main():
    parser = argparse.ArgumentParser(prog="python -m lessons.course.site.build", description="Build the lessons' site.")
    parser.add_argument("--no-run", action="store_true", help="run no lesson")
    to = REPOSITORY / "build" / "site"
    try:
        status = build(to, run=not parser.parse_args().no_run)
    except CellError as error:
        return report([f"a lesson does not run:\n{error}"])
    if status == 0:
        print(f"the site begins at {os.path.relpath(to / 'html' / 'index.html')}")
    return status


if __name__ == "__main__":
    sys.exit(main())
