"""What other languages deny is told from what they only mention beside it."""

import pytest

from shelfcode.attributes.rules.foreign_denial import Surroundings, holds_denial, is_denied, is_taken_back, is_trace, says_without
from shelfcode.text import fold


def place(text: str) -> Surroundings:
    """A text with the piece in [brackets]."""
    before, rest = text.split("[")
    return Surroundings(*(fold(part) for part in (before, *rest.split("]"))))


DENIED = [
    *("ohne [Zucker]", "ohne Zusatz von [Zucker]", "kein [Zucker]", "[zuckerfrei]", "[ohne Zucker]", "[Zucker]-frei", "frei von [Zucker]"),
    *("ohne Zucker und [Salz]", "ohne Zucker, Salz oder [Palmöl]", "sans [sucre]", "senza [zucchero]", "sin [azúcar]", "sem [açúcar]"),
    *(
        "zonder [suiker]",
        "utan [socker]",
        "uden [sukker]",
        "ilman [sokeria]",
        "bez [cukru]",
        "без [\u0441\u0430\u0445\u0430\u0440\u0430]",
        "χωρίς [ζάχαρη]",
        "[cukormentes]",
    ),
    *("[şekersiz]", "[sokeriton]", "ללא [סוכר]", "بدون [سكر]", "tanpa [gula]", "không [đường]", "[चीनी] रहित", "[설탕] 무첨가"),
    *("無[糖]", "不含[乳糖]", "[砂糖]不使用", "[砂糖不使用]", "[グルテン]フリー", "ไม่มี[น้ำตาล]"),
]
NAMED = [
    *(
        "mit [Zucker]",
        "ohne Salz mit [Zucker]",
        "ohne Salz, [Zucker]",
        "[Hafer] ohne Zucker",
        "[glutenfreier Hafer]",
        "sans gluten à l'[huile]",
    ),
    *("[sementes]", "[Karton]", "[caramelos]", "[boneless]", "[無花果]", "[砂糖]", "[オーツ麦]", "avec [sucre]", "bez glutenu z [cukrem]"),
]


@pytest.mark.parametrize("text", DENIED)
def test_what_a_product_is_without_is_denied(text: str) -> None:
    assert is_denied(place(text))
    assert says_without(place(text))


@pytest.mark.parametrize("text", NAMED)
def test_what_is_named_beside_a_denial_is_not(text: str) -> None:
    assert not is_denied(place(text))


@pytest.mark.parametrize(
    "piece", ["entkoffeiniert", "décaféiné", "ungesüßt", "glutenfreie Nudeln", "グルテンフリーパン", "0% fett", "무설탕"]
)
def test_a_denial_may_stand_anywhere_in_a_claim_of_being_without(piece: str) -> None:
    assert holds_denial(fold(piece))


@pytest.mark.parametrize(
    "text",
    [
        "nicht [vegan]",
        "ist leider nicht [vegan]",
        "n'est pas [vegan]",
        "no es [vegano]",
        "non [vegano]",
        "[ビーガン]ではない",
        "不是[素食]",
    ],
)
def test_a_claim_is_taken_back(text: str) -> None:
    assert is_taken_back(place(text))


@pytest.mark.parametrize(
    "text", ["ohne Gluten und [vegan]", "[vegan], nicht glutenfrei", "nicht gebacken, roh und [vegan]", "[ビーガン]対応"]
)
def test_a_claim_beside_something_taken_back_is_not(text: str) -> None:
    assert not is_taken_back(place(text))


@pytest.mark.parametrize(
    "text", ["kann Spuren von [Nüssen] enthalten", "peut contenir des traces de [noix]", "[乳成分]を微量に含む可能性があります"]
)
def test_traces_are_told(text: str) -> None:
    assert is_trace(place(text))
    assert not is_trace(place("[Hafer] (kann Spuren von Nüssen enthalten)"))
