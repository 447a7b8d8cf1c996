"""Texts of a bounded length."""

LONGEST_WORD = 40


def cut(text: str, characters: int) -> str:
    """A text of at most so many characters, cut at a word; inside one that goes on for longer than words do, or knows no spaces."""
    if len(text) <= characters:
        return text
    head, space, begun = text[: characters + 1].rpartition(" ")
    return head if space and len(begun) <= LONGEST_WORD else text[:characters]
