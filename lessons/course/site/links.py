"""Checks every link of the lessons and the project's pages.

    python -m lessons.course.site.links              all links (make links)
    python -m lessons.course.site.links --local      only the relative ones, which needs no network

The target of a relative link has to exist; an external address has to answer.
"""

import argparse
import os
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

from ..document import REPOSITORY
from .markdown import anchors, links

EXTERNAL = ("http://", "https://")
BUSY = {403, 405, 429, 503}  # the page exists, but not for programs, or not now
AGENT = {"User-Agent": "Mozilla/5.0 (minisrgan: make links)"}


def documents(root=REPOSITORY):
    """The Markdown files whose links are checked."""
    where = ("*.md", "docs/*.md", "kernels/**/*.md", "lessons/**/*.md")
    return [path for pattern in where for path in sorted(root.glob(pattern))]


def local_problems(path, root=REPOSITORY):
    """The problems of a document's relative links, as lines of text."""
    text = path.read_text(encoding="utf-8")
    found = []
    for link in links(text):
        if not link.target.startswith((*EXTERNAL, "mailto:")):
            problem = local_problem(path, link.target, root)
            if problem:
                found.append(f"{path.relative_to(root)}:{link.line}: {link.target}: {problem}")
    return found


def local_problem(path, target, root):
    name, anchor = urldefrag(target)
    goal = Path(os.path.normpath(path.parent / unquote(name))) if name else path
    if not goal.is_relative_to(root):
        return "leads out of the repository"
    if not goal.exists():
        return "there is no such file"
    if anchor and goal.suffix == ".md" and unquote(anchor) not in anchors(goal.read_text(encoding="utf-8")):
        return "the file has no such heading"
    return None


def external_links(paths, root=REPOSITORY):
    """{address: where it is first used}."""
    found = {}
    for path in paths:
        for link in links(path.read_text(encoding="utf-8")):
            if link.target.startswith(EXTERNAL):
                found.setdefault(urldefrag(link.target)[0], f"{path.relative_to(root)}:{link.line}")
    return found


def external_problem(address, seconds=20):
    """Why an address does not answer; None if it does."""
    problem = None
    for method in ("HEAD", "GET"):  # some servers refuse HEAD
        try:
            request = urllib.request.Request(address, headers=AGENT, method=method)
            with urllib.request.urlopen(request, timeout=seconds):
                return None
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.reason}"
            if method == "GET" and error.code in BUSY:
                return None
        except (OSError, ValueError) as error:
            problem = str(getattr(error, "reason", error))
    return problem


class Page(HTMLParser):
    """A page of the site: the addresses that it links to, those that are loaded with it, and its own anchors."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.loaded, self.anchors = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        self.addresses |= {attributes.get("href"), attributes.get("src")} - {None}
        if tag != "a":
            self.loaded |= {attributes.get("href"), attributes.get("src")} - {None}


def site_problems(folder):
    """The problems of a built site's links: they lead nowhere, or something is loaded from another server."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        found += [f"{path}: loads {each}" for each in page.loaded if each.startswith((*EXTERNAL, "//"))]
        for address in page.addresses:
            name, anchor = urldefrag(address)
            if address.startswith((*EXTERNAL, "data:", "mailto:", "//")):
                continue
            goal = Path(os.path.normpath(path.parent / unquote(name.partition("?")[0]))) if name else path
            if not goal.exists():
                found.append(f"{path}: {address}: there is no such file")
            elif anchor and goal in pages and unquote(anchor) not in pages[goal].anchors:
                found.append(f"{path}: {address}: there is no such anchor")
    return found


def main():
    parser = argparse.ArgumentParser(prog="python -m lessons.course.site.links", description="Check every link.")
    parser.add_argument("--local", action="store_true", help="check only the relative links")
    paths = documents()
    found = [problem for path in paths for problem in local_problems(path)]
    outside = {} if parser.parse_args().local else external_links(paths)
    with ThreadPoolExecutor(8) as pool:
        for (address, place), problem in zip(outside.items(), pool.map(external_problem, outside)):
            if problem:
                found.append(f"{place}: {address}: {problem}")
    print("\n".join([*found, f"{len(paths)} documents, {len(outside)} addresses: {len(found)} problems"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
