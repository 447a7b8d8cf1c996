"""How well an extractor does: F1 of each attribute against known answers."""

from collections.abc import Collection, Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from shelfcode.attributes.schema import FIELDS, Attributes


class FieldScore(BaseModel):
    """Precision, recall and F1 of one attribute, its values counted over all products (micro average)."""

    model_config = ConfigDict(frozen=True)

    precision: float
    recall: float
    f1: float
    found: int
    known: int


def field_scores(
    found: Sequence[Attributes], known: Sequence[Attributes], asked: Sequence[Collection[str]] | None = None
) -> dict[str, FieldScore]:
    """Score of each attribute, values compared without case; an empty one counts as no value.

    Args:
        asked: names of the attributes that are known of each product, all of them when None; the others do not count.

    Raises:
        ValueError: the two are not of one length.
    """
    extra = list(dict.fromkeys(name for attributes in known for name in attributes.extra))
    columns = [[attributes.columns() for attributes in side] for side in (found, known)]
    scores = {}
    for name in (*FIELDS, *extra):
        pairs = list(zip(*([_values(row.get(name)) for row in side] for side in columns), strict=True))
        scores[name] = _score(pairs if asked is None else [pair for pair, names in zip(pairs, asked, strict=True) if name in names])
    return scores


def macro_f1(scores: dict[str, FieldScore]) -> float:
    """Mean F1 of the four attributes that every extractor fills."""
    return sum(scores[name].f1 for name in FIELDS) / len(FIELDS)


def _values(value: str | list[str] | None) -> set[str]:
    texts: Iterable[str] = [value] if isinstance(value, str) else value or []
    return {text.lower() for text in texts if text}


def _score(pairs: Sequence[tuple[set[str], set[str]]]) -> FieldScore:
    right = sum(len(found & known) for found, known in pairs)
    found, known = sum(len(found) for found, _ in pairs), sum(len(known) for _, known in pairs)
    precision, recall = right / found if found else 1.0, right / known if known else 1.0
    f1 = 2 * precision * recall / (precision + recall) if right else float(not found and not known)
    return FieldScore(precision=precision, recall=recall, f1=f1, found=found, known=known)
