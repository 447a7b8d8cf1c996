"""A CSV loses no row without a word: quotes that nobody closes, bad bytes and odd columns cost their own rows, and lines are counted."""

import random
from pathlib import Path

import pytest

from shelfcode.catalog.formats.delimited import read_csv
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.source_file import SourceFile

HEADER = "item_id,title,description,brand\n"


Cells = dict[int, list[str | bytes | None]]


def read(path: Path, content: str | bytes, rows_per_batch: int = 10_000, **settings: str) -> tuple[Cells, dict[int, str]]:
    """Cells of the usable rows, and reasons of the others, by their lines."""
    path = path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    cells: Cells = {}
    reasons: dict[int, str] = {}
    for batch in read_csv(SourceFile(str(path), "csv", ""), CatalogSettings(**settings), rows_per_batch):
        cells |= dict(zip(batch.numbers_N.tolist(), (list(row.values()) for row in batch.table.to_pylist()), strict=True))
        for row in batch.unreadable:
            reason, _, place = row.reason.partition(": line ")
            reasons[int(place.split()[0])] = reason
    return cells, reasons


def line(number: int, title: str = "Milk", description: str = "fresh, or so") -> str:
    return f'{number},{title},"{description}",Acme\n' if "," in description else f"{number},{title},{description},Acme\n"


STRAY = {
    "one that nothing closes": {9: '"Monitor 24'},
    "one in the last row": {59: '"Monitor 24'},
    "two far apart": {9: '"Monitor 24', 40: '"Monitor 27'},
    "two in rows that follow each other": {9: '"Monitor 24', 10: '"Monitor 27'},
    "text after the closing one": {9: '"Monitor" 24'},
}


@pytest.mark.parametrize("quoted", [True, False], ids=["among quoted cells", "among plain cells"])
@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
def test_a_stray_quote_costs_its_own_row(tmp_path: Path, stray: dict[int, str], quoted: bool) -> None:
    description = "fresh, or so" if quoted else "fresh"
    text = HEADER + "".join(line(number, stray.get(number, "Milk"), description) for number in range(60))
    cells, reasons = read(tmp_path, text)
    assert sorted(reasons) == [number + 2 for number in stray]
    assert [row[0] for row in cells.values()] == [str(number) for number in range(60) if number not in stray]
    assert set(reasons.values()) <= {"quote is not closed", "text follows a closing quote"}


@pytest.mark.parametrize("between", [0, 1, 30])
@pytest.mark.parametrize("end", ['Monitor 24"', '",x'], ids=["after a word", "before a comma"])
def test_rows_between_two_strays_that_look_like_one_cell_are_not_swallowed(tmp_path: Path, between: int, end: str) -> None:
    last = f"99,{end},fresh,Acme\n" if end.startswith("Mon") else '99,",fresh,Acme\n'
    text = (
        HEADER
        + line(1, description="fresh")
        + '2,"Monitor 24,fresh,Acme\n'
        + "".join(line(10 + n, description="x") for n in range(between))
    )
    cells, reasons = read(tmp_path, text + last + line(100, description="fresh"))
    ids = [row[0] for row in cells.values()]
    assert len(cells) + len(reasons) == 4 + between
    assert reasons[3] == "quote is closed rows later"
    assert ids == ["1", *(str(10 + n) for n in range(between)), *(["99"] if end.startswith("Mon") else []), "100"]


def test_swallowed_rows_are_found_where_the_cells_are_too_few(tmp_path: Path) -> None:
    text = HEADER + '1,"Monitor 24,fresh,Acme\n' + "".join(map(line, range(2, 9))) + '9,Milk,24",Acme\n' + line(10)
    cells, reasons = read(tmp_path, text.replace('"fresh, or so"', "fresh"))
    assert [row[0] for row in cells.values()] == [str(number) for number in range(2, 11)]
    assert list(reasons) == [2]


def test_cells_that_hold_line_ends_delimiters_and_quotes_are_read(tmp_path: Path) -> None:
    text = HEADER + (
        '1,"two\nlines, with a comma","a\n\nb",Acme\n'
        '2,"24"" wide",,"x\r\ny"\r\n'
        "\n"
        '3,Milk,"first\nsecond, third, fourth\nWater, salt, sugar, milk",Acme\n'
        '4,24" wide,plain,Acme\n'
    )
    cells, reasons = read(tmp_path, text)
    assert reasons == {}
    assert list(cells.values()) == [
        ["1", "two\nlines, with a comma", "a\n\nb", "Acme"],
        ["2", '24" wide', None, "x\r\ny"],
        ["3", "Milk", "first\nsecond, third, fourth\nWater, salt, sugar, milk", "Acme"],
        ["4", '24" wide', "plain", "Acme"],
    ]
    assert list(cells) == [2, 6, 9, 12]


def test_a_broken_cell_of_several_lines_is_one_rejected_row(tmp_path: Path) -> None:
    cells, reasons = read(tmp_path, HEADER + '1,"Monitor\n24" wide, black",fresh,Acme\n' + line(2))
    assert [row[0] for row in cells.values()] == ["2"]
    assert reasons == {2: "text follows a closing quote"}


def test_what_is_left_of_a_broken_cell_does_not_become_a_product(tmp_path: Path) -> None:
    rest = 'Water, salt, sugar, milk\nhalf, whole, fresh",Acme\n'
    cells, reasons = read(
        tmp_path, HEADER + "".join(map(line, range(9))) + '9,"Monitor 24" wide,"' + rest + line(10) + "11, Milk,fresh,Acme\n"
    )
    assert [row[0] for row in cells.values()] == [str(number) for number in range(12) if number != 9]
    assert list(reasons) == [11, 12]
    assert reasons[12] == "row may be the end of one whose quote is broken"


def test_blanks_after_the_delimiters_of_rows_do_not_hide_what_a_quote_swallowed(tmp_path: Path) -> None:
    rows = [f"{number}, Milk, fresh, Acme\n" for number in range(20)]
    rows[5], rows[12] = '5,"Monitor 24, fresh, Acme\n', '12,Monitor 24", fresh, Acme\n'
    cells, reasons = read(tmp_path, HEADER + "".join(rows))
    assert [row[0] for row in cells.values()] == [str(number) for number in range(20) if number != 5]
    assert reasons == {7: "quote is closed rows later"}


def test_whatever_is_broken_every_line_is_accounted_for(tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(100):
        rows = [
            line(number, chance.choice(["Milk", '"a\nb"', '"Mon', 'x"', '"', "a,b", '""', '"a""']), chance.choice("x,"))
            for number in range(40)
        ]
        cells, reasons = read(tmp_path, HEADER + "".join(rows), rows_per_batch=7)
        begins = sorted([*cells, *reasons])
        plain = {begin for begin, row in enumerate("".join(rows).split("\n"), start=2) if row.endswith((",Milk,x,Acme", ',Milk,",",Acme'))}
        assert plain <= set(begins), "a good row is neither usable nor rejected"


@pytest.mark.parametrize("count", [60, 60_000])
def test_a_bad_byte_and_an_extra_comma_cost_one_row(tmp_path: Path, count: int) -> None:
    rows = [b"%d,Milk,fresh,Acme\n" % number for number in range(count)]
    rows[count // 2] = b"x,Caf\xe9,one, two,Acme\n"
    cells, reasons = read(tmp_path, HEADER.encode() + b"".join(rows))
    assert (len(cells), reasons) == (count - 1, {count // 2 + 2: "row has 5 columns instead of 4"})


def test_lines_that_end_like_on_an_old_mac_are_lines(tmp_path: Path) -> None:
    cells, reasons = read(tmp_path, "item_id,title\r1,Milk\r2,Oats\r")
    assert (cells, reasons) == ({2: ["1", "Milk"], 3: ["2", "Oats"]}, {})


@pytest.mark.parametrize("delimiter", list(",;|\t"))
def test_the_delimiter_is_found_or_declared(tmp_path: Path, delimiter: str) -> None:
    rows = [["item_id", "title", "price"], ["1", "Milk; 1 l | fresh", "2.50"], ["2", "Oats", "1,20"]]
    text = "".join(delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) + "\n" for row in rows)
    found, _ = read(tmp_path, text)
    assert list(found.values()) == rows[1:]
    assert read(tmp_path, f"sep={delimiter}\r\n{text}")[0] == {number + 1: row for number, row in found.items()}
    assert read(tmp_path, text, delimiter="tab" if delimiter == "\t" else delimiter)[0] == found


def test_blanks_after_the_commas_of_a_header_are_no_part_of_names_and_cells(tmp_path: Path) -> None:
    assert read(tmp_path, 'item_id, title\n1, "Milk, fresh"\n2,Oats\n')[0] == {2: ["1", "Milk, fresh"], 3: ["2", "Oats"]}


ENCODED = "item_id,title\n1,Käse für Žofie\n2,Молоко 牛乳\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_recognised_by_how_the_file_begins(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, ENCODED.encode(encoding)) == ({2: ["1", "Käse für Žofie"], 3: ["2", "Молоко 牛乳"]}, {})


def test_other_encodings_are_declared(tmp_path: Path) -> None:
    content = "item_id,title\n1,Käse\n2,€ 5\n".encode("cp1252")
    assert read(tmp_path, content, encoding="cp1252")[0] == {2: ["1", "Käse"], 3: ["2", "€ 5"]}
    assert read(tmp_path, content)[0] == {2: ["1", b"K\xe4se"], 3: ["2", b"\x80 5"]}
    with pytest.raises(ValueError, match="no encoding of text is called 'cp99'"):
        CatalogSettings(encoding="cp99")


def test_batches_are_bounded_by_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfcode.catalog.source_file.BYTES_PER_BATCH", 10_000)
    path = tmp_path / "a.csv"
    path.write_text("item_id,image\n" + "".join(f"{number},{'x' * 3000}\n" for number in range(20)))
    sizes = [len(batch.table) for batch in read_csv(SourceFile(str(path), "csv", ""), CatalogSettings(), 10_000)]
    assert sizes == [4] * 5


def test_a_quote_that_nobody_closes_takes_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfcode.catalog.formats.delimited.ROW_LINES_MAX", 5)
    cells, reasons = read(tmp_path, HEADER + '1,"Milk,x,Acme\n' + "".join(line(number, description="x") for number in range(2, 50)))
    assert (len(cells), reasons) == (48, {2: "quote is not closed"})
