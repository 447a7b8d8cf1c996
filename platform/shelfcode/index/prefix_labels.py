"""A label for a prefix: the words that tell its products from those around them."""

import re
from collections import Counter
from collections.abc import Sequence
from math import log

WORD = re.compile(r"[^\W\d_]{3,}")
"""Shorter words are units and fillers."""
WORDS = 3


def telling_words(titles: Sequence[str], around: Sequence[str], words: int = WORDS) -> list[str]:
    """The words that tell most about some titles, compared with the titles around them, which include them.

    A word's score is its share of these titles times the log of how much larger that is than its share around (a term of the
    Kullback-Leibler divergence). Word shares are smoothed by one title, so that a word of a single title does not win by chance.
    """
    here, there = _titles_with(titles), _titles_with(around)
    least = 2 if len(titles) > 3 else 1

    def score(word: str) -> float:
        share, share_around = here[word] / (len(titles) + 1), (there[word] + 1) / (len(around) + 1)
        return share * log(max(share / share_around, 1e-9))

    candidates = [word for word, count in here.items() if count >= least] or list(here)
    telling = [word for word in sorted(candidates, key=lambda word: (-score(word), -here[word], word)) if score(word) > 0]
    return (telling or sorted(candidates, key=lambda word: (-here[word], word)))[:words]


def without_words(title: str, left_out: str) -> str:
    """A title without the words of another text, such as its brand, which names the maker and not the thing."""
    hidden = set(WORD.findall(left_out.lower()))
    return " ".join(word for word in WORD.findall(title.lower()) if word not in hidden)


def _titles_with(titles: Sequence[str]) -> Counter[str]:
    """Titles that hold each word."""
    return Counter(word for title in titles for word in set(WORD.findall(title.lower())))
