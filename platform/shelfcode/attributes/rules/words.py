"""A text as words: split, compared by their stems, and searched for many known phrases at once.

Scripts that put no spaces between words (Chinese, Japanese, Thai, ...) have no words to split; there a phrase is found as a piece of the
text.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from shelfcode.text import fold

Value = TypeVar("Value")

CLAUSE, SENTENCE = ",", "."
"""What stands among the words where a clause (comma, bracket, dash) or a sentence (also colon, line, bullet) ends."""

_DELETED = dict.fromkeys(map(ord, "'\u2019\u2018`\u00ae\u2122\u00a9\x00\u00ad\u200b\u200d\ufe0f"), "")
_TOKEN = re.compile(
    r"\d+(?:[.:,]\d+)*(?:%|[^\W_]*)"  # a number with its decimals and what is glued to it: 1.5, 20oz, 100%
    r"|[^\W\d_]+[^\W_]*"
    r"|[,;()\[\]{}|]|\s[-\u2013\u2014]+\s|[.:!?\n\u2022\u2605\u3010\u3011]|[&+/]"
)
_MARK = dict.fromkeys(",;()[]{}|", CLAUSE) | dict.fromkeys(".:!?\n\u2022\u2605\u3010\u3011", SENTENCE) | dict.fromkeys("&+/", "and")


def split_words(text: str) -> list[str]:
    """Lower-case words without accents and apostrophes, with CLAUSE and SENTENCE between them; a hyphen parts two words.

    "Gluten-Free Oats, 20oz" -> ["gluten", "free", "oats", ",", "20oz"]; `&`, `+` and `/` become "and".
    """
    text = fold(text.translate(_DELETED))
    return [token if token[0].isalnum() else _MARK.get(token, CLAUSE) for token in _TOKEN.findall(text)]


class Match(NamedTuple, Generic[Value]):
    """A known phrase at words[start:end] and what it stands for."""

    start: int
    end: int
    value: Value


class PhraseTable(Generic[Value]):
    """Known phrases, looked up by their first word: the time a text takes does not grow with the number of phrases."""

    def __init__(self, value_of: Mapping[str, Value]) -> None:
        by_first: dict[str, list[tuple[int, list[str], Value]]] = {}
        for phrase, value in value_of.items():
            words = split_words(phrase)
            by_first.setdefault(words[0], []).append((len(words), words, value))
        # Longest first, so that the first phrase that fits is the right one.
        self._by_first = {first: sorted(known, key=lambda entry: -entry[0]) for first, known in by_first.items()}

    def find(self, words: Sequence[str]) -> list[Match[Value]]:
        """All matches from left to right, at each place the longest, none overlapping."""
        by_first = self._by_first
        matches: list[Match[Value]] = []
        end = 0
        for start, word in enumerate(words):
            if word not in by_first or start < end:
                continue
            for length, phrase, value in by_first[word]:
                if length == 1 or words[start : start + length] == phrase:
                    end = start + length
                    matches.append(Match(start, end, value))
                    break
        return matches


_IRREGULAR = {"leaves": "leaf", "loaves": "loaf", "halves": "half", "n": "and"}
_WITH_E = ("ie", "oe", "che", "she", "xe", "sse", "zze")
"""Endings that lose their e, since their plural may have it or not: cookies and berries, shoes and tomatoes, quiches and peaches."""


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """What a word from `split_words` is compared by; no word of its own: both "berry" and "berries" give "berri".

    The "n" of "mac n cheese" is taken for the "and" that `split_words` makes of "&".
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith(_WITH_E):
        word = word[:-1]
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        word = word[:-1] + "i"
    return word


_SCRIPTS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ffff"
_UNSPACED = re.compile(f"[{_SCRIPTS}]")
_PASSED = re.compile("[\\s_'\u2019\u200d\ufe0f\u2600-\u27bf\U0001f000-\U0001faff-]+")
"""Spaces, hyphens and emoji."""
_WITHOUT_BEFORE = (
    "\u65e0",
    "\u7121",
    "\u4e0d\u542b",
    "\u96f6",
    "\u4e0d\u52a0",
    "\u672a\u52a0",
    "\u0e44\u0e21\u0e48\u0e21\u0e35",
    "\u0e1b\u0e23\u0e32\u0e28\u0e08\u0e32\u0e01",
)
_WITHOUT_AFTER = ("\u30d5\u30ea\u30fc", "\u4e0d\u4f7f\u7528", "\u306a\u3057", "\u30bc\u30ed", "\u4e0d\u542b")
"""What denies a substance: Chinese and Thai say it before, Japanese after."""


def is_unspaced(text: str) -> bool:
    return not text.isascii() and bool(_UNSPACED.search(text))


def unspaced(text: str) -> str:
    """The text folded and without spaces; empty where it holds no such script."""
    return _PASSED.sub("", fold(text)) if is_unspaced(text) else ""


def unspaced_mention(text: str, phrase: str) -> bool:
    """Whether a text from `unspaced` names a phrase at least once without denying it."""
    sought = _PASSED.sub("", fold(phrase))
    at = text.find(sought)
    while at >= 0:
        if not text[:at].endswith(_WITHOUT_BEFORE) and not text.startswith(_WITHOUT_AFTER, at + len(sought)):
            return True
        at = text.find(sought, at + 1)
    return False
