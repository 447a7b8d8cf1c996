"""The frame and the style that every report has: one self-contained HTML page that loads nothing."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

_ENVIRONMENT = Environment(loader=PackageLoader("shelfcode", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def render_page(template: str, title: str, with_plots: bool, **content: object) -> str:
    """A whole page as text. What is not marked as HTML (`Markup`) is shown as text, whatever markup it holds.

    Args:
        template: path within this package, such as `evaluation/report.html.j2`; it extends `reporting/page.html.j2`.
        title: of the page.
        with_plots: whether the page holds plots, which bring plotly.js along (about 5 MB).
        content: what the template shows.
    """
    script = Markup(get_plotlyjs()) if with_plots else ""
    return _ENVIRONMENT.get_template(template).render(title=title, plotly_js=script, **content)
