import jinja2
import pytest

from shelfcode.reporting.page import render_page


def test_a_page_without_plots_has_no_script_and_its_title_is_text():
    html = render_page("reporting/page.html.j2", "<b>precision</b>", with_plots=False)
    assert "<title>&lt;b&gt;precision&lt;/b&gt;</title>" in html
    assert "<script" not in html
    assert len(html) < 5000


def test_a_page_with_plots_brings_what_draws_them():
    html = render_page("reporting/page.html.j2", "precision", with_plots=True)
    assert html.count("<script>") == 1
    assert "Plotly" in html
    assert "<script src" not in html


def test_a_template_that_lacks_a_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render_page("evaluation/comparison.html.j2", "precision", with_plots=False)
