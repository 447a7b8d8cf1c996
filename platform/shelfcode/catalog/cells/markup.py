"""HTML in texts: what shops' editors leave in titles and descriptions, taken out once, when a catalog is read."""

import re
from html.entities import html5

from selectolax.lexbor import LexborHTMLParser

LIKE_MARKUP = r"<[A-Za-z/!]|&#?[A-Za-z0-9]+;"
"""What every text with HTML matches, for a first look; others may match it, too."""

_INLINE = (
    "a abbr acronym applet area audio b base bdi bdo big body button canvas center cite code col colgroup data datalist del details dfn "
    "dialog em embed figure font frame frameset head hgroup html i iframe img input ins kbd label legend link map mark marquee menu meta "
    "meter nobr noframes noscript object optgroup output param path picture progress q rp rt ruby s samp script select small source span "
    "strike strong style sub summary sup svg tbody template textarea tfoot thead time title track tt u var video wbr"
)
_BLOCKS = (
    "address article aside blockquote br caption dd div dl dt fieldset figcaption footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol "
    "option p pre section table td th tr ul"
)
_APART = frozenset(_BLOCKS.split())
"""Elements that stand apart from the text around them."""

_UNREAD = ["script", "style", "template", "noscript", "iframe", "object", "svg"]
_ROUNDS = 3
"""Feeds write HTML within XML as `&lt;p&gt;`, and some do so twice."""

_NAMES = "|".join(f"{_INLINE} {_BLOCKS}".split())
_ATTRIBUTES = r"""(?P<attributes>[\s/](?:"[^"]{0,4000}"|'[^']{0,4000}'|[^<>"'])*|[\s/][^<>]*)?"""
_TAG = re.compile(rf"</?(?P<name>{_NAMES}|[ovw]:\w+){_ATTRIBUTES}>|<!doctype[^<>]*>", re.IGNORECASE | re.DOTALL)
_FLAG = re.compile(r"[\s/]*(?:(?:nowrap|disabled|checked|hidden|async|defer|controls|selected|readonly|required|open|loop|muted)[\s/]*)*")
_CUT_OFF = re.compile(rf"</?(?:{_NAMES})(?:[\s/][^<>]*)?$", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_AMPERSAND = re.compile(r"&(?:#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,30};)?")


def without_markup(text: str) -> str:
    """The text that a browser would show, in one line. A text without tags and entities of HTML comes back as it is.

    `a < b`, `<3` and `AT&T` are no HTML and stay, beside tags too.
    """
    for _ in range(_ROUNDS):
        html = _replaced(_COMMENT, "-->", "", _replaced(_CDATA, "]]>", r"\1", text))
        if html == text and not any(map(_is_tag, _TAG.finditer(html))) and not any(map(_is_entity, _AMPERSAND.finditer(html))):
            break
        text = _shown(html)
    return text


def _replaced(pattern: re.Pattern[str], closing: str, by: str, html: str) -> str:
    """What a pattern matches, replaced. Nothing is searched beyond the last closing: of a thousand openings, each would look to the end."""
    end = html.rfind(closing) + len(closing)
    return pattern.sub(by, html[:end]) + html[end:] if end >= len(closing) else html


def _shown(html: str) -> str:
    tree = LexborHTMLParser(f"<body>{_escaped(html)}</body>")
    tree.strip_tags(_UNREAD)
    return " ".join(tree.body.text().split()) if tree.body else ""


def _escaped(html: str) -> str:
    """HTML in which only what is a tag or an entity looks like one, and space is where elements stand apart."""
    pieces, end = [], 0
    for tag in filter(_is_tag, _TAG.finditer(html)):
        space = " " if (tag["name"] or "").lower() in _APART else ""
        pieces += [_text(html[end : tag.start()]), space, tag[0], space]
        end = tag.end()
    return "".join([*pieces, _text(_CUT_OFF.sub("", html[end:]) if end else html)])


def _text(html: str) -> str:
    return _AMPERSAND.sub(lambda found: found[0] if _is_entity(found) else "&amp;" + found[0][1:], html).replace("<", "&lt;")


def _is_tag(found: re.Match[str]) -> bool:
    """`x<b and c>d` is none: what stands in a tag are attributes with values, or some words that need none."""
    attributes = found["attributes"] or ""
    return "=" in attributes or _FLAG.fullmatch(attributes) is not None


def _is_entity(found: re.Match[str]) -> bool:
    return found[0].startswith("&#") or (found[0].endswith(";") and found[0][1:] in html5)
