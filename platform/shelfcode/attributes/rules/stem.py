"""One spelling for the forms of a word: "berries" and "berry", "tomatoes" and "tomato", "leaves" and "leaf"."""

from functools import lru_cache

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
