"""How a CSV file separates its cells: by comma, semicolon, tab or pipe."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 100
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How cells are separated.

    Attributes:
        skip_lines: lines before the header: Excel's `sep=;`.
        blanks_follow: whether the header has a blank after each delimiter; one in front of a cell is then no part of it.
        spaced: whether rows have blanks after delimiters anyway. Where they have none, such a blank speaks for prose.
    """

    delimiter: str
    skip_lines: int = 0
    blanks_follow: bool = False
    spaced: bool = False


def find_dialect(lines: Sequence[str], declared: str | None) -> Dialect:
    """The dialect of a file that begins with these lines.

    Where none is declared, the delimiter is the one that splits most of the lines into as many cells as the header has, and at least two.
    """
    named = _SEP_LINE.fullmatch(lines[0]) if lines else None
    first = 1 if named else 0
    header, *others = [line for line in lines[first:] if line.strip()][:SAMPLE_LINES] or [""]
    delimiter = declared or (named[1] if named else max(DELIMITERS, key=lambda each: _fit(header, others, each)))
    blanks = [cell.startswith(" ") for cell in split_line(header, delimiter)[1:]]
    rows = [cells for line in others if len(cells := split_line(line, delimiter)) == len(blanks) + 1]
    spaced = 2 * sum(any(cell.startswith(" ") for cell in cells[1:]) for cells in rows) > len(rows)
    blanks_follow = bool(blanks) and all(blanks)
    return Dialect(delimiter, first, blanks_follow, spaced or blanks_follow)


def _fit(header: str, lines: Sequence[str], delimiter: str) -> tuple[bool, float, int]:
    count = len(split_line(header, delimiter))
    alike = sum(len(split_line(line, delimiter)) == count for line in lines)
    return count > 1, alike / max(1, len(lines)), count


def split_line(line: str, delimiter: str) -> list[str]:
    """The cells of one line on its own."""
    return next(csv.reader([line], delimiter=delimiter), [])
