"""A label for a prefix: the words that tell its products from those around them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

WORD = re.compile(r"[^\W\d_]{3,}")
"""Shorter words are units and fillers."""
WORDS = 3


@dataclass(frozen=True)
class TitleWords:
    """How many of some titles hold each word; counted once for titles that many others are compared with."""

    titles: int
    counts: Counter[str]


def title_words(titles: Sequence[str]) -> TitleWords:
    """Count the words of some titles."""
    return TitleWords(len(titles), Counter(word for title in titles for word in set(WORD.findall(title.lower()))))


def telling_words(here: TitleWords, around: TitleWords, words: int = WORDS) -> list[str]:
    """The words that tell most about some titles, compared with these titles and those around them together.

    A word's score is its share of these titles times the log of how much larger that is than its share of all (a term of the
    Kullback-Leibler divergence). Word shares are smoothed by one title, so that a word of a single title does not win by chance.
    """
    least = 2 if here.titles > 3 else 1
    score = {word: _score(word, here, around) for word in here.counts}
    candidates = [word for word, count in here.counts.items() if count >= least] or list(here.counts)
    telling = [word for word in sorted(candidates, key=lambda word: (-score[word], -here.counts[word], word)) if score[word] > 0]
    return (telling or sorted(candidates, key=lambda word: (-here.counts[word], word)))[:words]


def _score(word: str, here: TitleWords, around: TitleWords) -> float:
    share = here.counts[word] / (here.titles + 1)
    share_of_all = (here.counts[word] + around.counts[word] + 1) / (here.titles + around.titles + 1)
    return share * log(max(share / share_of_all, 1e-9))


def without_words(title: str, left_out: str) -> str:
    """A title without the words of another text, such as its brand, which names the maker and not the thing."""
    hidden = set(WORD.findall(left_out.lower()))
    return " ".join(word for word in WORD.findall(title.lower()) if word not in hidden)
