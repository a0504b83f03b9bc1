"""The outputs of a lesson's cells, for the site.

If a `text output` fence follows a cell, it has the output, and a test compares it with what the cell prints. To get the
outputs of other cells (times, for example), the lesson is run, once for each version of its code. They are kept in
build/outputs.
"""

import hashlib
import json

from ..document import REPOSITORY, cells
from ..run import execute, scratch_place

KEPT = REPOSITORY / "build" / "outputs"


def outputs(lesson, run=True):
    """One text for each cell, in order.

    Without `run`, an output that no fence shows is "", unless it was kept before.
    """
    found = cells(lesson.readme.read_text(encoding="utf-8"))
    if any(prints_unshown(*each) for each in found):
        printed = kept_outputs(lesson, found) or (run_and_keep(lesson, found) if run else [""] * len(found))
    else:
        printed = [""] * len(found)
    return [shown.text if shown else text for (_, shown), text in zip(found, printed, strict=True)]


def prints_unshown(cell, shown):
    return shown is None and "print(" in cell.text


def version(found):
    return hashlib.sha256("\0".join(cell.text for cell, _ in found).encode()).hexdigest()


def kept_outputs(lesson, found):
    path = KEPT / f"{lesson.name}.json"
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["version"] == version(found):
            return record["printed"]
    return None


def run_and_keep(lesson, found):
    print(f"running lesson {lesson.number}", flush=True)
    with scratch_place(lesson) as place:
        printed = list(execute(lesson, place))
    KEPT.mkdir(parents=True, exist_ok=True)
    record = {"version": version(found), "printed": printed}
    (KEPT / f"{lesson.name}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return printed
