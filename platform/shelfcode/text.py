"""Texts of a bounded length, and texts as they are compared."""

import re
import unicodedata

LONGEST_WORD = 40
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
