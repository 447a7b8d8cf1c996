"""How figures read as text, the same on a screen and in a page."""

NOT_DEFINED = "not defined"


def share_text(value: float) -> str:
    """A share in percent."""
    return f"{value:.1%}"


def rare_share_text(value: float | None) -> str:
    """A share in percent; a rare one with the digits that tell it apart from others."""
    if value is None:
        return NOT_DEFINED
    return f"{value:.1%}" if value >= 0.1 or not value else f"{value:.2%}" if value >= 0.001 else f"{100 * value:.2g}%"


def times_text(value: float) -> str:
    """A multiple of something even or usual."""
    return f"{value:.1f}x"


def number_text(value: float) -> str:
    """A correlation, or another number between -1 and 1."""
    return f"{value:.3f}"


def ratio_text(value: float | None) -> str:
    """A ratio, which may be anything from 0 to thousands: two decimals, fewer of a large one."""
    if value is None:
        return NOT_DEFINED
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def interval_text(low: float | None, high: float | None) -> str:
    """The interval of a ratio; nothing where there is none."""
    return "" if low is None or high is None else f"{ratio_text(low)} to {ratio_text(high)}"


def ratio_with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A ratio with its interval in brackets, where it has one."""
    interval = interval_text(low, high)
    return ratio_text(value) + (f" [{interval}]" if interval else "")
