"""Sparse products: whether the chances are calibrated, and whether what neighbours agree on brings codes back, on a real catalog.

python jobs/train_flavor.py --flavor precision --catalog $SHELFCODE_DATA/esci/catalog.parquet --workspace WS --set hardware=cpu
python tests/benchmarks/sparse_products.py --workspace WS [--release precision@current] [--products 800] [--seed 0]

One process and no Ray. Any release of a raw text view will do. Known text is deleted in three ways; each is left as it is, filled from
neighbours, and filled with the leaf of the product's own category path beside that.
"""

import os
import time
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.snapshot import load_snapshot
from shelfcode.embedding.embeddings import embedding_matrix
from shelfcode.embedding.encoder import load_encoder
from shelfcode.embedding.text_view import raw_texts
from shelfcode.evaluation.sparse.chance import Calibration, Chance, learn_chance
from shelfcode.evaluation.sparse.coded_texts import CodedTexts, place_texts, read_rich, step_examples, words_in
from shelfcode.evaluation.sparse.cut_texts import cut_ladders, half_title, split_sentences, titles_alone
from shelfcode.evaluation.sparse.fields import Fields, read_fields
from shelfcode.evaluation.sparse.restoration import Deletion, RestoredLevel, restore
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.evaluation.sparse.signals import text_signals
from shelfcode.flavor import Recipe
from shelfcode.keys import row_keys, text_hash
from shelfcode.quantization.model_file import load_model
from shelfcode.releases.release import Manifest, load_manifest, release_recipe
from shelfcode.workspace import Workspace

CONSOLE = Console(width=140)


class InProcess:
    """Codes products of a raw view here, without Ray."""

    def __init__(self, workspace: Workspace, manifest: Manifest, recipe: Recipe) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        self.recipe, self.model = recipe, load_model(workspace, manifest.folder, recipe)
        self.encoder = load_encoder(recipe.encoder, workspace)
        self.embedded: dict[str, NDArray[np.float32]] = {}

    def __call__(self, products: pa.Table, name: str) -> CodedTexts:
        texts, started = raw_texts(products, self.recipe.text_view), time.perf_counter()
        new = [text for text in dict.fromkeys(texts) if text not in self.embedded]
        self.embedded |= zip(new, self.encoder.embed(new), strict=True)
        CONSOLE.print(f"{name}: {len(texts):,} texts, {len(new):,} new, {time.perf_counter() - started:.0f} s")
        return self.place(products, texts, np.stack([self.embedded[text] for text in texts]))

    def place(self, products: pa.Table, texts: list[str], x_NE: NDArray[np.float32]) -> CodedTexts:
        words_N = words_in(texts)
        signals_NF = text_signals(products, words_N, self.recipe.encoder.max_tokens)
        return place_texts(x_NE, np.arange(len(texts)), words_N, signals_NF, self.model)


@dataclass(frozen=True)
class Measured:
    """One way of deleting text: cut codes against the full text's, by what was done about it."""

    cut_to: str
    neighbours: tuple[RestoredLevel, ...]
    neighbours_where_filled: tuple[RestoredLevel, ...]
    sparse_neighbours: tuple[RestoredLevel, ...]
    own_leaf: tuple[RestoredLevel, ...]
    sparse_own_leaf: tuple[RestoredLevel, ...]
    filled: int
    sparse: int
    right: dict[str, float]


def main(
    workspace: Annotated[str, typer.Option(help="With a release that was trained on the catalog.")],
    release: Annotated[str, typer.Option(help="Of a flavor with a raw text view.")] = "precision@current",
    products: Annotated[int, typer.Option(help="Rich products whose texts are cut.")] = 800,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Learn, measure and print."""
    opened, settings = Workspace(workspace), SparseSettings(rich_products=products, seed=seed)
    manifest = load_manifest(opened, release)
    recipe = release_recipe(manifest, [f"encoder.cpus_per_actor={os.cpu_count()}"])
    snapshot = load_snapshot(opened, manifest.catalog.snapshot)
    assert snapshot is not None, f"the catalog of {manifest.name} is no longer in the workspace"
    code = InProcess(opened, manifest, recipe)
    table = pa.concat_tables(opened.read_tables(part.path for part in snapshot.parts))
    texts = raw_texts(table, recipe.text_view)
    keys_N = row_keys(table["item_id"], pa.array([text_hash(text) for text in texts]))
    catalog = code.place(table, texts, np.array(embedding_matrix(opened, manifest.embeddings, keys_N)))
    fields = read_fields(opened, snapshot, catalog.positions_N, recipe.catalog, None)
    rich, place_R = read_rich(opened, snapshot, catalog, settings)

    ladders = cut_ladders(rich, np.arange(len(rich)), settings)
    learnt = [learn_chance(examples, seed) for examples in step_examples(ladders, code(ladders.products, "cut texts"))]
    show_calibration([calibration for _, calibration in learnt])
    chance = learnt[0][0]
    p_N = chance.predict(catalog.signals_NF)
    CONSOLE.print(f"sparse: {(p_N > settings.threshold).mean():.1%} of {len(p_N):,} products; mean chance of another L1 {p_N.mean():.3f}")
    cuts = {"the title": titles_alone(rich), "half of the title": half_titles(rich), "title, brand and a sentence": first_sentences(rich)}
    for name, cut in cuts.items():
        show(measure(name, cut, place_R, code, catalog, fields, chance, recipe, settings))


def measure(
    name: str, cut: pa.Table, place_R: NDArray[np.int64], code: InProcess, catalog: CodedTexts, fields: Fields, chance: Chance,
    recipe: Recipe, settings: SparseSettings,
) -> Measured:  # fmt: skip
    """Delete, fill, code again; all cut products, those that count as sparse, and all with their own leaf instead."""
    sizes, coded = recipe.quantizer.codebook_sizes, code(cut, name)
    restored = restore(Deletion(name, cut, place_R, coded), code, catalog, fields, sizes, settings)
    sparse_R = chance.predict(coded.signals_NF) > settings.threshold
    kept = CodedTexts(np.arange(sparse_R.sum()), *(column[sparse_R] for column in (coded.words_N, coded.codes_NL, coded.signals_NF)))
    of_sparse = restore(Deletion(name, cut.filter(pa.array(sparse_R)), place_R[sparse_R], kept), code, catalog, fields, sizes, settings)
    return Measured(
        name, restored.of_all, restored.of_filled, of_sparse.of_all, restored.with_leaf, of_sparse.with_leaf,
        restored.filled_products, int(sparse_R.sum()), restored.right,
    )  # fmt: skip


def half_titles(rich: pa.Table) -> pa.Table:
    halves = pa.array([half_title(title) for title in rich["title"].to_pylist()], pa.string())
    return titles_alone(rich).set_column(1, "title", halves)


def first_sentences(rich: pa.Table) -> pa.Table:
    first = pa.array([split_sentences(text)[0] for text in rich["description"].to_pylist()], pa.string())
    return titles_alone(rich).set_column(2, "description", first).set_column(3, "brand", rich["brand"])


def show_calibration(calibrations: list[Calibration]) -> None:
    table = Table("held out", "L1", "L1 or L2", title="the chance that one more sentence changes a code")
    names = ("fitted_products", "held_out_products", "examples", "base_rate", "brier", "brier_base_rate", "ece", "auroc", "auroc_words")
    for name in names:
        table.add_row(name, *(f"{getattr(each, name):.4g}" for each in calibrations))
    table.add_row("title alone: predicted", *(f"{each.title_alone.predicted:.4f}" if each.title_alone else "-" for each in calibrations))
    table.add_row("title alone: observed", *(f"{each.title_alone.observed:.4f}" if each.title_alone else "-" for each in calibrations))
    for number in range(10):
        cells = [f"{each.bins[number].predicted:.3f} / {each.bins[number].observed:.3f}" for each in calibrations]
        table.add_row(f"bin {number + 1}: predicted / observed", *cells)
    CONSOLE.print(table)


def show(measured: Measured) -> None:
    rows = {
        "filled from neighbours, all": measured.neighbours, "  where something was filled": measured.neighbours_where_filled,
        "  where the chance says sparse": measured.sparse_neighbours, "and its own leaf, all": measured.own_leaf,
        "  where the chance says sparse ": measured.sparse_own_leaf,
    }  # fmt: skip
    title = f"cut to {measured.cut_to}: {measured.filled} filled, {measured.sparse} sparse; filled values that are right: {measured.right}"
    table = Table("arm", "level", "as it is", "filled", "gain, 95% interval", title=title, title_justify="left")
    for name, levels in rows.items():
        for each in levels:
            interval = "" if each.gain_low is None else f" [{each.gain_low:+.4f}, {each.gain_high:+.4f}]"
            table.add_row(name, f"L{each.level}", f"{each.untouched:.4f}", f"{each.filled:.4f}", f"{each.gain:+.4f}{interval}")
    CONSOLE.print(table)


if __name__ == "__main__":
    typer.run(main)
