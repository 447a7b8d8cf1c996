"""Snapshot -> attributes, by Ray Data: each text goes through the extractor once, whatever number of products share it.

    texts without attributes -> prompts -> vLLM -> answers held against the texts -> rows, stored -> whatever comes next

A round stores every product whose answer could be used. The others are still missing, so the next round finds them: first the model
again with more room for its answer, then the rules. What the rules filled is tried again by the next run (`stored_texts`), and where they
filled too much the run fails (`failed_share`).
"""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from numpy.typing import NDArray

from shelfcode.attributes.extractor import check_extractor, extractor_name
from shelfcode.attributes.failed_share import LeftToRules, check_failed_share
from shelfcode.attributes.other_languages import english_share
from shelfcode.attributes.prompt import extraction_budget, product_prompt, text_hashes
from shelfcode.attributes.published_extractor import pin_extractor
from shelfcode.attributes.schema import json_schema
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.attributes.stored_texts import StoredTexts, Texts, read_stored, texts_of
from shelfcode.attributes.table import FOLDER, ExtractedCatalog, Outcome, attributes_rows, read_outcome, store_rows
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.keys import KeyIndex, Keys, first_copies, index_keys, row_keys
from shelfcode.llm.pipeline import ask_all, engines
from shelfcode.llm.prompt import TokenBudget, load_tokenizer
from shelfcode.parallel import in_order
from shelfcode.progress import Progress
from shelfcode.workspace import Workspace

if TYPE_CHECKING:  # transformers takes seconds to import, and every worker process imports this
    from transformers import PreTrainedTokenizerBase

EXTRACTED_COLUMNS = ["item_id", "title", "description", "brand"]
KEPT_COLUMNS = ["item_id", "text_hash", "title", "description", "brand", "truncated"]
ENGINE_HINT = "See extractor.engine_arguments and docs/attributes.md, or --set extractor.engine=rules"

ROWS_SHARED_TOGETHER = 8192
"""Copies of other products' attributes that one task writes."""

MOST_PARTITIONS = 200
"""Of the exchange of item_ids between the tasks that read them and those that write the copies."""

Consumer = Callable[[ray.data.Dataset], None]
"""Is given the stored rows of attributes as a plan, adds to it what it likes, and runs it."""

Ask = Callable[[ray.data.Dataset, ExtractorSettings, int], ray.data.Dataset]
"""Products -> the same with `answer`, `error` and `truncated`, within so many tokens of output."""


@dataclass(frozen=True)
class Round:
    """One try at the texts that have no attributes yet; a round without `output_tokens` is the rules'.

    Attributes:
        last: what fails now is left to the rules.
    """

    output_tokens: int | None
    last: bool


def ask_model(
    products: ray.data.Dataset, settings: ExtractorSettings, output_tokens: int, workspace: Workspace | None = None
) -> ray.data.Dataset:
    """The answers of the model that the settings name, by vLLM."""
    budget = extraction_budget(settings, load_tokenizer(settings, workspace), workspace)
    prompts = products.map_batches(
        _prompts, batch_size=None, batch_format="pyarrow", fn_kwargs={"settings": settings, "budget": budget, "workspace": workspace}
    )
    schema = json_schema(settings.attributes, settings.asks_for_quotes)
    return ask_all(prompts, settings, budget, schema, output_tokens, KEPT_COLUMNS, workspace)


def extract_attributes(
    snapshot: Snapshot, settings: ExtractorSettings, workspace: Workspace, consume: Consumer, ask: Ask | None = None
) -> ExtractedCatalog:
    """Attributes of every product of a snapshot; texts that the extractor has answered already do not go through it again.

    Args:
        consume: called with the rows of every round as they come; has to run the plan.
        ask: how a round gets its answers, by default from the model that the settings name; not called where these ask for rules.

    Raises:
        ShelfcodeError: the extractor's model or engine cannot be had, an engine died too often, or more than `max_failed_share` was left to
            the rules.
    """
    settings = pin_extractor(settings, workspace)  # answers are kept under a version's name
    ask = ask or partial(ask_model, workspace=workspace)
    folder = FOLDER + extractor_name(settings)
    texts = snapshot_texts(snapshot, workspace)
    before = read_stored(workspace, folder)
    part_of_text_N = before.part_of_text().get(texts.texts_N)
    had_row_N = before.part_of_row().get(texts.rows_N) >= 0
    first_N = np.zeros(len(texts.rows_N), dtype=bool)
    first_N[np.unique(texts.texts_N, return_index=True)[1]] = True
    wanted_N = first_N & ~_is_own(part_of_text_N, before)
    calls = _run_rounds(snapshot, settings, workspace, folder, before, texts.rows_N[wanted_N], consume, ask)

    stored = read_stored(workspace, folder, before)
    failed_N = ~_is_own(stored.part_of_text().get(texts.texts_N), stored)
    asked = _tally(workspace, stored, texts.rows_N[wanted_N])
    new_N = wanted_N & (part_of_text_N < 0)
    left = LeftToRules(int(failed_N.sum()), len(failed_N), int((new_N & failed_N).sum()), int(new_N.sum()))
    check_failed_share(settings, left, asked.failures)

    shared_N = _share(snapshot, workspace, folder, texts, stored)
    stored = read_stored(workspace, folder, stored)
    owner = stored.part_of_row().only(texts.rows_N)
    if len(owner) != len(texts.rows_N):
        raise RuntimeError(f"{len(texts.rows_N) - len(owner)} products have no attributes")
    return ExtractedCatalog(
        stored.parts, owner, extracted=int(wanted_N.sum()), shared=int((shared_N & ~wanted_N).sum()),
        reused=int((had_row_N & ~wanted_N & ~shared_N).sum()), calls=calls, failures=dict(asked.kinds), truncated=asked.truncated,
        unsupported=asked.unsupported, by_rules=left.products,
    )  # fmt: skip


def _is_own(parts_N: NDArray[np.int64], stored: StoredTexts) -> NDArray[np.bool_]:
    """Which of these parts' numbers, -1 for none, are of parts with the extractor's own answers."""
    return (parts_N >= 0) & (parts_N < stored.own_parts)


def count_rows(progress: Progress) -> Consumer:
    """A consumer that only counts: attributes for their own sake."""

    def consume(rows: ray.data.Dataset) -> None:
        for batch in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
            progress(len(batch))

    return consume


def _run_rounds(
    snapshot: Snapshot, settings: ExtractorSettings, workspace: Workspace, folder: str, stored: StoredTexts, wanted: Keys,
    consume: Consumer, ask: Ask,
) -> int:  # fmt: skip
    """Extract until nothing is missing; returns how often a model was asked."""
    if len(wanted):
        check_extractor(settings, workspace)
    rounds = [Round(None, last=True)]
    if settings.engine == "vllm":
        rounds = [Round(settings.max_output_tokens, last=False), Round(settings.retry_output_tokens, last=True), *rounds]
    share = english_share(workspace, snapshot) if settings.asks_for_quotes and len(wanted) else 0.5
    calls, missing = 0, wanted
    for turn in rounds:
        if not turn.output_tokens:  # whatever a model has not even failed at
            missing = missing[stored.part_of_row().get(missing) < 0]
        if not len(missing):
            break
        calls += len(missing) if turn.output_tokens else 0
        with engines(settings, ENGINE_HINT):
            products = _products(snapshot, workspace, missing)
            if turn.output_tokens:
                products = ask(products, settings, turn.output_tokens)
            known = ray.put(index_keys(missing[stored.part_of_row().get(missing) >= 0]))
            arguments = {"settings": settings, "workspace": workspace, "folder": folder, "turn": turn, "known": known, "share": share}
            consume(products.map_batches(_store, batch_size=settings.rows_per_part, batch_format="pyarrow", fn_kwargs=arguments))
        stored = read_stored(workspace, folder, stored)
        missing = missing[~_is_own(stored.part_of_row().get(missing), stored)]
    return calls


def _products(snapshot: Snapshot, workspace: Workspace, keys: Keys) -> ray.data.Dataset:
    """The products of a snapshot with these row keys."""
    arguments = {"workspace": workspace, "wanted": ray.put(index_keys(keys))}
    return _each_part(snapshot).map_batches(_wanted_texts, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments)


def _each_part(snapshot: Snapshot) -> ray.data.Dataset:
    """The paths of a snapshot's parts, in column `item`, each in a block of its own."""
    return ray.data.from_items([part.path for part in snapshot.parts], override_num_blocks=len(snapshot.parts))


def _wanted_texts(item: pa.Table, workspace: Workspace, wanted: "ray.ObjectRef[KeyIndex]") -> Iterator[pa.Table]:
    products = _hashed(workspace, item["item"][0].as_py())
    yield products.filter(pa.array(ray.get(wanted).get(row_keys(products["item_id"], products["text_hash"])) >= 0))


def _hashed(workspace: Workspace, part: str) -> pa.Table:
    """Products of a part of the snapshot, with the hash of what is extracted from."""
    products = workspace.read_table(part, columns=EXTRACTED_COLUMNS)
    return products.append_column("text_hash", text_hashes(products))


def _prompts(products: pa.Table, settings: ExtractorSettings, budget: TokenBudget, workspace: Workspace | None) -> pa.Table:
    tokenizer = _tokenizer(settings.model_dump_json(), workspace)
    rows = products.select(["title", "description", "brand"]).to_pylist()
    own, quotes = settings.attributes, settings.asks_for_quotes
    prompts = [product_prompt(tokenizer, row["title"], row["description"], row["brand"], own, budget.text, quotes) for row in rows]
    tokens = pa.array([prompt.tokens for prompt in prompts], pa.list_(pa.int64()))
    truncated = pa.array([prompt.truncated for prompt in prompts], pa.bool_())
    return products.append_column("tokenized_prompt", tokens).append_column("truncated", truncated)


@cache
def _tokenizer(settings: str, workspace: Workspace | None) -> "PreTrainedTokenizerBase":
    """Loaded once per worker process."""
    return load_tokenizer(ExtractorSettings.model_validate_json(settings), workspace)


def _store(
    products: pa.Table, settings: ExtractorSettings, workspace: Workspace, folder: str, turn: Round, known: "ray.ObjectRef[KeyIndex]",
    share: float,
) -> pa.Table:  # fmt: skip
    """Store the attributes of some products, and pass them on. What failed is left out, unless this round is the last.

    Args:
        known: row keys of products that have the rules' attributes already; where they fail again they keep these.
        share: of the catalog's titles that are English.
    """
    rows = products.to_pylist()
    if turn.output_tokens:
        outcomes = [read_outcome(row["answer"], row["error"], row["truncated"], settings.attributes) for row in rows]
    else:
        failure = "the engine gave no answer" if settings.engine == "vllm" else None
        outcomes = [Outcome(None, failure)] * len(rows)
    kept_N = ray.get(known).get(row_keys(products["item_id"], products["text_hash"])) < 0 if turn.last else np.zeros(len(rows), dtype=bool)
    taken = [(row, outcome) for row, outcome, kept in zip(rows, outcomes, kept_N.tolist(), strict=True) if outcome.attributes or kept]
    table = attributes_rows(
        [row for row, _ in taken], [outcome for _, outcome in taken], folder.removeprefix(FOLDER), settings.attributes, settings.grounding,
        settings.asks_for_quotes, share,
    )  # fmt: skip
    store_rows(workspace, folder, table)
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
    keys = texts_of(_hashed(workspace, item["path"][0].as_py()))
    columns = {name: pa.array([values.tobytes()], pa.large_binary()) for name, values in (("rows", keys.rows_N), ("texts", keys.texts_N))}
    return pa.table({"number": item["number"], **columns})


def _share(snapshot: Snapshot, workspace: Workspace, folder: str, texts: Texts, stored: StoredTexts) -> NDArray[np.bool_]:
    """Give products the attributes of others with the very same text; which products they were.

    The driver handles keys alone. It sorts the copies that are missing by the part that they are taken from and cuts them into groups,
    so that all groups together read each part of the table about once; item_ids go from the tasks that read the snapshot straight to
    the tasks that write the groups.
    """
    part_of_row_N, part_of_text_N = stored.part_of_row().get(texts.rows_N), stored.part_of_text().get(texts.texts_N)
    shared_N = (part_of_row_N < 0) | (~_is_own(part_of_row_N, stored) & _is_own(part_of_text_N, stored))
    if not shared_N.any():
        return shared_N
    part_M = part_of_text_N[shared_N]
    if (part_M < 0).any():
        raise RuntimeError(f"{int((part_M < 0).sum())} products have texts without attributes")
    group_M = np.empty(len(part_M), np.int64)
    group_M[np.argsort(part_M, kind="stable")] = np.arange(len(part_M)) // ROWS_SHARED_TOGETHER
    sources = index_keys(texts.rows_N[shared_N], group_M * len(stored.parts) + part_M)
    arguments = {"workspace": workspace, "sources": ray.put(sources), "parts": len(stored.parts)}
    wanted = _each_part(snapshot).map_batches(_wanted_copies, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments)
    groups = wanted.groupby("group", num_partitions=min(MOST_PARTITIONS, int(group_M.max()) + 1))
    copying = {"workspace": workspace, "folder": folder, "parts": ray.put(stored.parts)}
    copies = groups.map_groups(_write_copies, batch_format="pyarrow", fn_kwargs=copying)
    copied = sum(int(row["copies"]) for row in copies.iter_rows())
    if copied != len(part_M):
        raise RuntimeError(f"{copied} products were given the attributes of another, and {len(part_M)} should have been")
    return shared_N


def _wanted_copies(item: pa.Table, workspace: Workspace, sources: "ray.ObjectRef[KeyIndex]", parts: int) -> pa.Table:
    products = _hashed(workspace, item["item"][0].as_py())
    source_N = ray.get(sources).get(row_keys(products["item_id"], products["text_hash"]))
    columns = {"group": pa.array(source_N // parts), "part": pa.array(source_N % parts)}
    return pa.table({**columns, "item_id": products["item_id"], "text_hash": products["text_hash"]}).filter(pa.array(source_N >= 0))


def _write_copies(wanted: pa.Table, workspace: Workspace, folder: str, parts: "ray.ObjectRef[tuple[str, ...]]") -> pa.Table:
    """Store the attributes of a group's products, read part by part from those that have the same texts."""
    copies = []
    for number in np.unique(wanted["part"].to_numpy()).tolist():
        here = wanted.filter(pc.equal(wanted["part"], number))
        rows = workspace.read_table(ray.get(parts)[number])
        rows = rows.take(pc.index_in(here["text_hash"].combine_chunks(), rows["text_hash"].combine_chunks()))  # of equal texts the first
        copies.append(rows.set_column(rows.schema.get_field_index("item_id"), "item_id", here["item_id"]))
    store_rows(workspace, folder, pa.concat_tables(copies).sort_by("item_id"))
    return pa.table({"copies": [len(wanted)]})


@dataclass(frozen=True)
class Tally:
    """Of some rows: why they were left to the rules, how many texts were cut, and how many ingredients and tags were dropped."""

    failures: Counter[str]
    truncated: int
    unsupported: int

    @property
    def kinds(self) -> Counter[str]:
        """The failures without what is special about each."""
        kinds = Counter[str]()
        for failure, count in self.failures.items():
            kinds[failure.split(":")[0]] += count
        return kinds


def _tally(workspace: Workspace, stored: StoredTexts, rows: Keys) -> Tally:
    """The account of the rows with these keys; reads the parts that have them, and keeps counts alone."""
    owner = stored.part_of_row().only(rows)

    def of_part(number: int) -> Tally:
        table = workspace.read_table(stored.parts[number], columns=["item_id", "text_hash", "failure", "truncated", "unsupported"])
        table = table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), owner, number)))
        failures = Counter[str](value for value in table["failure"].to_pylist() if value)
        return Tally(failures, pc.sum(table["truncated"]).as_py() or 0, pc.sum(pc.list_value_length(table["unsupported"])).as_py() or 0)

    failures, truncated, unsupported = Counter[str](), 0, 0
    for tally in in_order(of_part, np.unique(owner.values_K).tolist()):
        failures.update(tally.failures)
        truncated += tally.truncated
        unsupported += tally.unsupported
    return Tally(failures, truncated, unsupported)
