"""Text view -> embedding, by Ray Data: streaming tasks make the texts, an autoscaling pool of actors embeds them.

Every actor writes what it has embedded at once, whole file by whole file. A run that is killed therefore goes on where
it stopped: the next one finds those rows stored and embeds the others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from shelfcode.attributes.extractor import check_extractor
from shelfcode.attributes.pipeline import extract_attributes
from shelfcode.attributes.published_extractor import pin_extractor
from shelfcode.attributes.schema import ExtraAttributes
from shelfcode.attributes.table import ExtractedCatalog
from shelfcode.catalog.rejected import RejectedRow, write_rejected
from shelfcode.catalog.snapshot import Snapshot, snapshot_item_keys
from shelfcode.embedding.embeddings import EmbeddedCatalog, embeddings_table
from shelfcode.embedding.encoder import Encoder, LoadEncoder, TextEncoder, embeddings_folder, load_encoder
from shelfcode.embedding.int8_models import built_folder, check_kept, digest_of, int8_source, keep_model, kept_model
from shelfcode.embedding.prompts import document_prompt
from shelfcode.embedding.published_encoder import pin_encoder
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.embedding.text_view import attribute_texts, raw_texts, without_text
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.keys import KeyIndex, Keys, first_copies, index_keys, item_keys, row_keys, stored_rows, text_hash
from shelfcode.parts import name_of_rows, part_path
from shelfcode.progress import Progress
from shelfcode.text import seen
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class TextSource:
    """Where the texts of a view come from: parts of the snapshot, or of an attributes table.

    Attributes:
        own: the attributes that the recipe adds.
        owner: for a table that also holds other products: row key -> number of the part whose row is to be used.
    """

    workspace: Workspace
    parts: tuple[str, ...]
    view: TextViewSettings
    own: ExtraAttributes
    owner: KeyIndex | None = None


def pin_models(recipe: Recipe, workspace: Workspace) -> Recipe:
    """The recipe with all that `auto` and `@current` stand for now; says which models cannot be had.

    Raises:
        ShelfcodeError: the encoder's package or version is missing, or the extractor's model cannot be found or used; or the model in int8
            that a release was made with is gone.
    """
    encoder, extractor = pin_encoder(recipe.encoder, workspace), recipe.extractor
    check_kept(workspace, encoder)
    if recipe.text_view.kind == "attributes":
        extractor = pin_extractor(extractor, workspace)
        check_extractor(extractor, workspace)
        extractor = extractor.model_copy(update={"dtype": extractor.chosen_dtype} if extractor.engine == "vllm" else {})
    return recipe.model_copy(update={"encoder": encoder, "extractor": extractor})


def keep_models(recipe: Recipe, workspace: Workspace) -> Recipe:
    """The recipe with the model in int8 that the workspace keeps, where its encoder runs in int8. Errors as those of `keep_int8`."""
    return recipe.model_copy(update={"encoder": keep_int8(recipe.encoder, workspace)})


def keep_int8(encoder: EncoderSettings, workspace: Workspace) -> EncoderSettings:
    """The settings with the model in int8 that the workspace keeps, where they ask for int8; it is made there, in a task, if there is none.

    Raises:
        ShelfcodeError: the encoder cannot be had or cannot be run in int8.
    """
    if encoder.chosen_backend != "int8" or encoder.int8_model:
        return encoder
    source = int8_source(encoder, document_prompt(encoder, {}), workspace)
    digest = kept_model(workspace, source)
    if digest is None and digest_of(built := built_folder(source)) is not None:  # this machine has made it for another workspace
        digest = keep_model(workspace, source, built, encoder.model)
    if digest is None:
        digest = ray.get(ray.remote(num_cpus=encoder.cpus_per_actor, max_retries=3)(_make_int8).remote(encoder, source, workspace))
    return encoder.model_copy(update={"int8_model": digest})


def _make_int8(encoder: EncoderSettings, source: str, workspace: Workspace) -> str:
    Encoder(encoder, workspace)  # which quantises its model where its settings name none, and leaves it on this node's disk
    return keep_model(workspace, source, built_folder(source), encoder.model)


def embed_catalog(
    snapshot: Snapshot, recipe: Recipe, workspace: Workspace, run: str, progress: Progress, load: LoadEncoder = load_encoder
) -> EmbeddedCatalog:
    """Embeddings of every product of a snapshot; rows whose text and encoder are unchanged are not embedded again.

    Products without attributes are extracted and embedded in one streaming plan, where the view wants attributes.

    Args:
        run: under which rejected rows are kept.
        load: called in every embedding actor, for its encoder.

    Raises:
        ShelfcodeError: the encoder or the extractor cannot be loaded, or no product could be embedded.
    """
    encoder = keep_int8(pin_encoder(recipe.encoder, workspace), workspace)
    recipe = recipe.model_copy(update={"encoder": encoder})  # vectors are kept under the name of a version and of an int8 model
    folder = embeddings_folder(recipe)
    before = workspace.parts(folder)
    known = stored_rows(workspace, before)
    embedding = _Embedding(recipe.encoder, workspace, folder, progress, load)
    source, extracted = _text_source(snapshot, recipe, embedding)
    item_keys_N = snapshot_item_keys(workspace, snapshot)
    keys_N, text_N = _row_keys(source, item_keys_N, run)
    stored_N = text_N & (known.get(keys_N) >= 0)
    reused, without_text = int(stored_N.sum()), int((~text_N).sum())
    progress(reused + without_text)
    stored_N |= text_N & _stored_since(workspace, folder, before, keys_N)  # while attributes were extracted
    rejected = without_text
    if not stored_N[text_N].all():
        rejected += _embed_missing(source, index_keys(keys_N[stored_N]), embedding, run)
        stored_N |= text_N & _stored_since(workspace, folder, before, keys_N)
    if int((~stored_N).sum()) != rejected:
        raise RuntimeError(f"{int((~stored_N).sum())} products have no embedding, but {rejected} were rejected")
    if not stored_N.any():
        raise ShelfcodeError(f"no product could be embedded: all {rejected} were rejected; see rejected/{run}")
    return EmbeddedCatalog(
        folder, np.flatnonzero(stored_N), keys_N[stored_N], embedded=len(keys_N) - reused - rejected, reused=reused, rejected=rejected,
        without_text=without_text, extracted=extracted,
    )  # fmt: skip


@dataclass(frozen=True)
class _Embedding:
    """How texts are embedded, and the folder that their embeddings are kept in."""

    settings: EncoderSettings
    workspace: Workspace
    folder: str
    progress: Progress
    load: LoadEncoder


def _text_source(snapshot: Snapshot, recipe: Recipe, embedding: _Embedding) -> tuple[TextSource, ExtractedCatalog | None]:
    """Where the texts of the view are; attributes that are missing are extracted, and embedded as they come."""
    view, own, workspace = recipe.text_view, recipe.extractor.attributes, embedding.workspace
    if view.kind == "raw":
        return TextSource(workspace, tuple(part.path for part in snapshot.parts), view, own), None

    def embed_as_they_come(rows: ray.data.Dataset) -> None:
        known = ray.put(stored_rows(workspace, workspace.parts(embedding.folder)))
        arguments = {"source": TextSource(workspace, (), view, own), "known": known}
        texts = rows.map_batches(_new_texts, batch_size=None, batch_format="pyarrow", fn_kwargs=arguments)
        _embed(texts, embedding, None)

    extracted = extract_attributes(snapshot, recipe.extractor, workspace, embed_as_they_come)
    return TextSource(workspace, extracted.parts, view, own, extracted.owner), extracted


def _row_keys(source: TextSource, item_keys_N: Keys, run: str) -> tuple[Keys, NDArray[np.bool_]]:
    """Row key of each product of the snapshot, in its order, and whether it has a text. Those that have none are kept as rejected rows."""
    parts = list(_each_part(source, _text_keys, {"source": ray.put(source), "run": run}).iter_rows())
    items = np.concatenate([np.frombuffer(part["item_keys"], dtype=np.uint64) for part in parts])
    rows = np.concatenate([np.frombuffer(part["row_keys"], dtype=np.uint64) for part in parts])
    has_text = np.concatenate([np.frombuffer(part["has_text"], dtype=np.bool_) for part in parts])
    place_N = index_keys(items).get(item_keys_N)
    if (place_N < 0).any():
        raise RuntimeError(f"{int((place_N < 0).sum())} products have no text view")
    return rows[place_N], has_text[place_N]


def _stored_since(workspace: Workspace, folder: str, before: Sequence[str], keys_N: Keys) -> NDArray[np.bool_]:
    """Which rows are in parts that were not there before."""
    known = set(before)
    return stored_rows(workspace, [part for part in workspace.parts(folder) if part not in known]).get(keys_N) >= 0


def _embed_missing(source: TextSource, known: KeyIndex, embedding: _Embedding, run: str) -> int:
    """Embed the texts that are not known; the number that was rejected."""
    texts = _each_part(source, _missing_texts, {"source": ray.put(source), "known": ray.put(known)})
    return _embed(texts, embedding, run)


def _embed(texts: ray.data.Dataset, embedding: _Embedding, run: str | None) -> int:
    """Run a plan of texts through the embedding actors; the number that was rejected.

    Args:
        run: under which rejected rows are kept; None where another try at them follows.

    Raises:
        ShelfcodeError: the encoder cannot be loaded, or gives vectors of another dimension than those that are stored.
    """
    settings, workspace, folder = embedding.settings, embedding.workspace, embedding.folder
    stored = workspace.parts(folder)[:1]
    dimensions = workspace.read_schema(stored[0]).field("embedding").type.list_size if stored else None
    done = texts.map_batches(
        EmbeddingActor,
        batch_size=settings.rows_per_part,
        batch_format="pyarrow",
        fn_constructor_args=(settings, workspace, folder, run, dimensions, embedding.load),
        compute=ray.data.ActorPoolStrategy(min_size=settings.actors_min, max_size=max(settings.actors_min, settings.actors_max)),
        num_cpus=settings.cpus_per_actor,
        num_gpus=settings.gpus_per_actor or None,
        max_restarts=settings.restarts_per_actor,
    )
    rejected = 0
    try:
        for row in done.iter_rows():
            if row["problem"]:
                raise ShelfcodeError(row["problem"])
            rejected += int(row["rejected"])
            embedding.progress(int(row["embedded"]) + (int(row["rejected"]) if run else 0))
    except ray.exceptions.ActorDiedError as error:
        if EmbeddingActor.__name__ not in str(error):  # an engine's, of the plan before
            raise
        times = f"{settings.restarts_per_actor + 1} times" if settings.restarts_per_actor else "once"
        raise ShelfcodeError(
            f"an embedding actor died {times}, and encoder.restarts_per_actor allows no more. Most often a "
            "node has too little memory: lower encoder.tokens_per_batch, or reserve more CPUs for each (encoder.cpus_per_actor). What was "
            f"embedded is kept: start the same command again, and the rest is embedded. Ray says: {str(error).strip().splitlines()[0]}"
        ) from error
    return rejected


def _each_part(source: TextSource, function: Callable[..., Iterator[pa.Table]], arguments: dict[str, object]) -> ray.data.Dataset:
    dataset = ray.data.from_items(list(range(len(source.parts))), override_num_blocks=len(source.parts))
    return dataset.map_batches(function, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments)


def _text_keys(item: pa.Table, source: "ray.ObjectRef[TextSource]", run: str) -> Iterator[pa.Table]:
    of, part = ray.get(source), item["item"][0].as_py()
    texts = read_texts(of, part)
    has_text_B = _has_text(texts)
    reason = f"no text in the view: {without_text(of.view)}"
    silent = texts.select(["item_id", "text"]).filter(pa.array(~has_text_B)).to_pylist()
    write_rejected(of.workspace, run, f"no-text-{part:06d}", [RejectedRow(row["item_id"], "embedding", reason, row) for row in silent])
    keys = {"item_keys": item_keys(texts["item_id"]), "row_keys": row_keys(texts["item_id"], texts["text_hash"]), "has_text": has_text_B}
    yield pa.table({name: pa.array([values.tobytes()], pa.large_binary()) for name, values in keys.items()})


def _missing_texts(item: pa.Table, source: "ray.ObjectRef[TextSource]", known: "ray.ObjectRef[KeyIndex]") -> Iterator[pa.Table]:
    yield _unknown(read_texts(ray.get(source), item["item"][0].as_py()), ray.get(known))


def _new_texts(rows: pa.Table, source: TextSource, known: "ray.ObjectRef[KeyIndex]") -> pa.Table:
    return _unknown(_texts_of(rows, source), ray.get(known))


def _unknown(texts: pa.Table, known: KeyIndex) -> pa.Table:
    """Those that are to be embedded. Products without a text would all get the same vector, and the same code."""
    return texts.filter(pa.array(_has_text(texts) & (known.get(row_keys(texts["item_id"], texts["text_hash"])) < 0)))


def _has_text(texts: pa.Table) -> NDArray[np.bool_]:
    return np.array([bool(seen(text)) for text in texts["text"].to_pylist()], dtype=bool)


def read_texts(source: TextSource, part: int) -> pa.Table:
    """The texts of one part: item_id, text, text_hash."""
    columns = ["item_id", *source.view.columns] if source.view.kind == "raw" else None
    table = source.workspace.read_table(source.parts[part], columns=columns)
    if source.owner is not None:
        table = table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), source.owner, part)))
    return _texts_of(table, source)


def _texts_of(table: pa.Table, source: TextSource) -> pa.Table:
    raw = source.view.kind == "raw"
    texts = raw_texts(table, source.view) if raw else attribute_texts(table, source.view, source.own)
    hashes = pa.array([text_hash(text) for text in texts], pa.string())
    return pa.table({"item_id": table["item_id"].cast(pa.string()), "text": pa.array(texts, pa.string()), "text_hash": hashes})


class EmbeddingActor:
    """An encoder in an actor. Embeds a batch, stores it as one part file, and passes on only the counts, or why there are none."""

    def __init__(
        self, settings: EncoderSettings, workspace: Workspace, folder: str, run: str | None, dimensions: int | None, load: LoadEncoder
    ) -> None:
        # Raised here, an error would reach the driver as the text of an actor's death, after several tries, and not as itself.
        self.problem = ""
        try:
            self.encoder: TextEncoder = load(settings, workspace)
        except ShelfcodeError as error:
            self.problem = str(error)
        self.settings, self.workspace, self.folder, self.run, self.dimensions = settings, workspace, folder, run, dimensions

    def __call__(self, texts: pa.Table) -> pa.Table:
        if self.problem:
            return _message(problem=self.problem)
        keys_N = row_keys(texts["item_id"], texts["text_hash"])
        name = name_of_rows(keys_N)
        x_ND = self.encoder.embed(texts["text"].to_pylist())
        if self.dimensions and x_ND.shape[1] != self.dimensions and len(x_ND):
            self.problem = (
                f"encoder.model {self.settings.model} gives {x_ND.shape[1]} dimensions, and the embeddings in {self.folder} have "
                f"{self.dimensions}: it is another encoder than before. Name it otherwise and train a new release with it"
            )
            return _message(problem=self.problem)
        finite_N = np.isfinite(x_ND).all(axis=1)
        rejected = [
            RejectedRow(row["item_id"], "embedding", "embedding is not finite", row)
            for row in texts.select(["item_id", "text"]).filter(pa.array(~finite_N)).to_pylist()
        ]
        if self.run:
            write_rejected(self.workspace, self.run, f"embedding-{name}", rejected)
        if finite_N.any():
            table = embeddings_table(texts.filter(pa.array(finite_N)), x_ND[finite_N])
            self.workspace.write_table(part_path(self.folder, name), table)
        return _message(int(finite_N.sum()), len(rejected))


def _message(embedded: int = 0, rejected: int = 0, problem: str = "") -> pa.Table:
    """What an actor passes on to the driver."""
    return pa.table({"embedded": [embedded], "rejected": [rejected], "problem": [problem]})
