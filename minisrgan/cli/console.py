"""Where a command's words come out: a console of any encoding, or a pipe whose reader may have gone."""

import os
import sys
from contextlib import contextmanager


@contextmanager
def console():
    """Whatever is printed comes out: what the encoding lacks as an escape; after its reader left, as `head` does,
    the command ends, in silence and as if all had been read. Where it cannot be written otherwise, one line says so."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            if sys.stdout:  # None where it is closed
                sys.stdout.flush()  # here, or Python would find at its end that nobody reads
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None


def one_line(text):
    """A text on one line, and nothing in it that a terminal obeys: a file's or a server's words may be anything."""
    words = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in words)
