"""The pages of docs/ that list the fields of recipes say what the models say, no more and no less."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from shelfcode.audit.settings import AuditSettings
from shelfcode.embedding.relevance.recipe import RelevanceRecipe
from shelfcode.evaluation.judge.settings import JudgeSettings
from shelfcode.flavor import Recipe
from shelfcode.retrieval.answering_settings import AnsweringSettings
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.settings import Settings, field_names

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


@pytest.mark.parametrize(
    "name",
    [
        "configuration.md", "encoder-configuration.md", "audit-configuration.md", "judge-configuration.md",
        "retriever-configuration.md", "surfaces-configuration.md",
    ],
)  # fmt: skip
def test_the_files_are_current(configuration: ModuleType, name: str) -> None:
    assert (DOCS / name).read_text() == configuration.documents()[name], f"docs/{name} is out of date: run make docs"
    assert configuration.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("configuration.md", Recipe),
        ("encoder-configuration.md", RelevanceRecipe),
        ("audit-configuration.md", AuditSettings),
        ("judge-configuration.md", JudgeSettings),
        ("retriever-configuration.md", RetrieverRecipe),
        ("retriever-configuration.md", AnsweringSettings),
        ("surfaces-configuration.md", SurfaceSettings),
    ],
)
def test_every_field_has_a_row_or_a_section_of_its_own(configuration: ModuleType, name: str, recipe: type[Settings]) -> None:
    lines = configuration.documents()[name].splitlines()
    fields = field_names(recipe)
    missing = [field for field in fields if f"## {field}" not in lines and not any(line.startswith(f"| `{field}` |") for line in lines)]
    assert missing == []


def test_a_file_that_differs_or_is_not_there_is_out_of_date(
    configuration: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration, "FOLDER", tmp_path)
    assert configuration.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert configuration.main([]) == 0
    assert configuration.main(["--check"]) == 0
    (tmp_path / "configuration.md").write_text(configuration.documents()["configuration.md"] + "by hand")
    assert configuration.main(["--check"]) == 1
