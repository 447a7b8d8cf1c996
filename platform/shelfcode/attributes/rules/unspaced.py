"""Text of scripts that put no spaces between words (Chinese, Japanese, Thai, ...): a phrase is found as a piece of the text."""

import re

from shelfcode.text import fold

_SCRIPTS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ffff"
_UNSPACED = re.compile(f"[{_SCRIPTS}]")
_PASSED = re.compile("[\\s_'\u2019\u200d\ufe0f\u2600-\u27bf\U0001f000-\U0001faff-]+")
"""Spaces, hyphens and emoji."""
_WITHOUT_BEFORE = (
    "\u65e0",
    "\u7121",
    "\u4e0d\u542b",
    "\u96f6",
    "\u4e0d\u52a0",
    "\u672a\u52a0",
    "\u0e44\u0e21\u0e48\u0e21\u0e35",
    "\u0e1b\u0e23\u0e32\u0e28\u0e08\u0e32\u0e01",
)
_WITHOUT_AFTER = ("\u30d5\u30ea\u30fc", "\u4e0d\u4f7f\u7528", "\u306a\u3057", "\u30bc\u30ed", "\u4e0d\u542b")
"""What denies a substance: Chinese and Thai say it before, Japanese after."""


def is_unspaced(text: str) -> bool:
    return not text.isascii() and bool(_UNSPACED.search(text))


def unspaced(text: str) -> str:
    """The text folded and without spaces; empty where it holds no such script."""
    return _PASSED.sub("", fold(text)) if is_unspaced(text) else ""


def unspaced_mention(text: str, phrase: str) -> bool:
    """Whether a text from `unspaced` names a phrase at least once without denying it."""
    sought = _PASSED.sub("", fold(phrase))
    at = text.find(sought)
    while at >= 0:
        if not text[:at].endswith(_WITHOUT_BEFORE) and not text.startswith(_WITHOUT_AFTER, at + len(sought)):
            return True
        at = text.find(sought, at + 1)
    return False
