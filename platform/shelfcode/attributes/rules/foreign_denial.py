"""How texts in other languages than English deny what they mention: "ohne Zucker", "sans gluten", "砂糖不使用".

Denials are a closed class: a language has a handful of them, and no product brings a new one. That sets this list apart from one of
ingredients or claims, which would never be complete. It serves two ends: what a product is said to be without is no ingredient of it, and
a tag for being without something has to hold a denial. A language that is not here loses the first, and tags of that kind.

All is compared folded (`text.fold`): in lower case and without accents.
"""

import re
from typing import NamedTuple

from shelfcode.text import fold


def _folded(words: str) -> tuple[str, ...]:
    return tuple(fold(words).split())


WITHOUT = frozenset(
    _folded("""
        no non without zero free ohne kein keine keinen keinem keiner frei sans aucun aucune sin libre libres ningun ninguna
        sem livre nenhum senza privo priva privi
        zonder vrij geen utan fri fritt ingen inga uden uten ilman vapaa bez brez fără lipsit sense lliure be ilma vaba
        nélkül
        без нет немає χωρίς δεν yok içermez tanpa bebas tiada không ללא בלי נטול נטולת بدون خالي خالية فاقد रहित मुक्त बिना फ्री 없는
        없이 무첨가 프리 0 0% 0g 0,0% 0.0% 0,0 0.0
    """)
)
"""Words that say a product is without what stands beside them."""

AFTER = frozenset(_folded("frei free vrij fri fritt vaba mentes yok içermez रहित मुक्त फ्री 없는 없이 무첨가 프리"))
"""Those that stand after it."""

WITHOUT_ENDS = _folded(
    "frei freie freier freies freien freiem vrij vrije fri fritt vaba mentes iton oton aton eton siz s\u0131z suz süz free 프리 무첨가"
)
"""What a word ends with that says the same: glutenfrei, gluteeniton, glutensiz."""

WITHOUT_STARTS = ("bez", "без")
"""What it begins with: bezlepkový, безглютеновый."""

ONE_WORD = _folded("""
    decaf descaf entkoff dekof декоф ungesüß ungezuck unsweet osötad usødet usøtet ongezoet neslad несладк
    무설탕 무가당 무글루텐 무카페인 무지방 무알콜
""")
"""Beginnings of words that say it all at once."""

NOT = frozenset(
    _folded("""
        not no isn't isnt nicht nie niet kein keine keinen pas non não nem inte ikke ei eivät není nu ne не δεν
        değil bukan tidak không לא אינו אינה
        ليس ليست غير नहीं 아닌 아님
    """)
)
"""Words that take back what is claimed: "nicht vegan"."""

WITH = frozenset(_folded("with mit avec à au aux con com med met z ze s \u0441 amb cu με ile với dengan עם مع के aus"))
"""Words that end what a denial before them reaches: "ohne Zucker mit Hafer"."""

OR = frozenset(
    _folded("or nor oder noch ou ni o u nem eller of lub ani či nebo или ή vagy sau ali ili atau hoặc tai või vai arba veya או أو या")
)
"""Words that make a list of what is denied: "ohne Zucker, Salz oder Aromen"."""

TRACES = re.compile(
    fold(
        r"\b(?:spuren|traces?|trazas|tracce|sporen|vestigios|slady|śladowe|stopy|"
        r"следы|сліди|spor|spår|nyomokban|urme|ίχνη|eser|jäämiä|jejak)\b"
        "|微量|痕跡|可能含|可能性があり|흔적|혼입"
    )
)
"""What says that something got in by chance."""

UNSPACED_BEFORE = _folded("無 无 不含 零 不加 未加 非 ノン ゼロ ไม่มี ไม่ใส่ ปราศจาก 不添加 未添加 無添加")
UNSPACED_AFTER = _folded(
    "フリー 不使用 なし 無し 無添加 ゼロ 不含 抜き レス を含まない を含みません は含まれ "
    "を使用していません を使わ は使用して でない 未添加 ฟรี"
)
"""Chinese and Thai deny before, Japanese after."""

UNSPACED_NOT_BEFORE = _folded("不是 并非 並非 非 ไม่ใช่ 不 未")
UNSPACED_NOT_AFTER = _folded("ではな ではあり じゃな でない でなく 不可 に対応していません")

_WITHIN = re.compile(
    fold(
        "無(?!花果)|无(?!花果)|零(?!食)|不含|不加|不添加|未添加|未加|非|"
        "フリー|不使用|なし|ゼロ|ノン|レス|抜き|を含ま|を使わ|デカフェ|ไม่มี|ไม่ใส่|ปราศจาก|ฟรี"
    )
)
_EXCEPTIONS = re.compile(fold("無花果|无花果|零食"))

REACH = 4
"""Words that a denial reaches ahead within its clause: "ohne Zusatz von Zucker"."""

NOT_REACH = 2
"""Words among which one before a claim takes it back: "ist nicht", "no es"."""

CLAUSES = 3
"""Items of a list that a denial reaches over, where the list has an "or"."""

_LETTERS = r"(?:[^\W\d_]|[\u0900-\u097f])+"  # to Python, vowel signs of Hindi are no letters
_WORD = re.compile(rf"[\d.,]*\d%?|{_LETTERS}(?:'{_LETTERS})*")
_BESIDE = re.compile(rf"[\s-]{{0,2}}({_LETTERS})")
_CLAUSE_END = re.compile(r"[,;()\[\]|/\u3001\u30fb]|\s[-\u2013\u2014]\s")


class Surroundings(NamedTuple):
    """A piece of a text with what stands around it in its sentence, all folded."""

    before: str
    piece: str
    after: str


def says_without(place: Surroundings) -> bool:
    """Whether the text says, in the piece or beside it, that something is not in the product: "ohne Gluten", "グルテンフリー"."""
    return holds_denial(place.piece) or _denied_around(place)


def is_denied(place: Surroundings) -> bool:
    """Whether what the piece names as a part of the product is denied: "ohne Zucker", "zuckerfrei"; not "glutenfreier Hafer"."""
    words = _words(place.piece)
    if not WITHOUT.isdisjoint(words) or (words and _denies(words[-1])):
        return True
    piece = _EXCEPTIONS.sub("", place.piece)
    return piece.startswith(UNSPACED_BEFORE) or piece.endswith(UNSPACED_AFTER) or _denied_around(place)


def is_taken_back(place: Surroundings) -> bool:
    """Whether the text takes a claim back: "nicht vegan", "ビーガンではありません"."""
    before = _words(_CLAUSE_END.split(place.before)[-1])
    after = _words(_CLAUSE_END.split(place.after)[0])
    if not NOT.isdisjoint(before[-NOT_REACH:]) or not NOT.isdisjoint(after[:1]):
        return True
    return place.before.endswith(UNSPACED_NOT_BEFORE) or place.after.startswith(UNSPACED_NOT_AFTER)


def is_trace(place: Surroundings) -> bool:
    """Whether the piece is named as what may have got in: "kann Spuren von Nüssen enthalten"."""
    return bool(TRACES.search(place.before) or TRACES.search(place.piece) or TRACES.search(_CLAUSE_END.split(place.after)[0]))


def holds_denial(piece: str) -> bool:
    """Whether a denial stands anywhere in a piece of text."""
    return any(map(_denies, _words(piece))) or bool(_WITHIN.search(piece))


def _denied_around(place: Surroundings) -> bool:
    clauses = list(map(_words, _CLAUSE_END.split(place.before)))
    if _reaches(clauses[-1][-REACH:]):
        return True
    listed = not OR.isdisjoint(_words(f"{place.before} {place.after}"))
    if listed and WITH.isdisjoint(clauses[-1]) and any(map(_reaches, clauses[-1 - CLAUSES : -1])):
        return True
    beside = _BESIDE.match(place.after)
    if beside and beside[1] in AFTER:
        return True
    return place.before.endswith(UNSPACED_BEFORE) or place.after.startswith(UNSPACED_AFTER)


def _reaches(words: list[str]) -> bool:
    """Whether a denial among these words reaches past their end."""
    last = max((place for place, word in enumerate(words) if word in WITHOUT), default=-1)
    return last >= 0 and WITH.isdisjoint(words[last + 1 :])


def _denies(word: str) -> bool:
    longer = any(word.endswith(end) and len(word) > len(end) + 2 for end in WITHOUT_ENDS)
    return word in WITHOUT or longer or word.startswith(ONE_WORD) or (len(word) > 6 and word.startswith(WITHOUT_STARTS))


def _words(text: str) -> list[str]:
    return _WORD.findall(text)
