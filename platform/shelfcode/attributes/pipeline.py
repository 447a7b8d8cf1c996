"""Snapshot -> attributes, by Ray Data: each text goes through the extractor once, whatever number of products share it.

    texts without attributes -> prompts -> vLLM -> answers held against the texts -> rows, stored -> whatever comes next

A round stores every product whose answer could be used. The others, including those whose engine died, are still missing, so the
next round finds them: first the model again with more room for its answer, then the rules.
"""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from shelfcode.attributes.extractor import check_extractor, extractor_name
from shelfcode.attributes.prompt import extraction_budget, product_prompt, text_hashes
from shelfcode.attributes.schema import json_schema
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.attributes.table import FOLDER, ExtractedCatalog, Outcome, attributes_rows, read_outcome, write_part
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.keys import KeyIndex, Keys, first_copies, index_keys, item_keys, owners, row_keys, stored_rows
from shelfcode.llm.pipeline import ask_all, engines
from shelfcode.llm.prompt import TokenBudget, load_tokenizer
from shelfcode.progress import Progress
from shelfcode.workspace import Workspace

if TYPE_CHECKING:  # transformers takes seconds to import, and every worker process imports this
    from transformers import PreTrainedTokenizerBase

EXTRACTED_COLUMNS = ["item_id", "title", "description", "brand"]
KEPT_COLUMNS = ["item_id", "text_hash", "title", "description", "brand", "truncated"]
ENGINE_HINT = "See extractor.engine_arguments and docs/attributes.md, or --set extractor.engine=rules"

Consumer = Callable[[ray.data.Dataset], None]
"""Is given the stored rows of attributes as a plan, adds to it what it likes, and runs it."""

Ask = Callable[[ray.data.Dataset, ExtractorSettings, int], ray.data.Dataset]
"""Products -> the same with `answer`, `error` and `truncated`, within so many tokens of output."""


@dataclass(frozen=True)
class Texts:
    """Products of a snapshot by what is extracted from them.

    Attributes:
        rows_N: row key of each product.
        texts_N: key of its text alone, equal for products that say the same.
    """

    rows_N: Keys
    texts_N: Keys


@dataclass(frozen=True)
class Round:
    """One try at the texts that have no attributes yet; a round without `output_tokens` is the rules'.

    Attributes:
        last: what fails now is left to the rules.
    """

    output_tokens: int | None
    last: bool


def ask_model(products: ray.data.Dataset, settings: ExtractorSettings, output_tokens: int) -> ray.data.Dataset:
    """The answers of the model that the settings name, by vLLM."""
    budget = extraction_budget(settings, load_tokenizer(settings))
    prompts = products.map_batches(_prompts, batch_size=None, batch_format="pyarrow", fn_kwargs={"settings": settings, "budget": budget})
    return ask_all(prompts, settings, budget, json_schema(settings.attributes), output_tokens, KEPT_COLUMNS)


def extract_attributes(
    snapshot: Snapshot, settings: ExtractorSettings, workspace: Workspace, consume: Consumer, ask: Ask = ask_model
) -> ExtractedCatalog:
    """Attributes of every product of a snapshot; texts that are known already do not go through the extractor again.

    Args:
        consume: called with the rows of every round as they come; has to run the plan.
        ask: how a round gets its answers; not called where the settings ask for rules.

    Raises:
        ShelfcodeError: the extractor's model or engine cannot be had.
    """
    folder = FOLDER + extractor_name(settings)
    texts = snapshot_texts(snapshot, workspace)
    before = workspace.parts(folder)
    known = _stored_texts(workspace, before)
    first_N = np.zeros(len(texts.rows_N), dtype=bool)
    first_N[np.unique(texts.texts_N, return_index=True)[1]] = True
    wanted_N = first_N & (known.get(texts.texts_N) < 0)
    reused_N = stored_rows(workspace, before).get(texts.rows_N) >= 0
    calls = _run_rounds(snapshot, settings, workspace, folder, texts.rows_N[wanted_N], consume, ask)
    shared = _share(snapshot, workspace, folder, texts)
    parts = workspace.parts(folder)
    owner = owners(workspace, parts, texts.rows_N)
    if len(owner) != len(texts.rows_N):
        raise RuntimeError(f"{len(texts.rows_N) - len(owner)} products have no attributes")
    failures, truncated, unsupported = _tally(workspace, parts, owner.only(texts.rows_N[wanted_N]))
    return ExtractedCatalog(
        tuple(parts), owner, int(wanted_N.sum()), shared, int(reused_N.sum()), calls, dict(failures), truncated, unsupported
    )


def count_rows(progress: Progress) -> Consumer:
    """A consumer that only counts: attributes for their own sake."""

    def consume(rows: ray.data.Dataset) -> None:
        for batch in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
            progress(len(batch))

    return consume


def _run_rounds(
    snapshot: Snapshot, settings: ExtractorSettings, workspace: Workspace, folder: str, wanted: Keys, consume: Consumer, ask: Ask
) -> int:
    """Extract until nothing is missing; returns how often a model was asked."""
    if len(wanted):
        check_extractor(settings)
    rounds = [Round(None, last=True)]
    if settings.engine == "vllm":
        rounds = [Round(settings.max_output_tokens, last=False), Round(settings.retry_output_tokens, last=True), *rounds]
    calls, missing = 0, wanted
    for turn in rounds:
        if not len(missing):
            break
        calls += len(missing) if turn.output_tokens else 0
        products = _products(snapshot, workspace, missing)
        if turn.output_tokens:
            products = ask(products, settings, turn.output_tokens)
        arguments = {"settings": settings, "workspace": workspace, "folder": folder, "turn": turn}
        with engines(settings, ENGINE_HINT):
            consume(products.map_batches(_store, batch_size=settings.rows_per_part, batch_format="pyarrow", fn_kwargs=arguments))
        missing = missing[stored_rows(workspace, workspace.parts(folder)).get(missing) < 0]
    return calls


def _products(snapshot: Snapshot, workspace: Workspace, keys: Keys) -> ray.data.Dataset:
    """The products of a snapshot with these row keys."""
    arguments = {"workspace": workspace, "wanted": ray.put(index_keys(keys))}
    parts = ray.data.from_items([part.path for part in snapshot.parts], override_num_blocks=len(snapshot.parts))
    return parts.map_batches(_wanted_texts, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments)


def _wanted_texts(item: pa.Table, workspace: Workspace, wanted: "ray.ObjectRef[KeyIndex]") -> Iterator[pa.Table]:
    products = _hashed(workspace, item["item"][0].as_py())
    yield products.filter(pa.array(ray.get(wanted).get(row_keys(products["item_id"], products["text_hash"])) >= 0))


def _hashed(workspace: Workspace, part: str) -> pa.Table:
    """Products of a part of the snapshot, with the hash of what is extracted from."""
    products = workspace.read_table(part, columns=EXTRACTED_COLUMNS)
    return products.append_column("text_hash", text_hashes(products))


def _prompts(products: pa.Table, settings: ExtractorSettings, budget: TokenBudget) -> pa.Table:
    tokenizer = _tokenizer(settings.model_dump_json())
    rows = products.select(["title", "description", "brand"]).to_pylist()
    prompts = [product_prompt(tokenizer, row["title"], row["description"], row["brand"], settings.attributes, budget.text) for row in rows]
    tokens = pa.array([prompt.tokens for prompt in prompts], pa.list_(pa.int64()))
    truncated = pa.array([prompt.truncated for prompt in prompts], pa.bool_())
    return products.append_column("tokenized_prompt", tokens).append_column("truncated", truncated)


@cache
def _tokenizer(settings: str) -> "PreTrainedTokenizerBase":
    """Loaded once per worker process."""
    return load_tokenizer(ExtractorSettings.model_validate_json(settings))


def _store(products: pa.Table, settings: ExtractorSettings, workspace: Workspace, folder: str, turn: Round) -> pa.Table:
    """Store the attributes of some products as one part, and pass them on. What failed is left out, unless this round is the last."""
    rows = products.to_pylist()
    if turn.output_tokens:
        outcomes = [read_outcome(row["answer"], row["error"], row["truncated"], settings.attributes) for row in rows]
    else:
        failure = "the engine gave no answer" if settings.engine == "vllm" else None
        outcomes = [Outcome(None, failure)] * len(rows)
    if not turn.last:
        rows = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome.attributes]
        outcomes = [outcome for outcome in outcomes if outcome.attributes]
    table = attributes_rows(rows, outcomes, folder.removeprefix(FOLDER), settings.attributes)
    if len(table):
        write_part(workspace, folder, table)
    return table


def snapshot_texts(snapshot: Snapshot, workspace: Workspace) -> Texts:
    """Keys of every product of a snapshot, in its order."""
    dataset = ray.data.from_items(
        [{"number": number, "path": part.path} for number, part in enumerate(snapshot.parts)], override_num_blocks=len(snapshot.parts)
    )
    done = dataset.map_batches(_text_keys, batch_size=1, batch_format="pyarrow", fn_kwargs={"workspace": workspace}).iter_rows()
    in_order = sorted(done, key=lambda row: row["number"])
    return Texts(*(np.concatenate([np.frombuffer(row[name], dtype=np.uint64) for row in in_order]) for name in ("rows", "texts")))


def _text_keys(item: pa.Table, workspace: Workspace) -> pa.Table:
    products = _hashed(workspace, item["path"][0].as_py())
    keys = {"rows": row_keys(products["item_id"], products["text_hash"]), "texts": item_keys(products["text_hash"])}
    columns = {name: pa.array([values.tobytes()], pa.large_binary()) for name, values in keys.items()}
    return pa.table({"number": item["number"], **columns})


def _stored_texts(workspace: Workspace, parts: Sequence[str]) -> KeyIndex:
    """Keys of the texts that a table has attributes of; a key's value is the number of the first part that has it."""
    keys = [item_keys(workspace.read_table(part, columns=["text_hash"])["text_hash"]) for part in parts]
    part_of_row = np.repeat(np.arange(len(parts)), [len(batch) for batch in keys])
    return index_keys(np.concatenate([np.empty(0, np.uint64), *keys]), part_of_row)


def _share(snapshot: Snapshot, workspace: Workspace, folder: str, texts: Texts) -> int:
    """Give products the attributes of others with the very same text; returns how many there were."""
    parts = workspace.parts(folder)
    missing_N = stored_rows(workspace, parts).get(texts.rows_N) < 0
    if not missing_N.any():
        return 0
    products = _products(snapshot, workspace, texts.rows_N[missing_N])
    items = pa.concat_tables([batch for batch in products.iter_batches(batch_size=None, batch_format="pyarrow") if len(batch)])
    items = items.select(["item_id", "text_hash"])
    holder_M = _stored_texts(workspace, parts).get(item_keys(items["text_hash"]))
    for number in np.unique(holder_M):
        wanted_here = items.filter(pa.array(holder_M == number))
        stored = workspace.read_table(parts[number])
        first = stored.take(np.unique(np.array(stored["text_hash"].to_pylist(), dtype=object), return_index=True)[1])
        place = pc.index_in(wanted_here["text_hash"], first["text_hash"].combine_chunks())
        rows = first.take(place)
        write_part(workspace, folder, rows.set_column(rows.schema.get_field_index("item_id"), "item_id", wanted_here["item_id"]))
    return len(items)


def _tally(workspace: Workspace, parts: Sequence[str], owner: KeyIndex) -> tuple[Counter[str], int, int]:
    """Of the rows that an index picks out: why they were left to the rules, how many were cut, and what was dropped."""
    failures, truncated, unsupported = Counter[str](), 0, 0
    for number in np.unique(owner.values_K):
        table = workspace.read_table(parts[number], columns=["item_id", "text_hash", "failure", "truncated", "unsupported"])
        for row in table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), owner, int(number)))).to_pylist():
            failures.update([row["failure"].split(":")[0]] if row["failure"] else [])
            truncated += row["truncated"]
            unsupported += len(row["unsupported"])
    return failures, truncated, unsupported
