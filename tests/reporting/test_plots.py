import plotly.graph_objects as go

from shelfcode.reporting.plots import as_html, level_colours, shorten, shorten_front


def test_shorten():
    assert shorten("green tea", 9) == "green tea"
    assert shorten("green tea bags", 9) == "green te…"
    assert shorten_front("green tea", 9) == "green tea"
    assert shorten_front("drinks > hot > tea", 12) == "…> hot > tea"


def test_colours_of_levels_grow_lighter():
    assert level_colours(1) == ["rgb(11, 79, 74)"]
    red = [int(colour[4:].split(",")[0]) for colour in level_colours(4)]
    assert red == sorted(red)


def test_a_drawing_in_a_page_ends_no_script_and_loads_nothing():
    figure = go.Figure(go.Bar(x=["</script><script>alert(1)</script>"], y=[1]))
    html = as_html(figure, "bars")
    assert 'id="bars"' in html
    assert html.count("</script>") == 1
    assert "src=" not in html
