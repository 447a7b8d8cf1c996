"""Every product is embedded once: a run that is repeated, changed or broken off does only the work that is left."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from word_encoder import WORD_DIMENSIONS, WordEncoder

from shelfcode.attributes.extractor import extractor_name
from shelfcode.attributes.rules.extractor import extract
from shelfcode.attributes.table import attributes_schema
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot, snapshot_batches
from shelfcode.embedding.embeddings import EmbeddedCatalog, embedding_matrix, embeddings_table
from shelfcode.embedding.encoder import Encoder, LoadEncoder, embeddings_folder, load_encoder
from shelfcode.embedding.pipeline import embed_catalog, keep_int8, pin_models
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.embedding.text_view import attribute_texts, raw_texts
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.keys import text_hash
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace

pytestmark = pytest.mark.usefixtures("local_ray")

ACTOR = {"device": "cpu", "backend": "torch", "rows_per_part": 20, "actors_max": 1, "cpus_per_actor": 1}
WORDS = EncoderSettings(model="words", **ACTOR)
TITLES = [f"{word} milk {number // 10} {number % 10}" for number, word in enumerate(["oat", "rye", "apple", "soap"] * 10)]


OWN = {"kind": {"description": "what it is, of these", "values": ["milk", "soap"]}}


def a_recipe(**view: Any) -> Recipe:
    return Recipe(name="mine", encoder=WORDS, text_view=TextViewSettings(**view))


def extracting_recipe(**extractor: Any) -> Recipe:
    """A view of attributes, the recipe's own first."""
    recipe = a_recipe().model_dump() | {"extractor": {"attributes": OWN, "rows_per_part": 16, **extractor}}
    return Recipe.model_validate(recipe | {"text_view": {"kind": "attributes", "attributes": ["kind", "product_type"]}})


def snap(workspace: Workspace, rows: list[dict[str, Any]], source: Path) -> Snapshot:
    source.mkdir(parents=True, exist_ok=True)
    half = len(rows) // 2
    for name, part in (("a", rows[:half]), ("b", rows[half:])):
        pq.write_table(pa.Table.from_pylist(part), source / f"{name}.parquet")
    return take_snapshot(str(source), CatalogSettings(), workspace, "read", lambda _: None)


def products(titles: Sequence[str]) -> list[dict[str, Any]]:
    return [{"item_id": f"p{number}", "title": title} for number, title in enumerate(titles)]


def embed(
    snapshot: Snapshot, recipe: Recipe, workspace: Workspace, run: str = "run", load: LoadEncoder = WordEncoder
) -> tuple[EmbeddedCatalog, int]:
    """What was embedded, and the number of products that progress was told of."""
    reported: list[int] = []
    embedded = embed_catalog(snapshot, recipe, workspace, run, reported.append, load)
    assert embedded.embedded + embedded.reused + embedded.rejected == snapshot.products
    assert len(embedded.keys_N) == len(embedded.positions_N) == snapshot.products - embedded.rejected
    return embedded, sum(reported)


def matrix_of(embedded: EmbeddedCatalog, workspace: Workspace) -> np.ndarray:
    return np.array(embedding_matrix(workspace, embedded.folder, embedded.keys_N))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Snapshot, EmbeddedCatalog, int]:
    """Sixty products of the sample catalog, embedded by MiniLM, which every actor loads."""
    folder = tmp_path_factory.mktemp("shop")
    workspace = Workspace(str(folder / "ws"))
    snapshot = snap(workspace, sample_chunk(0, 60, seed=1).products.to_pylist(), folder / "source")
    recipe = Recipe(name="precision", encoder=EncoderSettings(**ACTOR))
    return workspace, snapshot, *embed(snapshot, recipe, workspace, load=load_encoder)


def test_every_product_has_the_vector_of_its_own_text(shop: tuple[Workspace, Snapshot, EmbeddedCatalog, int]) -> None:
    workspace, snapshot, embedded, told = shop
    assert (embedded.embedded, embedded.reused, embedded.rejected, told) == (60, 0, 0, 60)
    np.testing.assert_array_equal(embedded.positions_N, np.arange(60))
    texts = [text for batch in snapshot_batches(workspace, snapshot, ["title", "brand", "description"])
             for text in raw_texts(batch, TextViewSettings())]  # fmt: skip
    np.testing.assert_allclose(matrix_of(embedded, workspace), Encoder(EncoderSettings(**ACTOR)).embed(texts), atol=1e-5)


def test_actors_embed_in_int8_into_a_folder_of_its_own_unless_told_otherwise(tiny: Path, tmp_path: Path) -> None:
    workspace, snapshot = Workspace(str(tmp_path / "ws")), snap(Workspace(str(tmp_path / "ws")), products(TITLES), tmp_path / "source")
    recipe = Recipe(name="mine", encoder=EncoderSettings(model=str(tiny), **(ACTOR | {"backend": "auto"})))
    in_int8, _ = embed(snapshot, recipe, workspace, load=load_encoder)
    (digest,) = [name for name in workspace.names("models/int8") if not name.endswith(".json")]
    recipe = recipe.model_copy(update={"encoder": keep_int8(recipe.encoder, workspace)})
    assert recipe.encoder.int8_model == digest, "it was made once, and is kept"
    in_torch = recipe.model_copy(update={"encoder": EncoderSettings(model=str(tiny), **ACTOR)})
    assert in_int8.folder == embeddings_folder(recipe) != embeddings_folder(in_torch)
    x_ND, expected_ND = matrix_of(in_int8, workspace), Encoder(in_torch.encoder).embed(TITLES)
    assert (x_ND != expected_ND).any(axis=1).all()
    assert (x_ND * expected_ND).sum(axis=1).min() > 0.999


def test_parts_are_of_the_size_asked_for_and_plain_parquet(shop: tuple[Workspace, Snapshot, EmbeddedCatalog, int]) -> None:
    """Each of the catalog's two files leaves a smaller part where the other has not been read yet."""
    workspace, _, embedded, _ = shop
    tables = [pq.read_table(workspace.path(part)) for part in workspace.parts(embedded.folder)]
    assert sorted(map(len, tables)) in ([20, 20, 20], [10, 10, 20, 20])
    for table in tables:
        kind = table.schema.field("embedding").type
        assert pa.types.is_fixed_size_list(kind)
        assert (kind.list_size, kind.value_type) == (384, pa.float32())
        np.testing.assert_allclose(np.linalg.norm(np.array(table["embedding"].to_pylist()), axis=1), 1, atol=1e-6)
    assert sorted(item for table in tables for item in table["item_id"].to_pylist()) == sorted(
        item for batch in snapshot_batches(workspace, shop[1], ["item_id"]) for item in batch["item_id"].to_pylist()
    )


def test_a_second_run_embeds_nothing(shop: tuple[Workspace, Snapshot, EmbeddedCatalog, int]) -> None:
    workspace, snapshot, embedded, _ = shop
    parts = workspace.parts(embedded.folder)
    again, told = embed(snapshot, Recipe(name="precision", encoder=EncoderSettings(**ACTOR)), workspace)
    assert (again.embedded, again.reused, told) == (0, 60, 60)
    np.testing.assert_array_equal(again.keys_N, embedded.keys_N)
    assert workspace.parts(embedded.folder) == parts


def test_a_changed_title_or_a_lost_part_is_embedded_anew_and_nothing_else_is(tmp_path: Path) -> None:
    """Then a part is lost, as when a run is killed: only its products are embedded again."""
    workspace, recipe = Workspace(str(tmp_path / "ws")), a_recipe()
    first, _ = embed(snap(workspace, products(TITLES), tmp_path / "one"), recipe, workspace)
    first_ND = matrix_of(first, workspace)
    changed = [*TITLES[:7], "rye bread soap", *TITLES[8:]]
    snapshot = snap(workspace, products(changed), tmp_path / "two")
    second, told = embed(snapshot, recipe, workspace)
    assert (second.embedded, second.reused, told) == (1, 39, 40)
    second_ND = matrix_of(second, workspace)
    np.testing.assert_allclose(second_ND, WordEncoder(recipe.encoder).embed(changed), atol=1e-5)
    assert np.flatnonzero((first_ND != second_ND).any(axis=1)).tolist() == [7]

    parts = workspace.parts(second.folder)
    lost = max(parts, key=lambda part: len(workspace.read_table(part)))
    items = set(workspace.read_table(lost)["item_id"].to_pylist()) - {"p7"}  # its earlier text may be in there, its new one is elsewhere
    assert 1 < len(items) < 39
    workspace.remove(lost)
    workspace.write_bytes(f"{second.folder}/.part-half.parquet", b"what a killed actor leaves")
    third, _ = embed(snapshot, recipe, workspace)
    assert (third.embedded, third.reused) == (len(items), 40 - len(items))
    np.testing.assert_allclose(matrix_of(third, workspace), second_ND, atol=1e-6)


def test_a_text_without_a_finite_embedding_and_a_product_without_a_text_are_rejected_with_their_reasons(tmp_path: Path) -> None:
    """One of those without a text was embedded by an earlier version."""
    workspace, recipe = Workspace(str(tmp_path / "ws")), a_recipe(columns=["description"])
    texts = [*TITLES[:10], "cursed milk", *TITLES[10:20], "cursed bread", None, "\u200b"]
    rows = [{**row, "description": text} for row, text in zip(products(["a title"] * len(texts)), texts, strict=True)]
    stored = pa.table({"item_id": ["p22"], "text_hash": [text_hash("")]})
    stale = embeddings_table(stored, np.full((1, WORD_DIMENSIONS), WORD_DIMENSIONS**-0.5, np.float32))
    workspace.write_table(f"{embeddings_folder(recipe)}/part-stale.parquet", stale)
    embedded, told = embed(snap(workspace, rows, tmp_path / "source"), recipe, workspace, "embed")
    assert (embedded.embedded, embedded.reused, embedded.rejected, embedded.without_text, told) == (20, 0, 4, 2, 24)
    assert embedded.positions_N.tolist() == [position for position in range(22) if position not in (10, 21)]
    rejected = [row for part in workspace.parts("rejected/embed") for row in workspace.read_table(part).to_pylist()]
    assert sorted((row["item_id"], row["stage"], row["reason"], json.loads(row["row"])["text"]) for row in rejected) == [
        ("p10", "embedding", "embedding is not finite", "cursed milk"),
        ("p21", "embedding", "embedding is not finite", "cursed bread"),
        ("p22", "embedding", "no text in the view: description is empty", ""),
        ("p23", "embedding", "no text in the view: description is empty", ""),
    ]
    assert np.isfinite(matrix_of(embedded, workspace)).all()


def test_a_catalog_that_cannot_be_embedded_at_all_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    snapshot = snap(workspace, products(["cursed milk", "cursed rye"]), tmp_path / "source")
    with pytest.raises(ShelfcodeError, match="no product could be embedded: all 2 were rejected; see rejected/embed"):
        embed(snapshot, a_recipe(), workspace, "embed")


def test_the_attributes_view_embeds_what_was_extracted_even_beside_stale_rows(tmp_path: Path) -> None:
    """The attributes table still holds a catalog of which no text is left."""
    workspace, recipe = Workspace(str(tmp_path / "ws")), a_recipe(kind="attributes")
    old, _ = embed(snap(workspace, products(["Organic oat milk", "Rye bread"]), tmp_path / "one"), recipe, workspace)
    titles = ["Vegan oat milk carton", "Apple juice", "Rye bread, sliced", "Bar soap"]
    embedded, _ = embed(snap(workspace, products(titles), tmp_path / "two"), recipe, workspace)
    assert (old.embedded, embedded.embedded, embedded.reused) == (2, 4, 0)
    tables = [workspace.read_table(part) for part in workspace.parts("attributes/rules-v1")]
    assert sum(map(len, tables)) == 6
    text_of: dict[str, set[str]] = {}
    for table in tables:
        for item, text in zip(table["item_id"].to_pylist(), attribute_texts(table, recipe.text_view, {}), strict=True):
            text_of.setdefault(item, set()).add(text)
    x_ND = matrix_of(embedded, workspace)
    for position in range(4):
        candidates_ND = WordEncoder(recipe.encoder).embed(sorted(text_of[f"p{position}"]))
        assert np.abs(candidates_ND - x_ND[position]).max(axis=1).min() < 1e-5


def expected_texts(titles: Sequence[str]) -> list[str]:
    """What the view of `extracting_recipe` says of products of which there is a title only."""
    texts = []
    for title in titles:
        kinds = [kind for kind in title.split() if kind in ("milk", "soap")]
        texts.append(". ".join(filter(None, ["kind: " + ", ".join(kinds) if kinds else "", extract(title, None, None).product_type])))
    return texts


def test_the_attributes_view_extracts_and_embeds_every_product_in_one_plan(tmp_path: Path) -> None:
    """A second plan, for what the first has left, would have an actor of its own; a second run finds all done and has none."""
    workspace, recipe, actors = Workspace(str(tmp_path / "ws")), extracting_recipe(), tmp_path / "actors"
    actors.mkdir()

    def load(settings: EncoderSettings, workspace: Workspace) -> WordEncoder:
        """Leaves a folder for every actor that loads the encoder."""
        tempfile.mkdtemp(dir=actors)
        return WordEncoder(settings, workspace)

    snapshot = snap(workspace, products(TITLES), tmp_path / "source")
    embedded, told = embed(snapshot, recipe, workspace, load=load)
    assert len(list(actors.iterdir())) == 1
    assert (embedded.embedded, embedded.reused, told) == (40, 0, 40)
    assert embedded.extracted is not None
    assert embedded.extracted.counts() == {
        "extracted": 40, "shared": 0, "reused": 0, "calls": 0, "left_to_rules": 0, "truncated": 0, "unsupported_dropped": 0,
    }  # fmt: skip
    np.testing.assert_allclose(matrix_of(embedded, workspace), WordEncoder(recipe.encoder).embed(expected_texts(TITLES)), atol=1e-5)
    folder = f"attributes/{extractor_name(recipe.extractor)}"
    assert folder.startswith("attributes/rules-v1-"), "the rules alone know nothing of the recipe's own attributes"
    tables = [workspace.read_table(part) for part in workspace.parts(folder)]
    assert sorted(item for table in tables for item in table["item_id"].to_pylist()) == sorted(f"p{number}" for number in range(40))
    assert all(table.schema.equals(attributes_schema(recipe.extractor.attributes)) for table in tables)

    parts = workspace.parts(folder) + workspace.parts(embedded.folder)
    again, told = embed(snapshot, recipe, workspace, load=load)
    assert (again.embedded, again.reused, told) == (0, 40, 40)
    assert len(list(actors.iterdir())) == 1
    assert again.extracted is not None
    assert (again.extracted.extracted, again.extracted.shared, again.extracted.reused) == (0, 0, 40)
    np.testing.assert_array_equal(again.keys_N, embedded.keys_N)
    assert workspace.parts(folder) + workspace.parts(embedded.folder) == parts


def test_products_of_one_text_are_extracted_once_and_embedded_each_unless_nothing_was_found_of_them(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    recipe = Recipe.model_validate(extracting_recipe().model_dump() | {"text_view": {"kind": "attributes", "attributes": ["kind"]}})
    titles = ["oat milk", "bar soap", "oat milk", "rye bread", "oat milk", "bar soap"]
    embedded, told = embed(snap(workspace, products(titles), tmp_path / "source"), recipe, workspace, "first")
    assert (embedded.embedded, embedded.rejected, embedded.without_text, told) == (5, 1, 1, 6)
    assert embedded.extracted is not None
    assert (embedded.extracted.extracted, embedded.extracted.shared, embedded.extracted.reused) == (3, 3, 0)
    kinds = [f"kind: {title.split()[1]}" for title in titles if "rye" not in title]
    np.testing.assert_allclose(matrix_of(embedded, workspace), WordEncoder(recipe.encoder).embed(kinds), atol=1e-5)

    more = [*titles, "oat milk"]
    second, _ = embed(snap(workspace, products(more), tmp_path / "two"), recipe, workspace, "second")
    assert (second.embedded, second.reused, second.rejected) == (1, 5, 1)
    assert second.extracted is not None
    assert (second.extracted.extracted, second.extracted.shared, second.extracted.reused) == (0, 1, 6)
    for run in ("first", "second"):
        (rejected,) = [row for part in workspace.parts(f"rejected/{run}") for row in workspace.read_table(part).to_pylist()]
        assert (rejected["item_id"], rejected["reason"]) == ("p3", "no text in the view: the extractor found no kind")


def test_a_lost_part_is_embedded_again_without_extracting_or_extracted_again_without_embedding(tmp_path: Path) -> None:
    workspace, recipe = Workspace(str(tmp_path / "ws")), extracting_recipe()
    snapshot = snap(workspace, products(TITLES), tmp_path / "source")
    first, _ = embed(snapshot, recipe, workspace)
    first_ND = matrix_of(first, workspace)
    lost = workspace.parts(first.folder)[0]
    rows = len(workspace.read_table(lost))
    assert 0 < rows < 40
    workspace.remove(lost)
    second, told = embed(snapshot, recipe, workspace)
    assert (second.embedded, second.reused, told) == (rows, 40 - rows, 40)
    assert second.extracted is not None
    assert (second.extracted.extracted, second.extracted.reused) == (0, 40)
    np.testing.assert_allclose(matrix_of(second, workspace), first_ND, atol=1e-6)

    lost = second.extracted.parts[0]
    rows = len(workspace.read_table(lost))
    assert 0 < rows < 40
    workspace.remove(lost)
    third, told = embed(snapshot, recipe, workspace)
    assert (third.embedded, third.reused, told) == (0, 40, 40)
    assert third.extracted is not None
    assert (third.extracted.extracted, third.extracted.reused) == (rows, 40 - rows)


def test_attributes_without_a_finite_embedding_are_rejected_once_and_written_once(tmp_path: Path) -> None:
    """The streaming plan comes across them first and leaves them to the second, which keeps account."""
    workspace, recipe = Workspace(str(tmp_path / "ws")), extracting_recipe()
    titles = [*TITLES[:10], "cursed soap", *TITLES[10:20], "cursed soap"]
    snapshot = snap(workspace, products(titles), tmp_path / "source")
    embedded, told = embed(snapshot, recipe, workspace, "first")
    assert (embedded.embedded, embedded.reused, embedded.rejected, told) == (20, 0, 2, 22)
    assert embedded.positions_N.tolist() == [position for position in range(22) if position not in (10, 21)]
    rejected = [row for part in workspace.parts("rejected/first") for row in workspace.read_table(part).to_pylist()]
    assert sorted((row["item_id"], row["stage"], row["reason"], json.loads(row["row"])["text"]) for row in rejected) == [
        ("p10", "embedding", "embedding is not finite", "kind: soap. cursed soap"),
        ("p21", "embedding", "embedding is not finite", "kind: soap. cursed soap"),
    ]
    again, told = embed(snapshot, recipe, workspace, "second")
    assert (again.embedded, again.reused, again.rejected, told) == (0, 20, 2, 22)
    assert again.extracted is not None
    assert again.extracted.extracted == 0
    assert sum(len(workspace.read_table(part)) for part in workspace.parts("rejected/second")) == 2


def test_a_view_of_raw_text_extracts_nothing(shop: tuple[Workspace, Snapshot, EmbeddedCatalog, int]) -> None:
    workspace, _, embedded, _ = shop
    assert embedded.extracted is None
    assert not workspace.exists("attributes")


def test_a_model_of_the_extractor_that_is_not_there_stops_a_view_of_attributes_before_it_starts(tmp_path: Path) -> None:
    workspace, nowhere = Workspace(str(tmp_path / "ws")), {"engine": "vllm", "model": str(tmp_path / "nowhere")}
    with pytest.raises(ShelfcodeError, match=r"extractor\.model '.*nowhere': .* is not there\. Give a folder.*extractor\.engine=rules"):
        pin_models(extracting_recipe(**nowhere), workspace)
    pin_models(extracting_recipe(**nowhere).model_copy(update={"text_view": TextViewSettings()}), workspace)  # asks no extractor


def test_a_model_that_is_not_there_stops_the_run_with_the_users_message(tmp_path: Path) -> None:
    def refuse(settings: EncoderSettings, workspace: Workspace) -> WordEncoder:
        raise ShelfcodeError(f"encoder.model {settings.model!r} cannot be loaded")

    workspace = Workspace(str(tmp_path / "ws"))
    snapshot = snap(workspace, products(TITLES[:4]), tmp_path / "source")
    with pytest.raises(ShelfcodeError, match=r"^encoder\.model 'words' cannot be loaded$"):
        embed(snapshot, a_recipe(), workspace, load=refuse)
    with pytest.raises(ShelfcodeError, match="the package no-such-model is not installed"):
        embed(snapshot, Recipe(name="mine", encoder=EncoderSettings(model="package:no-such-model", **ACTOR)), workspace)


def test_vectors_of_another_dimension_than_those_stored_are_refused(tmp_path: Path) -> None:
    """A hub model goes by its name: what that stands for may change."""
    workspace, recipe = Workspace(str(tmp_path / "workspace")), a_recipe()
    snapshot = snap(workspace, products(TITLES), tmp_path / "source")
    stored = pa.table({"item_id": ["other"], "text_hash": ["0" * 32]})
    other = embeddings_table(stored, np.full((1, 48), 48**-0.5, np.float32))
    workspace.write_table(f"{embeddings_folder(recipe)}/part-other.parquet", other)
    with pytest.raises(ShelfcodeError, match=rf"gives {WORD_DIMENSIONS} dimensions, and the embeddings in .* have 48"):
        embed(snapshot, recipe, workspace)
    assert workspace.parts(embeddings_folder(recipe)) == [f"{embeddings_folder(recipe)}/part-other.parquet"]


def test_an_actor_that_dies_at_every_try_ends_the_job_and_says_what_to_do(tmp_path: Path) -> None:
    class Dying(WordEncoder):
        def embed(self, texts: Sequence[str]) -> np.ndarray:  # noqa: ARG002
            os._exit(1)  # as where the system kills a process for its memory

    workspace, recipe = Workspace(str(tmp_path / "ws")), a_recipe()
    recipe = recipe.model_copy(update={"encoder": WORDS.model_copy(update={"restarts_per_actor": 0})})
    snapshot = snap(workspace, products(TITLES[:4]), tmp_path / "source")
    with pytest.raises(ShelfcodeError, match=r"^an embedding actor died once.*lower encoder\.tokens_per_batch"):
        embed(snapshot, recipe, workspace, load=lambda settings, _: Dying(settings))
