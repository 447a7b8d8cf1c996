"""Texts of a bounded length."""


def cut(text: str, characters: int) -> str:
    """A text of at most so many characters, cut at a word."""
    if len(text) <= characters:
        return text
    head, space, _ = text[: characters + 1].rpartition(" ")
    return head if space else text[:characters]
