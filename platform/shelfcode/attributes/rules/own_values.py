"""A recipe's own attributes without a model: values of a closed list that a product's text names."""

from collections.abc import Mapping
from functools import lru_cache

from shelfcode.attributes.rules.phrases import PhraseTable, split_words
from shelfcode.attributes.schema import ExtraAttributes


def extract_extra(title: str, description: str | None, extra: ExtraAttributes) -> dict[str, tuple[str, ...]]:
    """Values that the text names, in the order in which it does; none for an attribute without a closed list."""
    words = split_words(f"{title}. {description or ''}")
    found: dict[str, tuple[str, ...]] = {}
    for name, attribute in extra.items():
        named = dict.fromkeys(match.value for match in _table(tuple(attribute.values)).find(words)) if attribute.values else {}
        found[name] = tuple(named)[: attribute.limit]
    return found


@lru_cache(maxsize=64)
def _table(values: tuple[str, ...]) -> PhraseTable[str]:
    phrases: Mapping[str, str] = {value: value for value in values if split_words(value)}
    return PhraseTable(phrases)
