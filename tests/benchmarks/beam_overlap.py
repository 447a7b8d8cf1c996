"""How many of the ten most probable semantic IDs beam search finds with a generator that was trained, by the size of the retailer.

python tests/benchmarks/beam_overlap.py WORKSPACE CONTEXTS [--retriever generator@current] [--requests 150] [--widths 10,50,120]

CONTEXTS is a table as for jobs/retrieve_batch.py. The oracle scores every ID of the catalog for every request, so a request of a hundred
thousand products takes a second or two. decoder_requests.py does the same with a model that is harder to search, and for more sizes.
"""

from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import torch
import typer
from rich.console import Console
from rich.table import Table

from shelfcode.retrieval.context_table import contexts_from_table
from shelfcode.retrieval.decoder.beam_search import beam_search
from shelfcode.retrieval.decoder.exhaustive import exhaustive_search
from shelfcode.retrieval.examples import prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.prompt_embedding import on_device
from shelfcode.retrieval.published_retriever import load_card, open_retriever
from shelfcode.workspace import Workspace

AT_ONCE, TOP, GROUPS = 5, 10, 4
CPU = torch.device("cpu")


def main(
    workspace: str,
    contexts: str,
    retriever: Annotated[str, typer.Option(help="Which generator.")] = "generator@current",
    requests: Annotated[int, typer.Option(help="Contexts, drawn at random.")] = 150,
    widths: Annotated[str, typer.Option(help="Beams.")] = "10,50,120",
) -> None:
    """Search and oracle on the same requests."""
    opened = open_retriever(Workspace(workspace), load_card(Workspace(workspace), retriever), CPU)
    if not isinstance(opened.model, Generator):
        raise typer.BadParameter(f"{retriever} scores products and writes no IDs; give a generator", param_hint="--retriever")
    table = pq.read_table(contexts)
    table = table.take(np.sort(np.random.default_rng(0).choice(len(table), min(requests, len(table)), replace=False)))
    asked = contexts_from_table(table, opened.assortment.place_of, opened.retailers, opened.surfaces).contexts
    numbers = [int(width) for width in widths.split(",")]
    found = np.zeros((len(numbers), len(asked)))
    size_R = np.array([int(holds_N.sum()) for holds_N in opened.shelves.held_by(asked.retailer_R)])
    for low in range(0, len(asked), AT_ONCE):
        part = asked.rows(low, min(len(asked), low + AT_ONCE))
        prompts = tokens_of(prompts_of(part, opened.marks, opened.recipe.prompt), opened.marks, opened.recipe.prompt)
        holds_RN = np.stack(list(opened.shelves.held_by(part.retailer_R)))
        set_R = opened.shelves.set_of(part.retailer_R)
        with torch.inference_mode():
            decoding = opened.model.decoding(on_device(prompts, CPU))
            best = exhaustive_search(decoding, opened.assortment.codes_NL, opened.assortment.sizes, holds_RN, TOP).leaf_RW
            for number, width in enumerate(numbers):
                beams = beam_search(decoding, opened.shelves.tensors, opened.shelves.sets.requests(set_R), width).leaf_RW
                for row in range(len(part)):
                    wanted = best[row][best[row] >= 0].numpy()
                    found[number, low + row] = np.isin(wanted, beams[row].numpy()).mean()
    edges = np.quantile(size_R, np.linspace(0, 1, GROUPS + 1)[1:-1])
    group_R = np.searchsorted(edges, size_R)
    shown = Table("products of the retailer", "requests", *(f"B = {width}" for width in numbers), title=f"first {TOP} of the oracle found")
    for group in range(GROUPS):
        of = group_R == group
        if of.any():
            sizes = f"{size_R[of].min():,} to {size_R[of].max():,}"
            shown.add_row(sizes, str(of.sum()), *(f"{100 * found[number, of].mean():.2f}%" for number in range(len(numbers))))
    shown.add_row("all", str(len(asked)), *(f"{100 * found[number].mean():.2f}%" for number in range(len(numbers))))
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
