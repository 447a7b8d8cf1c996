"""docs/configuration.md says what the recipe's models say, no more and no less."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from shelfcode.flavor import field_names

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def configuration() -> ModuleType:
    """docs/configuration.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("configuration_docs", DOCS / "configuration.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_current(configuration: ModuleType) -> None:
    assert (DOCS / "configuration.md").read_text() == configuration.document(), "docs/configuration.md is out of date: run make docs"
    assert configuration.main(["--check"]) == 0


def test_every_field_has_a_row_or_a_section_of_its_own(configuration: ModuleType) -> None:
    lines = configuration.document().splitlines()
    missing = [name for name in field_names() if f"## {name}" not in lines and not any(line.startswith(f"| `{name}` |") for line in lines)]
    assert missing == []


def test_a_file_that_differs_or_is_not_there_is_out_of_date(
    configuration: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration, "TARGET", tmp_path / "configuration.md")
    assert configuration.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert configuration.main([]) == 0
    assert configuration.main(["--check"]) == 0
    configuration.TARGET.write_text(configuration.document() + "by hand")
    assert configuration.main(["--check"]) == 1
