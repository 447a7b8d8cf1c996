"""Product types that the rules misread, corrected by the product's own category path: for teaching, never for extracting.

An extractor reads a product's text alone; semantic IDs are held against the category path later, so no answer may draw on it. A teacher
may: whether a "Coffee Machine" with a hundred words of copy is a machine or coffee is what the path knows and a student has to learn.
Only words of the title become a type, so that what is taught can be read from the text.
"""

import re
from collections.abc import Sequence

from shelfcode.attributes.distil.type_scores import path_names_type, type_stems
from shelfcode.attributes.rules.words import split_words, stem

_PARTS = re.compile(r"[&,/()]| and | or ")
_MOST_WORDS = 4


def type_by_path(read: str, title: Sequence[str], path: Sequence[str]) -> str:
    """The type that the rules read, or where the path says another that the title has: that one, in the title's own words.

    Args:
        read: the rules' product type.
        title: the title split into words, the brand left out.
        path: category path, root to leaf; empty where there is none.
    """
    if not path or path_names_type(read, path):
        return read
    for name in path[:-3:-1]:
        for part in _PARTS.split(name):
            if found := _in_title(part, title):
                return found
    return read


def _in_title(name: str, title: Sequence[str]) -> str:
    """A name as the title has it: from its first to its last word where they stand together, else its last word."""
    wanted = type_stems(name)
    stems = [stem(word) for word in title]
    if not wanted or wanted[-1] not in stems:
        return ""
    end = stems.index(wanted[-1]) + 1
    start = end - 1
    while start > 0 and end - start < _MOST_WORDS and stems[start - 1] in wanted:
        start -= 1
    return " ".join(title[start:end])


def title_words(title: str, brand: Sequence[str]) -> list[str]:
    """A title split into words without those of the brand, marks of clauses left out."""
    return [word for word in split_words(title) if word[0].isalnum() and word not in brand]
