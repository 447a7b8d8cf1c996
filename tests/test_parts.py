"""The files of a table are told by their names, and the same rows always get the same name."""

import numpy as np
import pytest

from shelfcode.parts import is_part, name_of_rows, part_name, part_path


def test_a_part_is_found_by_its_path_and_gives_back_its_name() -> None:
    path = part_path("embeddings/part-time/x", "000003-kept")
    assert path == "embeddings/part-time/x/part-000003-kept.parquet"
    assert is_part(path, "embeddings/part-time/x")
    assert part_name(path) == "000003-kept"


@pytest.mark.parametrize(
    "path",
    ["t/manifest.json", "t/part-1.csv", "t/part-1.parquet.tmp", "t/.part-1.parquet.0123abcd", "t/below/part-1.parquet", "u/part-1.parquet"],
)
def test_nothing_else_in_or_below_the_folder_is_a_part_of_it(path: str) -> None:
    assert not is_part(path, "t")


def test_equal_rows_have_one_name_and_others_another() -> None:
    rows, others = np.array([1, 2**63], np.uint64), np.array([2**63, 1], np.uint64)
    assert name_of_rows(rows) != name_of_rows(others)
    assert name_of_rows(rows.copy()) == "d381507e28a21f56"
