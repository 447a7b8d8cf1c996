"""The page: complete, self-contained, and safe against the titles it shows."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from shelfcode.catalog.snapshot import AppliedLabels, DepartmentChanges, LabelMove
from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.evaluation.report import ReportExamples, positions_needed, report_html
from shelfcode.evaluation.stability.churn import measure_churn

HOSTILE = "<b>x</b><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Start tags outside scripts, their attributes, and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.shown, self.inside_script = [], 0, [], False
        self.feed(text)
        self.text = " ".join(" ".join(self.shown).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside_script = tag in ("script", "style")
        self.scripts += tag == "script"

    def handle_endtag(self, _):
        self.inside_script = False

    def handle_data(self, data):
        if not self.inside_script:
            self.shown.append(data)


def render(
    evaluation,
    codes_NL,
    title="precision@v0001",
    words="product {}",
    leaf="tea",
    recipe="encoder: {}",
    facts=None,
    behaviour=None,
    churn=None,
    labels=None,
):
    needed = positions_needed(evaluation, codes_NL)
    examples = ReportExamples.from_columns(needed, [words.format(position) for position in needed], [leaf] * len(needed))
    return report_html(evaluation, codes_NL, examples, title, recipe, facts or {}, behaviour, churn, labels)


def test_the_page_says_among_how_many_products_pairs_were_drawn_where_not_among_all(clustered, evaluation):
    sampled = evaluation.model_copy(update={"compared_products": 400})
    assert "drawn among 400 of the products" in Page(render(sampled, clustered.codes_NL)).text
    assert "drawn among" not in Page(render(evaluation, clustered.codes_NL)).text


def test_the_page_says_everything(clustered, evaluation):
    page = Page(render(evaluation, clustered.codes_NL, recipe="quantizer: rq", facts={"catalog": "shop", "versions": {"numpy": "2"}}))
    headings = ("Similarity against depth", "Codeword use", "Taxonomy alignment", "Map of the hierarchy", "Collisions", "Recipe and facts")
    for words in ("precision@v0001", *headings, "quantizer: rq", "shop", '"numpy": "2"', "1,000 products"):
        assert words in page.text
    assert f"{evaluation.similarity_depth.spearman:.3f}" in page.text
    assert f"{evaluation.collisions.most_products[0].semantic_id} {evaluation.collisions.most_products[0].products}" in page.text
    assert f"product {evaluation.collisions.most_products[0].examples[0]} (tea)" in page.text
    plots = {attributes["id"] for tag, attributes in page.tags if tag == "div" and attributes.get("id", "").startswith("plot-")}
    assert plots == {"plot-similarity", "plot-codewords", "plot-alignment", "plot-map"}


def test_behavioural_alignment_has_its_section_where_it_was_measured(clustered, evaluation, compared):
    assert "Behavioural alignment" not in Page(render(evaluation, clustered.codes_NL)).text
    html = render(evaluation, clustered.codes_NL, behaviour=compared.a)
    page, first = Page(html), compared.a.relations[0].depths[0]
    assert f"substitute L1 100.0% {first.chance:.1%} {first.lift:.2f} {first.lift_low:.2f} to {first.lift_high:.2f}" in page.text
    assert "3 item_ids are not coded" in page.text
    assert "<b>attributes</b>" in page.text
    assert "<i>never</i> L1 not defined" in page.text
    assert not [tag for tag, _ in page.tags if tag == "i"]
    assert "plot-behaviour" in [attributes.get("id") for _, attributes in page.tags]


@pytest.fixture
def churn(clustered):
    """Everything of first codeword 0 was at 5 before, and a few products elsewhere."""
    old_NL = clustered.codes_NL.copy()
    old_NL[old_NL[:, 0] == 0, 0] = 5
    old_NL[::50, 1] += 1
    names = [[HOSTILE if path[0] == "department 0" else path[0]] for path in clustered.paths]
    return measure_churn(old_NL, clustered.codes_NL, "precision@v0001", 12, 3456, taxonomy_from_paths(names))


def test_what_changed_has_its_section_where_there_is_a_release_before(clustered, evaluation, churn):
    without, page = Page(render(evaluation, clustered.codes_NL)), Page(render(evaluation, clustered.codes_NL, churn=churn))
    assert "Stability" not in without.text
    assert "against precision@v0001: 1,000 products are in both; 12 are new, 3,456 are gone." in page.text
    l1, l2, l3 = churn.changed
    assert f"changed down to L1 for {l1:.1%}, down to L2 for {l2:.1%}, down to L3 for {l3:.1%} of the products." in page.text
    first = churn.departments[0]
    shown = " ".join(f"{share:.1%}" for share in first.changed)
    assert f"{first.department} {first.products} {shown}" in page.text
    level = churn.fates[0]
    assert f"L1 {level.kept} {level.moved} {level.split} {level.merged}" in page.text
    (split,) = level.examples
    parts = ", ".join(f"{prefix}\N{NO-BREAK SPACE}({share:.0%})" for prefix, share in split.parts)
    assert " ".join(f"split 5 {split.products} {parts}".split()) in page.text
    plots = [attributes.get("id") for _, attributes in page.tags]
    assert {"plot-kept", "plot-changed", "plot-moves"} <= set(plots)


def test_departments_are_text_in_what_changed_too(clustered, evaluation, churn):
    html = render(evaluation, clustered.codes_NL, churn=churn)
    page = Page(html)
    assert HOSTILE in page.text
    assert not [tag for tag, _ in page.tags if tag in ("b", "img")]
    assert "<script>alert" not in html


def test_without_a_common_product_the_page_says_so(clustered, evaluation):
    nothing = measure_churn(clustered.codes_NL[:0], clustered.codes_NL[:0], "precision@v0001", 1000, 5)
    page = Page(render(evaluation, clustered.codes_NL, churn=nothing))
    assert "Not measured: the two releases have no product in common." in page.text
    assert "plot-kept" not in [attributes.get("id") for _, attributes in page.tags]


def test_the_page_loads_nothing(clustered, evaluation, compared, churn):
    page = Page(render(evaluation, clustered.codes_NL, behaviour=compared.a, churn=churn))
    assert not [tag for tag in page.tags if tag[0] in ("link", "img", "iframe")]
    assert not [attributes for _, attributes in page.tags if {"src", "href"} & attributes.keys()]


def test_user_text_is_text_everywhere(clustered, evaluation):
    plain = Page(render(evaluation, clustered.codes_NL, facts={"catalog": "shop"}))
    html = render(evaluation, clustered.codes_NL, HOSTILE, HOSTILE + "{}", HOSTILE, HOSTILE, {HOSTILE: HOSTILE})
    page = Page(html)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.scripts == plain.scripts
    assert page.text.count(HOSTILE) > 20
    assert "<script>alert" not in html
    assert "<img" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)


def test_unlike_products_stand_with_the_collisions():
    right, up = [1.0, 0.0], [0.0, 1.0]
    codes_NL = np.array([[0, 0]] * 4 + [[1, 1]] * 2)
    page = Page(render(evaluate(np.array([right] * 4 + [right, up], dtype=np.float32), codes_NL, (4, 4), None), codes_NL))
    assert "33.3% are unlike the others on it, with a mean cosine below 0.8; that comes to 2 of the catalog's products." in page.text
    assert "Unlike products on one ID 33.3%" in page.text


def test_without_collisions_the_page_says_why_none_is_unlike():
    codes_NL = np.array([[0, 0], [1, 1], [2, 2]])
    page = Page(render(evaluate(np.eye(3, dtype=np.float32), codes_NL, (4, 4), None), codes_NL))
    assert "Unlike products on one ID not defined no two products share an ID" in page.text
    assert "are unlike the others" not in page.text


def test_undefined_figures_show_their_reason(clustered):
    codes_NL = np.zeros_like(clustered.codes_NL)
    page = Page(render(evaluate(clustered.x_ND, codes_NL, clustered.sizes, None), codes_NL))
    assert "not defined every pair shares the same depth, 3" in page.text
    assert "Not measured: the catalog has no tree of two leaves or more." in page.text
    assert "nan" not in page.text.lower().split()


@pytest.mark.parametrize(("products", "levels"), [(2, 1), (3, 2), (30, 6)])
def test_small_catalogs_have_a_page_too(products, levels):
    rng = np.random.default_rng(0)
    codes_NL = rng.integers(0, 4, (products, levels))
    page = Page(render(evaluate(np.eye(products, dtype=np.float32), codes_NL, (4,) * levels, None), codes_NL))
    assert f"{products} products" in page.text


def test_only_needed_titles_are_asked_for(clustered, evaluation):
    needed = positions_needed(evaluation, clustered.codes_NL)
    assert (np.diff(needed) > 0).all()
    examples = ReportExamples.from_columns(needed[1:], ["title"] * (len(needed) - 1), [None] * (len(needed) - 1))
    assert examples.leaves == {}
    with pytest.raises(KeyError, match=str(needed[0])):
        report_html(evaluation, clustered.codes_NL, examples, "title", "", {})


def test_the_page_says_what_decided_labels_changed_and_what_was_passed_over(clustered, evaluation):
    labels = AppliedLabels(
        source="labels/week 12.csv", digest="d", rows=1204, changed=1001, already=2, kept=100, excluded=1,
        passed_over={"no such product in the catalog": 100},
        departments=(DepartmentChanges(name=HOSTILE, within=600, out=401, into=0), DepartmentChanges(name=None, within=0, out=0, into=401)),
        moves=(LabelMove(before=("Snacks", "Candy"), after=None, products=9),),
    )  # fmt: skip
    page = Page(render(evaluation, clustered.codes_NL, labels=labels))
    assert "1,204 decisions from labels/week 12.csv" in page.text
    assert f"{HOSTILE} 600 401 0 (without a path) 0 0 401" in page.text
    assert "Snacks > Candy (none) 9" in page.text
    assert "Passed over: 100 x no such product in the catalog." in page.text
    assert "Decided labels" not in Page(render(evaluation, clustered.codes_NL)).text
