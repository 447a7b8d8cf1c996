"""Whether texts are English: what the shipped lexicon, grounding and small models were made for."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # a benchmark of the training alone runs where few libraries are
    from py3langid.langid import LanguageIdentifier

MOSTLY_ENGLISH = 0.5
"""Texts of which a smaller share is English deserve a warning."""

GROUP = 5
"""Texts that are judged together. A title of three words is taken for any language that also has them; five titles are not."""

GROUPS = 200
"""The most groups that are looked at. They take about a tenth of a second."""

LANGUAGES = [
    "ar", "bg", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu", "id", "it", "ja",
    "ko", "lt", "lv", "ms", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "th", "tr", "uk", "vi", "zh",
]  # fmt: skip
"""Languages of shops. Among all that the library knows, English product names are often taken for Latin, Tagalog or Scots Gaelic."""

SUREST = 0.5 / GROUPS
"""The share of English that a catalog is credited with where no group of it is, and of others where all are: half a group."""

_LETTER = re.compile(r"[^\W\d_]")


def share_in_english(texts: Sequence[str | None]) -> float:
    """Share of texts that are English, from 0 to 1, judged by groups of neighbours spread evenly over all of them.

    The answer is the same whenever the texts are. Texts without a letter say nothing; where none has one, the answer is 1.
    """
    starts = np.unique(np.linspace(0, max(len(texts) - GROUP, 0), min(GROUPS, -(-len(texts) // GROUP)) or 1, dtype=np.int64))
    groups = [" \n".join(text for text in texts[start : start + GROUP] if text) for start in starts.tolist()]
    judged = [_identifier().classify(group)[0] == "en" for group in groups if _LETTER.search(group)]
    return sum(judged) / len(judged) if judged else 1.0


def chance_of_english(text: str, share: float) -> float:
    """How likely a text is English, from 0 to 1, where `share` of the texts around it are.

    A title of three words is a guess: of 1,500 English grocery titles 82% were given less than even odds against the 38 other languages
    together, and German ones 1% to 10%. The odds that the text gives are therefore multiplied by those of its surroundings. One without a
    letter says nothing, and has theirs.
    """
    around = min(max(share, SUREST), 1 - SUREST)
    if not _LETTER.search(text):
        return around
    own = float(dict(_identifier().rank(text))["en"])
    english, other = own * around, (1 - own) * (1 - around)
    return english / (english + other)


@lru_cache(maxsize=1)
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
