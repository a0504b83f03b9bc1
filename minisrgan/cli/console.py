"""Where a command prints: a console of any encoding, or a pipe whose reader may have gone."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def console() -> Generator[None, None, None]:
    """Within the block, printing does not fail with a traceback.

    A character that the encoding lacks is printed as an escape. If the reader of a pipe has gone, as `head` does, the
    command ends silently, as if all had been read. If the output cannot be written for another reason, one line says
    so, and the exit status is 2.
    """
    if sys.stderr is None:  # it is closed; what is printed to None goes to stdout
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, it is open until the end
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            if sys.stdout:  # None where it is closed
                sys.stdout.flush()  # here: at Python's own end it would be too late to catch the error
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None


def one_line(text: object) -> str:
    """A text on one line, without anything that a terminal obeys: text from a file or a server may be anything."""
    words = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in words)
