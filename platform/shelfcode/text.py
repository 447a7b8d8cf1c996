"""Texts of a bounded length, and texts as they are compared."""

import re
import unicodedata

LONGEST_WORD = 40

JOINERS = "\u200c\u200d"
"""Characters without a width that belong to the spelling of Persian or Hindi words, and of some emoji."""

INVISIBLE = "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
"""Characters that show nothing, such as zero-width spaces, soft hyphens and byte order marks: a class of a regular expression."""

_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_ACCENTS = re.compile("[\u0300-\u036f]")


def cut(text: str, characters: int) -> str:
    """The first characters of a text, cut at the end of a word; within one where the text has no spaces or the word is very long."""
    if len(text) <= characters:
        return text
    head, space, begun = text[: characters + 1].rpartition(" ")
    return head if space and len(begun) <= LONGEST_WORD else text[:characters]


def fold(text: str) -> str:
    """Lower case, without accents, and without what only looks different: full-width letters, ligatures, raised digits."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    return text.lower()


def seen(text: str) -> str:
    """A text as a reader sees it: composed (NFC), without invisible characters, and without white space around it."""
    return text.strip() if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).strip()
