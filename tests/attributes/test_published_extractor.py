"""An extractor of a workspace is named as encoders are, pinned when a job starts, and named by its version wherever it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shelfcode.attributes.extractor import check_extractor, extractor_name
from shelfcode.attributes.published_extractor import ExtractorCard, on_this_machine, pin_extractor
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.embedding.pipeline import pin_models
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.published_model import publish_model
from shelfcode.workspace import Workspace

Untaught = Callable[..., str]


def llm(model: str) -> ExtractorSettings:
    return ExtractorSettings(engine="vllm", model=model)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "ws"))


@pytest.fixture
def publish(workspace: Workspace, untaught: Untaught) -> Callable[[], str]:
    def once() -> str:
        workspace.put_folder(Path(untaught(max_tokens=2048)), "runs/x/draft/model")
        return publish_model(workspace, "runs/x/draft", ExtractorCard(name="shop", base=None, recipe={}, data={}, figures={})).model

    return once


def test_a_release_says_which_version_it_was_made_with(workspace: Workspace, publish: Callable[[], str]) -> None:
    assert (publish(), publish()) == ("workspace:extractors/shop@v0001", "workspace:extractors/shop@v0002")
    for name, version in {"shop": "v0002", "shop@current": "v0002", "shop@v0001": "v0001"}.items():
        recipe = Recipe.model_validate(
            {"name": "d", "extractor": llm(f"workspace:extractors/{name}").model_dump(), "text_view": {"kind": "attributes"}}
        )
        assert pin_models(recipe, workspace).extractor.model == f"workspace:extractors/shop@{version}"


def test_its_attributes_are_kept_under_its_version_on_any_machine(workspace: Workspace, publish: Callable[[], str]) -> None:
    first, second = publish(), publish()
    names = [extractor_name(llm(model)) for model in (first, second)]
    assert names[0].startswith("shop-v0001-")
    assert len(set(names)) == 2
    workspace.remove("extractors")  # a sweep has to know the tables of releases in use, and may run where no model can be had
    assert extractor_name(llm(first)) == names[0]


def test_the_model_is_loaded_out_of_the_workspace(workspace: Workspace, publish: Callable[[], str]) -> None:
    model = llm(publish())
    check_extractor(model, workspace)
    with pytest.raises(ShelfcodeError, match=r"extractor\.model 'workspace:extractors/shop@v0001': which workspace\?"):
        check_extractor(model)


def test_an_engine_that_answers_requests_has_the_folder_of_the_version_that_is_current(
    workspace: Workspace, publish: Callable[[], str]
) -> None:
    for _ in range(2):
        publish()
    folder = Path(on_this_machine(llm("workspace:extractors/shop"), workspace).model)
    assert folder == Path(workspace.path("extractors/shop/v0002/model"))
    assert (folder / "config.json").exists()
    assert on_this_machine(llm("package:some-model"), workspace) == llm("package:some-model")


def test_a_name_that_is_not_there_is_told_with_those_there_are(workspace: Workspace, publish: Callable[[], str]) -> None:
    with pytest.raises(ShelfcodeError, match=r"no such extractor in .*; train one with jobs/distill_extractor\.py first"):
        pin_extractor(llm("workspace:extractors/shop"), workspace)
    publish()
    with pytest.raises(ShelfcodeError, match=r"no such extractor in .*; there are extractors/shop@v0001"):
        pin_extractor(llm("workspace:extractors/shop@v0007"), workspace)
    with pytest.raises(ShelfcodeError, match=r"expected workspace:extractors/NAME@v0001, or @current"):
        pin_extractor(llm("workspace:encoders/shop@v0001"), workspace)
    assert pin_extractor(ExtractorSettings(model="workspace:extractors/none"), workspace).engine == "rules"  # which need no model
