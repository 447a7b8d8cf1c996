"""CSV, strictly: a row that breaks the rules of quoting is rejected alone, and takes no row after it along.

A cell may be quoted, and may then hold delimiters and line ends; a quote inside is doubled. A quote that nobody closes makes parsers take
all that follows, up to the next quote, for one cell. So each line is numbered before it is parsed, a row that goes over several lines is
looked at more closely, and at the end every line must have been accounted for.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from shelfcode.catalog.formats.dialect import SAMPLE_LINES, Dialect, find_dialect
from shelfcode.catalog.formats.text_stream import is_decoded, open_text, undecoded
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.source_file import RowBatch, RowsRead, SourceFile

ROW_LINES_MAX, ROW_CHARACTERS_MAX = 10_000, 16 * 2**20
"""A row that goes on over more lines, or more characters after its first line, than these has a quote that nobody closes."""

csv.field_size_limit(2**31 - 1)


@dataclass
class Lines:
    """The lines of a file. Those of the current row can be put back, to be parsed one by one.

    Attributes:
        given: the lines of the current row so far.
        number: of the first of them; the first line of a file is 1.
        count: how many lines the file had so far.
    """

    source: Iterator[str]
    given: list[str] = field(default_factory=list)
    ahead: deque[str] = field(default_factory=deque)
    number: int = 1
    count: int = 0
    _characters: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.given and (len(self.given) >= ROW_LINES_MAX or self._characters > ROW_CHARACTERS_MAX):
            raise StopIteration
        if self.ahead:
            line = self.ahead.popleft()
        else:
            line = next(self.source)
            self.count += 1
        if self.given:
            self._characters += len(line)
        self.given.append(line)
        return line

    def next_row(self) -> None:
        """The lines given so far are done with."""
        self.number += len(self.given)
        self.given, self._characters = [], 0

    def keep_first(self) -> None:
        """The current row is its first line alone; the others come again."""
        self.ahead.extendleft(reversed(self.given[1:]))
        del self.given[1:]


def read_csv(file: SourceFile, settings: CatalogSettings, rows_per_batch: int) -> Iterator[RowBatch]:
    """All columns as text, so '007' stays an item_id. Where a cell is not in the file's encoding, its column is bytes, and judged later.

    Raises:
        ValueError: the header is broken, or lines are not accounted for.
        OSError: the file breaks off.
    """
    with open_text(file.url, settings.encoding) as text:
        begin = list(islice(text, SAMPLE_LINES))
        dialect = find_dialect(begin, settings.delimiter)
        lines = Lines(iter(text))
        lines.ahead, lines.count = deque(begin), len(begin)
        names = _header(lines, dialect)
        if not names:
            return
        yield from _rows(file, lines, dialect, names, rows_per_batch)
        if lines.number - 1 != lines.count:
            raise ValueError(f"the file has {lines.count} lines, and {lines.number - 1} are accounted for")


def _rows(file: SourceFile, lines: Lines, dialect: Dialect, names: list[str], rows_per_batch: int) -> Iterator[RowBatch]:
    read, columns, reader = RowsRead(rows_per_batch), len(names), _reader(lines, dialect)
    quote_broken = False
    while True:
        problem = None
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            cells, problem = [], _in_words(error)
        if len(lines.given) > 1:
            problem = _problem_of_long_row(cells, lines, dialect, columns, problem)
        elif cells and len(cells) != columns:
            problem = f"row has {len(cells)} columns instead of {columns}"
        elif cells and quote_broken and not dialect.spaced and _reads_like_prose(cells):
            problem = "row may be the end of one whose quote is broken"
        quote_broken = (quote_broken or "quote" in problem) if problem else quote_broken and not cells
        if problem:
            row_text = "".join(lines.given).rstrip("\r\n")
            shown = undecoded(row_text).decode("utf-8", "replace")
            read.unreadable.append(RejectedRow(None, "read", f"{problem}: {file.place(lines.number)}", {"text": shown}))
            read.bytes += len(row_text)
        elif cells:  # a line with nothing in it is no row
            read.rows.append(cells)
            read.numbers.append(lines.number)
            read.bytes += sum(map(len, lines.given))
        lines.next_row()
        if read.full:
            yield read.batch(lambda rows: _table(names, rows))
    if read.rows or read.unreadable:
        yield read.batch(lambda rows: _table(names, rows))


def _header(lines: Lines, dialect: Dialect) -> list[str]:
    for _ in range(dialect.skip_lines):
        next(lines)
        lines.next_row()
    reader = _reader(lines, dialect)
    names: list[str] = []
    try:
        while not names:
            names = next(reader)
            lines.next_row()
    except StopIteration:
        return []
    except csv.Error as error:
        raise ValueError(f"{_in_words(error)} in the header, line {lines.number}") from error
    return [name if is_decoded(name) else undecoded(name).decode("utf-8", "replace") for name in names]


def _reader(lines: Iterator[str], dialect: Dialect) -> "Iterator[list[str]]":
    return csv.reader(lines, delimiter=dialect.delimiter, strict=True, skipinitialspace=dialect.blanks_follow)


def _in_words(error: csv.Error) -> str:
    return "quote is not closed" if "end of data" in str(error) else "text follows a closing quote"


def _problem_of_long_row(cells: list[str], lines: Lines, dialect: Dialect, columns: int, problem: str | None) -> str | None:
    """What is wrong with a row of several lines, if something is: whether a cell holds line ends, or a quote took rows for its cell.

    Lines that are rows of their own are given back.
    """
    first, *others = lines.given
    if problem is None and len(cells) == columns:
        if not _is_row(first, columns, dialect, spaced=True):
            return None
        if 2 * sum(_is_row(line, columns, dialect, dialect.spaced) for line in others) <= len(others):
            return None
        problem = "quote is closed rows later"
    elif problem is None:
        problem = f"row has {len(cells)} columns instead of {columns}"
    if any(_is_row(line, columns, dialect, dialect.spaced) for line in others):
        lines.keep_first()
    return problem


def _is_row(line: str, columns: int, dialect: Dialect, spaced: bool) -> bool:
    """Whether a line looks like a whole row, be it but for one quote that is open.

    Args:
        spaced: whether a blank after a delimiter may be part of a row; where it may not, it shows prose.
    """
    opening = [match.end() - 1 for match in re.finditer(rf'(?:^|{re.escape(dialect.delimiter)} ?)"', line)]
    for candidate in (line, *(line[:place] + line[place + 1 :] for place in opening)):
        try:
            cells = next(_reader(iter([candidate]), dialect))
        except (csv.Error, StopIteration):
            continue
        if len(cells) == columns and (spaced or not _reads_like_prose(cells)):
            return True
    return False


def _reads_like_prose(cells: list[str]) -> bool:
    return any(cell.startswith(" ") for cell in cells[1:])


def _table(names: list[str], rows: list[list[str]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
    return pa.table([_column(values) for values in columns], names=names)


def _column(values: tuple[str, ...]) -> pa.Array:
    cells = [value or None for value in values]
    try:
        return pa.array(cells, pa.string())
    except UnicodeEncodeError:
        return pa.array([None if cell is None else undecoded(cell) for cell in cells], pa.binary())
