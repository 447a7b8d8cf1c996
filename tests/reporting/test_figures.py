import pytest

from shelfcode.reporting.figures import Figures


class Rate(Figures):
    rate: float | None


@pytest.mark.parametrize("rate", [Rate(rate=0.1), Rate(rate=None, undefined={"rate": "there are no pairs"})])
def test_figures_survive_json(rate):
    assert Rate.model_validate_json(rate.model_dump_json()) == rate


def test_what_json_has_no_word_for_and_names_that_are_wrong_are_refused():
    with pytest.raises(ValueError, match="finite"):
        Rate(rate=float("nan"))
    with pytest.raises(ValueError, match="Extra inputs"):
        Rate(rate=1.0, ratio=2.0)


def test_figures_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Rate(rate=1.0).rate = 2.0
