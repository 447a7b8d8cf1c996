"""How fast a generator is decoded on a device, and what the constraint costs there: part of gpu.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from constraint_cost import SIZES, free_search, uneven_codes
from device_timing import Clock, finish, milliseconds, quantile, reason
from torch import Tensor
from untrained_generator import some_contexts, untrained_generator

from shelfcode.retrieval.decoder.allowed import Allowed, AllowedSets, allowed_where, stack_sets
from shelfcode.retrieval.decoder.beam_search import Beams, beam_search
from shelfcode.retrieval.decoder.trie import CodeTrie, TrieTensors, build_trie
from shelfcode.retrieval.examples import Marks, prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.prompt_embedding import TokenTensors, on_device
from shelfcode.retrieval.recipe import ModelSettings, PromptSettings, RetrieverRecipe


@dataclass(frozen=True)
class DecodingSize:
    """What is measured: each model with each number of beams and of requests at once."""

    products: int
    retailers: int
    history: int
    cart: int
    models: tuple[ModelSettings, ...]
    beams: tuple[int, ...]
    batches: tuple[int, ...]


FULL = DecodingSize(
    1_000_000, retailers=100, history=40, cart=8, beams=(10, 50, 256), batches=(1, 8, 32),
    models=(
        ModelSettings(width=256, layers=6, heads=4, hidden=688, dropout=0.0),
        ModelSettings(width=1024, layers=8, heads=16, hidden=2752, dropout=0.0),
    ),
)  # fmt: skip
SMALL = DecodingSize(
    2000, retailers=4, history=5, cart=3, beams=(3, 8), batches=(1, 2),
    models=(ModelSettings(width=32, layers=2, heads=2, hidden=48, dropout=0.0),),
)  # fmt: skip

Row = dict[str, Any]


@dataclass(frozen=True)
class Shop:
    """Products, and which retailer has which: from one in a thousand to all."""

    trie: CodeTrie
    tensors: TrieTensors
    sets: AllowedSets

    def counts_of(self, beams: Beams, set_R: np.ndarray, width: int) -> tuple[int, int, int]:
        """Semantic IDs among the answers that the retailer does not have, that came twice, and that are missing."""
        illegal = twice = missing = 0
        for number, leaf_W in zip(set_R.tolist(), beams.leaf_RW.cpu().numpy(), strict=True):
            live_I, found = self.sets.sets[number].live_LV[-1], leaf_W[leaf_W >= 0]
            illegal += int((live_I[found] == 0).sum())
            twice += len(found) - len(np.unique(found))
            missing += min(width, int((live_I > 0).sum())) - len(found)
        return illegal, twice, missing


def open_shop(size: DecodingSize, device: torch.device) -> Shop:
    """A catalog whose codes branch as those of real ones do."""
    random = np.random.default_rng(0)
    trie = build_trie(uneven_codes(size.products, random), SIZES)
    sets = [allowed_where(trie, random.random(size.products) < share) for share in np.logspace(-3, 0, size.retailers)]
    return Shop(trie, trie.to(device), stack_sets(sets, device))


def measure_decoding(size: DecodingSize, device: torch.device, clock: Clock) -> Iterator[Row]:
    """A row for each model, precision, number of beams and of requests. bfloat16 is measured on a GPU and at the middle width only."""
    shop, graphs = open_shop(size, device), Graphs()
    for settings in size.models:
        marks = Marks(size.retailers, 2)
        recipe = RetrieverRecipe(model=settings, prompt=PromptSettings(history_products=size.history, session_products=size.cart))
        codes_NL = shop.trie.codes_IL[shop.trie.leaf_N]
        generator = untrained_generator(recipe, marks, SIZES, codes_NL).to(device).with_codes(codes_NL)
        for dtype in (torch.float32, *((torch.bfloat16,) if device.type == "cuda" else ())):
            generator = generator.to(dtype)
            for beams in size.beams if dtype == torch.float32 else size.beams[1:2]:
                for batch in size.batches:
                    if clock.over():
                        return
                    yield one_row(generator, recipe, marks, shop, size, beams, batch, device, clock, graphs)


def one_row(
    generator: Generator, recipe: RetrieverRecipe, marks: Marks, shop: Shop, size: DecodingSize, beams: int, batch: int,
    device: torch.device, clock: Clock, graphs: "Graphs",
) -> Row:  # fmt: skip
    """The prompt is read and decoded, with and without the constraint, taking turns; then the same as CUDA graphs."""
    random = np.random.default_rng(beams * 1000 + batch)
    contexts = some_contexts(batch, size.products, marks, size.history, size.cart, random)
    tokens = on_device(tokens_of(prompts_of(contexts, marks, recipe.prompt), marks, recipe.prompt), device)
    allowed = shop.sets.requests(contexts.retailer_R)
    decodes: dict[str, Callable[[], object]] = {
        "constrained": decode_of(generator, shop.tensors, allowed, tokens, beams),
        "free": lambda: _free(generator, tokens, beams),
    }
    dtype = str(next(generator.parameters()).dtype).removeprefix("torch.")
    row: Row = {
        "width": recipe.model.width,
        "precision": dtype,
        "beams": beams,
        "batch": batch,
        "prompt_tokens": int(tokens.mark_RT.shape[1]),
    }
    row |= figures(milliseconds(decodes, device, clock.each), batch)
    answer = decode_of(generator, shop.tensors, allowed, tokens, beams)()
    row |= dict(zip(("illegal", "twice", "missing"), shop.counts_of(answer, contexts.retailer_R, beams), strict=True))
    return row | {
        "graph": graphs.row(generator, shop.tensors, allowed, tokens, beams, answer, clock.each) if device.type == "cuda" else None
    }


def figures(taken: dict[str, np.ndarray], batch: int) -> Row:
    """What is printed of a decode with and without constraint."""
    constrained, free = taken["constrained"], taken["free"]
    middle, middle_free = float(np.median(constrained)), float(np.median(free))
    return {
        "p50_ms": quantile(constrained, 0.5), "p99_ms": quantile(constrained, 0.99), "requests_per_s": round(1000 * batch / middle, 1),
        "free_p50_ms": quantile(free, 0.5), "constraint_cost": round(middle / middle_free - 1, 4), "runs": len(constrained),
    }  # fmt: skip


def decode_of(generator: Generator, trie: TrieTensors, allowed: Allowed, tokens: TokenTensors, beams: int) -> Callable[[], Beams]:
    """A whole decode, the prompt included."""

    @torch.inference_mode()
    def decode() -> Beams:
        return beam_search(generator.decoding(tokens), trie, allowed, beams)

    return decode


@torch.inference_mode()
def _free(generator: Generator, tokens: TokenTensors, beams: int) -> Tensor:
    return free_search(generator.decoding(tokens), beams)


class Graphs:
    """Decodes as CUDA graphs: the whole of it is captured once, and each further run is one call. Tried until it fails once."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def row(
        self, generator: Generator, trie: TrieTensors, allowed: Allowed, tokens: TokenTensors, beams: int, expected: Beams, seconds: float
    ) -> Row:
        """Figures of the captured decode, and whether it answers as the one that is not captured."""
        if self.failed is not None:
            return {"failed": self.failed}
        device = tokens.mark_RT.device
        own = TokenTensors(**{field.name: getattr(tokens, field.name).clone() for field in fields(tokens)})
        own_sets = replace(allowed, set_R=allowed.set_R.clone())
        try:
            constrained, answer = captured(decode_of(generator, trie, own_sets, own, beams))
            free, _ = captured(lambda: _free(generator, own, beams))

            def request() -> None:
                """What a server does: lay the request where the graph reads it, and replay."""
                own_sets.set_R.copy_(allowed.set_R)
                for field in fields(tokens):
                    getattr(own, field.name).copy_(getattr(tokens, field.name))

            def run(graph: torch.cuda.CUDAGraph) -> Callable[[], None]:
                return lambda: (request(), graph.replay())[1]

            taken = milliseconds({"constrained": run(constrained), "free": run(free)}, device, seconds)
            same = bool((answer.leaf_RW == expected.leaf_RW).all())
        except Exception as error:
            finish(device)
            self.failed = reason(error)
            return {"failed": self.failed}
        return figures(taken, len(allowed.set_R)) | {"same_answer": same}


def captured(work: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """Capture some work, and the tensors that hold its result after each replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph, result
