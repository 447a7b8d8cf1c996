"""What a browser would show is left of HTML; what only looks like HTML stays as it is, to the letter."""

import time

import pytest

from shelfcode.catalog.cells.markup import without_markup


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<div style="margin:0"><p><span>&nbsp;Whole milk.</span></p><ul><li>Great &amp; good</li></ul></div>', "Whole milk. Great & good"),
        ("<p>Hi</p><p>you</p>", "Hi you"),
        ("<b>bo</b>ld", "bold"),
        ("one<br/>two<BR>three", "one two three"),
        ("<td>1</td><td>2</td>", "1 2"),
        ("a &amp; b", "a & b"),
        ("1&nbsp;kg &#8217;&#x2019;", "1 kg \u2019\u2019"),
        ("&lt;p&gt;Hi &amp;amp; you&lt;/p&gt;", "Hi & you"),
        ("<p>AT&T: a < b <3 x<y &ampoule;</p>", "AT&T: a < b <3 x<y &ampoule;"),
        ("<script>x()</script>y<style>p {}</style><!-- note -->", "y"),
        ("<![CDATA[<p>Hello</p>]]>", "Hello"),
        ("<p>cut off <span clas", "cut off"),
        ("<a title='x>y' href=\"?a=1&b=2\">link</a>", "link"),
        ('<p style="a"">stray quote</p>', "stray quote"),
        ("<o:p>&nbsp;</o:p>Word", "Word"),
        ("<p></p>", ""),
    ],
)
def test_html_becomes_the_text_that_it_shows(html: str, text: str) -> None:
    assert without_markup(html) == text


@pytest.mark.parametrize(
    "text",
    ["a < b", "<3", "5 < 6 > 4", "AT&T", "R&D &copy 2020", "Tom  &  Jerry", "a &unknown; b", "size <10cm", "x<b and c>d", "<T-Shirt> new",
     "M&M's\n\nred", "", "&", "<!-- not closed"],
)  # fmt: skip
def test_what_only_looks_like_html_stays_as_it_is(text: str) -> None:
    assert without_markup(text) == text


@pytest.mark.parametrize("piece", ["<p ", '<p "', "<p =", "&", "<!--", "<![CDATA["])
def test_a_text_made_to_be_slow_is_not(piece: str) -> None:
    begin = time.process_time()
    without_markup(piece * 20_000)
    assert time.process_time() - begin < 20  # a hundred times what it takes; in quadratic time it took minutes
