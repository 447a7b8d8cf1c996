"""Whether a product type says what a real product is, where nobody wrote types down: its own category path is the answer.

A path names a group ("popcorn jerky") more often than a product, so there are two ways to be right. Either the type's head, its last
word, is a word of the last two names of the path: "jerky". Or the head is at home in the product's leaf: of the catalog's other
products that are called so, a quarter are filed there, and two at the least: "basil" under "fresh herbs". Called so are products of
whose title a clause ends in the head; where three or more of them hold every word of the type, those alone are asked.

Neither way is open to a word that merely stands in the title: a brand or a flavour ends no clause, and most words are at home nowhere.
Still, report `right_types` beside what a constant type and single words of the title get.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from shelfcode.attributes.rules.words import CLAUSE, SENTENCE, split_words, stem

LEAST_SHARE = 0.25
LEAST_PRODUCTS = 2
ENOUGH_PRODUCTS = 3
_CLAUSE_WORDS = frozenset({"with", "w", "for", "in", "from", "without", "by", "made", "featuring"})
_JOINING = frozenset({"and", "or", "for", "of", "the", "with", "in", "to", "other", "all"})

CategoryPath = Sequence[str]


def type_stems(text: str) -> list[str]:
    """Stems of the words that tell, in their order: without numbers and joining words."""
    return [stem(word) for word in split_words(text) if word[0].isalpha() and word not in _JOINING]


def path_names_type(product_type: str, path: CategoryPath) -> bool:
    """Whether the type's head is a word of the last two names of a category path."""
    stems = type_stems(product_type)
    return bool(stems) and any(stems[-1] in type_stems(name) for name in path[-2:])


def clause_ends(title: str) -> frozenset[str]:
    """Stems of the words in which a title's clauses end: "Rye Crackers with Sea Salt, 5 oz" -> cracker, salt."""
    ends, last = set(), ""
    for word in [*split_words(title), CLAUSE]:
        if word in (CLAUSE, SENTENCE) or word in _CLAUSE_WORDS or word[0].isdigit():
            ends.add(stem(last))
            last = ""
        else:
            last = word
    return frozenset(ends - {""})


class TypeAnswers:
    """The titles and category paths of a catalog, as answers to what a product is.

    Leave out the products that are judged: one that answers for itself is always right.
    """

    def __init__(self, titles: Sequence[str], paths: Sequence[CategoryPath]) -> None:
        self._stems = [frozenset(type_stems(title)) for title in titles]
        self._leaves = [path[-1] if path else "" for path in paths]
        self._called: dict[str, list[int]] = defaultdict(list)
        for row, title in enumerate(titles):
            for end in clause_ends(title):
                self._called[end].append(row)

    def right(self, product_type: str, path: CategoryPath) -> bool:
        """Whether a type is right of a product with this category path."""
        return path_names_type(product_type, path) or self._at_home(product_type, path[-1])

    def _at_home(self, product_type: str, leaf: str) -> bool:
        stems = type_stems(product_type)
        if not stems:
            return False
        called = self._called.get(stems[-1], [])
        exactly = [row for row in called if self._stems[row] >= set(stems)]
        asked = exactly if len(exactly) >= ENOUGH_PRODUCTS else called
        if len(asked) < ENOUGH_PRODUCTS:
            return False
        here = Counter(self._leaves[row] for row in asked)[leaf]
        return here >= LEAST_PRODUCTS and here >= LEAST_SHARE * len(asked)


def right_types(answers: TypeAnswers, product_types: Sequence[str], paths: Sequence[CategoryPath]) -> float:
    """The share of product types that are right.

    Raises:
        ValueError: the two are not of one length.
    """
    right = [answers.right(product_type, path) for product_type, path in zip(product_types, paths, strict=True)]
    return sum(right) / len(right) if right else 0.0


def drawn(item_ids: Sequence[str], count: int) -> list[int]:
    """Rows of `count` products that are the same whatever the order of the catalog, and in any other version of it."""
    digests = [hashlib.blake2b(item_id.encode(), digest_size=8).digest() for item_id in item_ids]
    return sorted(range(len(item_ids)), key=digests.__getitem__)[:count]
