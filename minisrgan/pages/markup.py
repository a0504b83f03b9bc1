"""HTML whose every text is escaped, and the page around it."""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..files import write_whole

HERE = Path(__file__).parent
MADE = '<meta name="generator" content="minisrgan"/>'  # by which a page is known as one of ours
EMPTY = ("img", "meta", "link", "line", "rect", "polyline", "circle")  # elements that may have nothing within


class Html(str):
    """Text that is HTML already. Any other text is escaped where it becomes part of a page."""


def escaped(text: object) -> Html:
    """A text as HTML; HTML as it is. Lone surrogates, which a file's name may have, become question marks."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(str(text).encode("utf-8", "replace").decode()))


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """<name attributes>children</name>. Attributes that are None or False are left out; those that are True have no
    value. `class_` is `class`, and other underscores are hyphens."""
    said = []
    for key, value in attributes.items():
        if value is not None and value is not False:
            key = key.rstrip("_").replace("_", "-")
            said.append(f" {key}" if value is True else f' {key}="{escaped(str(value))}"')
    inside = "".join(map(escaped, children))
    return Html(f"<{name}{''.join(said)}" + ("/>" if name in EMPTY and not inside else f">{inside}</{name}>"))


def joined(parts: Iterable[object]) -> Html:
    """Parts one after the other."""
    return Html("".join(map(escaped, parts)))


def section(title: str, *children: object, lead: object = "") -> Html:
    """A part of a page under its title. `lead` is a sentence below the title."""
    return element("section", element("h2", title), element("p", lead, class_="lead") if lead else "", *children)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: object = "") -> Html:
    """A table whose first column names the rows. A narrow screen scrolls it within its own frame."""
    top = element("tr", *(element("th", each, scope="col") for each in head))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", each) for each in rest))
        for first, *rest in rows
    ]
    inside = element("table", element("thead", top), element("tbody", *body), aria_label=caption or None)
    above = element("p", caption, class_="note") if caption else ""
    return joined([above, element("div", inside, class_="table", tabindex="0")])


def pairs(entries: Iterable[tuple[object, object]]) -> Html:
    """A list of names with their values."""
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in entries))


def code(text: str) -> Html:
    """A command to copy."""
    return element("pre", element("code", text), tabindex="0")


def page(title: str, subtitle: object, *sections: Html) -> str:
    """The whole page. Its policy forbids it to load anything, and to run any script but its own."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'"
    head = [
        Html(MADE),
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(style)),
    ]
    body = [
        element("header", element("h1", title), element("p", subtitle, class_="lead")),
        element("main", *sections),
        element("footer", element("p", "Made by minisrgan. This file holds all that it shows, and loads nothing.")),
        element("script", Html(script)),
    ]
    whole = element("html", element("head", *head), element("body", *body), lang="en")
    return f"<!doctype html>\n{whole}\n"


def digest(text: str) -> str:
    """The hash by which a content security policy allows a style or a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def write_page(path: str | Path, title: str, subtitle: object, *sections: Html) -> None:
    """Write a page so that the file is never half-written. Raises OSError."""
    write_whole(path, page(title, subtitle, *sections).encode())


def number(value: Any, places: int = 2) -> str:
    """A figure in a table; a dash where it was not measured."""
    return "–" if value is None or value != value else f"{value:.{places}f}"
