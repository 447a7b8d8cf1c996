"""Products a second through Ray Data and vLLM, against the same engine driven directly.

python tests/benchmarks/extraction_speed.py                                       the small extractor, 2,000 products
python tests/benchmarks/extraction_speed.py --model FOLDER --products 200         any other, such as SmolLM2 fine-tuned

Sides take turns. Starting an engine is left out of both: the direct side times generation alone, after a few products to warm up,
and the plan is timed from when its engine gets the first products to its end. The plan also parses, holds answers against the
texts and stores them; the direct side is given prompts that are tokenised already and only generates.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from extraction_quality import FLAVORS, SEED, SETTINGS, extracted, own_ray
from rich.console import Console
from rich.table import Table

from shelfcode.attributes.prompt import extraction_budget, product_prompt
from shelfcode.attributes.schema import json_schema
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.llm.engine import engine_arguments, engine_environment, sampling_parameters
from shelfcode.llm.prompt import load_tokenizer
from shelfcode.model_source import model_path
from shelfcode.recipe_file import load_recipe
from shelfcode.sample.catalog import sample_chunk

WARM = 64
RATE = "products/s:"


def direct(products: int, settings: ExtractorSettings) -> float:
    """Products a second of vLLM's own offline engine, prompts and sampling as in the plan."""
    os.environ.update(engine_environment(settings))
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    tokenizer = load_tokenizer(settings)
    budget = extraction_budget(settings, tokenizer)
    rows = sample_chunk(0, products + WARM, SEED).products.to_pylist()
    texts = [(row["title"], row["description"], row["brand"]) for row in rows]
    prompts = [{"prompt_token_ids": product_prompt(tokenizer, *text, settings.attributes, budget.text).tokens} for text in texts]
    sampling = sampling_parameters(json_schema(settings.attributes), settings.max_output_tokens)
    parameters = SamplingParams(**{**sampling, "structured_outputs": StructuredOutputsParams(**sampling["structured_outputs"])})
    engine = LLM(model_path("extractor.model", settings.model), **engine_arguments(settings, budget.context))
    engine.generate(prompts[:WARM], parameters, use_tqdm=False)
    started = time.perf_counter()
    engine.generate(prompts[WARM:], parameters, use_tqdm=False)
    return products / (time.perf_counter() - started)


def through_ray(products: int, settings: ExtractorSettings) -> tuple[float, float]:
    """Products a second of the whole plan from the engine's first products on, and seconds until then."""
    begun: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        watcher = threading.Thread(target=_note_first_products, args=(begun,), daemon=True)
        watcher.start()
        started = time.perf_counter()
        extracted(sample_chunk(0, products, SEED).products, settings, Path(folder))
        return products / (time.perf_counter() - begun[0]), begun[0] - started


def _note_first_products(begun: list[float]) -> None:
    """Ray names a worker's process after what it does: its engine's actor is called `submit` once it has products."""
    while not begun:
        names = ((process.info["cmdline"] or [""])[0] for process in psutil.process_iter(["cmdline"]))
        if any("vLLMEngineStage" in name and name.endswith(".submit") for name in names):
            begun.append(time.perf_counter())
        time.sleep(0.02)


def main(
    products: Annotated[int, typer.Option(help="Timed products of the sample catalog.")] = 2000,
    rounds: Annotated[int, typer.Option(help="Times that each side is measured.")] = 3,
    model: Annotated[str | None, typer.Option(help="As extractor.model; the small extractor when left out.")] = None,
    alone: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure both sides in turn and print their medians and ratio."""
    settings = load_recipe("discovery", FLAVORS, (*SETTINGS, *([f"extractor.model={model}"] if model else []))).extractor
    if alone:
        print(RATE, direct(products, settings), flush=True)  # vLLM writes to stdout, too
        return
    own_ray()
    plan, engine, starts = [], [], []
    for _ in range(rounds):
        command = [sys.executable, __file__, "--alone", "--products", str(products), *(["--model", model] if model else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        engine.append(next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith(RATE)))
        rate, start = through_ray(products, settings)
        plan.append(rate)
        starts.append(start)
    table = Table("side", "products/s, median", "each time", title=f"{products} products, {os.cpu_count()} cores")
    for name, rates in (("engine driven directly", engine), ("Ray Data + vLLM", plan)):
        table.add_row(name, f"{statistics.median(rates):.1f}", ", ".join(f"{rate:.1f}" for rate in rates))
    ratio = statistics.median(plan) / statistics.median(engine)
    Console(width=140).print(table, f"ratio {ratio:.3f} (must 0.85); a plan's engine starts in {statistics.median(starts):.0f} s")


if __name__ == "__main__":
    typer.run(main)
