"""Reads Markdown for the site: tells prose from fences, finds links, and knows the anchors GitHub gives to headings."""

import re
from operator import itemgetter
from typing import NamedTuple

FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})([^\n`]*)\n(.*?)^[ \t]*\2[`~]*[ \t]*$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
MATH = re.compile(r"\$\$.+?\$\$|(?<![\\$])\$(?!\s)[^$\n]+?(?<!\s)\$", re.DOTALL)
TEXT = r"\[((?:[^\[\]]|\[[^\[\]]*\](?:\([^()\s]*\))?)*)\]"  # a link's text, which may contain an image
LINK = re.compile(rf'(!?){TEXT}\(<?([^()\s<>]+(?:\([^()\s]*\)[^()\s<>]*)?)>?(?:\s+"[^"]*")?\)')
DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:[ \t]*<?([^\s<>]+)>?", re.MULTILINE)
HTML = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)[\"']", re.IGNORECASE)
BARE = re.compile(r"<(https?://[^\s<>]+)>|(?<![\w(<\"'/])(https?://[^\s<>()\"']+[\w/])")
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)


class Link(NamedTuple):
    target: str
    line: int


def blank(match):
    """Spaces instead of the match, with the same number of characters and the same line breaks."""
    return re.sub(r"[^\n]", " ", match[0])


def prose(text):
    """The text with fences, comments, code and mathematics blanked out. All other characters keep their places."""
    for what in (COMMENT, FENCE, CODE, MATH):
        text = what.sub(blank, text)
    return text


def links(text):
    """All links and pictures of a document, in order."""
    text = prose(text)
    found = []
    for pattern in (LINK, DEFINITION, HTML, BARE):
        for match in pattern.finditer(text):
            target = match[3] if pattern is LINK else next(group for group in match.groups() if group)
            found.append((match.start(), target))
            if pattern is LINK and "](" in match[2]:  # a link whose text is a picture
                found += [(match.start(), inner[3]) for inner in LINK.finditer(match[2])]
    return [Link(target, text.count("\n", 0, start) + 1) for start, target in sorted(found, key=itemgetter(0))]


def change_links(text, change):
    """The text with each `[words](target)` or `![words](target)` replaced by change("" or "!", words, target)."""
    changed, position = "", 0
    for match in LINK.finditer(prose(text)):
        words = text[match.start(2) : match.end(2)]  # from `text`, where code and mathematics are not blanked out
        changed += text[position : match.start()] + change(match[1], words, match[3])
        position = match.end()
    return changed + text[position:]


def parts(text):
    """The text cut into parts: (the match of a fence or None, the part's text). Joined, the parts are the text."""
    position = 0
    for fence in FENCE.finditer(text):
        yield None, text[position : fence.start()]
        yield fence, fence[0]
        position = fence.end()
    yield None, text[position:]


def slug(heading):
    """The anchor that GitHub makes of a heading."""
    words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    words = re.sub(r"(?<!\w)[*_]+|[*_]+(?!\w)", "", words.replace("`", ""))
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def anchors(text):
    """All anchors of a document: those of its headings, and the ids in its HTML."""
    found, times = set(), {}
    for match in HEADING.finditer(FENCE.sub(blank, COMMENT.sub(blank, text))):
        name = slug(match[1])
        times[name] = times.get(name, -1) + 1
        found.add(f"{name}-{times[name]}" if times[name] else name)
    return found | set(re.findall(r"<[^>]+\b(?:id|name)=[\"']([^\"']+)[\"']", prose(text)))
