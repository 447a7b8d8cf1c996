"""Text as words, and the search for many known phrases in them at once."""

import re
from collections.abc import Mapping, Sequence
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
