"""What is told of sparse products holds the figures and the verdict."""

from shelfcode.evaluation.sparse.chance import Calibration
from shelfcode.evaluation.sparse.report import calibration_columns, missing_columns, summary_lines
from shelfcode.evaluation.sparse.restoration import Restoration, RestoredLevel
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.evaluation.sparse.sparse_products import Enrichment, FlavorContrast, MissingField, SparseFigures

CALIBRATION = Calibration(
    fitted_products=50, held_out_products=25, examples=100, base_rate=0.1, brier=0.05, brier_base_rate=0.09, ece=0.02, auroc=0.9,
    auroc_words=0.6, title_alone=None, bins=(),
)  # fmt: skip
HELPED = RestoredLevel(level=1, untouched=0.5, filled=0.7, gain=0.2, gain_low=0.1, gain_high=0.3)
FIGURES = SparseFigures(
    release="precision@v0001", settings=SparseSettings(), products=1000, sparse=250, mean_p_l1=0.12, mean_p_l2=0.4,
    missing={"brand": MissingField(products=40, sparse=10), "format": MissingField(products=0, sparse=0)}, chance_l1=CALIBRATION,
    chance_l2=CALIBRATION, restoration=Restoration(cut_to="their titles", products=90, filled_products=30, of_all=(HELPED,), of_filled=()),
    contrast=FlavorContrast(against="discovery@v0001", products=900, both=5, only_release=6, only_against=7, neither=882),
)  # fmt: skip


def test_lines_tell_shares_contrast_what_was_filled_and_the_verdict() -> None:
    told = "\n".join(summary_lines([FIGURES], Enrichment(250, 30, 200, {"brand": 12, "product_type": 18}, (0.1, 0.25))))
    for part in (
        "250 of 1,000",
        "25.0%",
        "5 sparse for both",
        "7 for discovery@v0001 alone",
        "12 brand, 18 product type",
        "10.0%",
        "helps",
    ):
        assert part in told
    assert "50.0% -> 70.0% (+20.0 points [+10.0 to +30.0])" in told


def test_tables_leave_out_what_has_no_value() -> None:
    missing = missing_columns(FIGURES)
    assert missing["share"] == {"brand": 0.25, "format": None}
    assert calibration_columns(FIGURES)["L1"]["expected calibration error"] == 0.02
    assert calibration_columns(FIGURES)["L1"]["title alone, predicted"] is None


def test_figures_survive_json() -> None:
    assert SparseFigures.model_validate_json(FIGURES.model_dump_json()) == FIGURES
