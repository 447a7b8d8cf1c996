"""Teachers for a small extractor: what planted facts, rules and category paths say of products whose licence lets a model be passed on.

Each is a folder with catalog.parquet and attributes.parquet, as jobs/distill_extractor.py takes them.

sample      the sample shop's planted facts, every attribute
esci        real marketplace titles, some with a brand and the first words of the copy; types by the rules, corrected by the category path
industrial  real titles of amazon_industrial, by the rules
shelf       grocery titles put together from the rules' own lexicon, by the rules
instacart   real grocery titles, types alone: the rules' where the aisle agrees, else the word of the aisle's name that its products are
            called by. Its licence is for measuring: only for a student that stays where it is taught

Products that extraction_quality.py judges, and those with the same title, are in none of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from catalogs import catalog_file

from shelfcode.attributes.distil.path_types import title_words, type_by_path
from shelfcode.attributes.distil.type_scores import TypeAnswers, drawn, path_names_type
from shelfcode.attributes.rules.extractor import extract
from shelfcode.attributes.rules.lexicon import LEXICON_PATH, LexiconFile
from shelfcode.attributes.rules.words import split_words
from shelfcode.sample.catalog import sample_chunks

JUDGED = 200
COPY_WORDS = 40
NO_GROUP = ("missing", "other")
"""Aisles of Instacart's that say nothing of a product."""
LEAST_OF_AN_AISLE = 0.2
TYPES = ["item_id", "product_type"]
LIST = pa.list_(pa.string())
CATALOG = pa.schema([(name, pa.string()) for name in ("item_id", "title", "description", "brand")])
ATTRIBUTES = pa.schema([
    ("item_id", pa.string()), ("product_type", pa.string()), ("key_ingredients", LIST), ("dietary_tags", LIST), ("format", pa.string()),
])  # fmt: skip

Row = dict[str, Any]


def judged_products(name: str) -> tuple[list[Row], list[Row]]:
    """The products of a real catalog that extractors are judged on, and those that may be learnt from: of other titles."""
    rows = pq.read_table(catalog_file(name)).to_pylist()
    filed = [row for row in rows if row["category_path"] and row["category_path"][-1] not in NO_GROUP]
    judged = [filed[place] for place in drawn([row["item_id"] for row in filed], JUDGED)]
    titles = {row["title"].lower() for row in judged}
    return judged, [row for row in rows if row["title"].lower() not in titles]


def write_teachers(folder: Path, sample: int, shelf: int, seed: int, instacart: int = 0) -> None:
    """Write all of them; Instacart's where it is asked for.

    Args:
        sample, shelf, instacart: products of these three.
    """
    chunks = list(sample_chunks(sample, seed=100))
    products = pa.concat_tables(chunk.products.select(CATALOG.names) for chunk in chunks)
    write_teacher(folder / "sample", products, pa.concat_tables(chunk.facts["attributes"] for chunk in chunks))
    esci = [view for row in judged_products("esci")[1] for view in _views(row)]
    industrial = [
        {**row, "category_path": None, "description": None} for row in pq.read_table(catalog_file("amazon_industrial")).to_pylist()
    ]
    made = [{"item_id": f"shelf-{number}", "title": title} for number, title in enumerate(shelf_titles(shelf, seed))]
    for name, rows in (("esci", esci), ("industrial", industrial), ("shelf", made)):
        write_teacher(folder / name, pa.Table.from_pylist(rows, CATALOG), pa.Table.from_pylist([said(row) for row in rows], ATTRIBUTES))
    if instacart:
        rows = judged_products("instacart")[1]
        typed = list(types_by_aisle([rows[place] for place in drawn([row["item_id"] for row in rows], instacart)], rows))
        write_teacher(folder / "instacart", pa.Table.from_pylist(typed, CATALOG), pa.Table.from_pylist(typed, ATTRIBUTES).select(TYPES))


def said(row: Row) -> Row:
    """What the rules say of a product, its type corrected by the category path where there is one."""
    brand = row.get("brand")
    attributes = extract(row["title"], row.get("description"), brand)
    words = title_words(row["title"], split_words(brand or ""))
    product_type = type_by_path(attributes.product_type, words, row.get("category_path") or ())
    return {"item_id": row["item_id"], **attributes.model_copy(update={"product_type": product_type}).columns()}


def types_by_aisle(rows: list[Row], catalog: list[Row]) -> Iterator[Row]:
    """Products with the rules' type where their aisle agrees, else with the word of the aisle's name that most are called by, or left out.

    Args:
        catalog: products that show what is called how, and where it is filed.
    """
    filed = [row for row in catalog if row["category_path"] and row["category_path"][-1] not in NO_GROUP]
    answers = TypeAnswers([row["title"] for row in filed], [row["category_path"] for row in filed])
    kinds = {form for names in _lexicon().kinds.values() for name, others in names.items() for form in (name, *(others or []))}
    called: dict[str, Counter[str]] = defaultdict(Counter)
    read = [(row, said(row)["product_type"]) for row in rows if row["category_path"][-1] not in NO_GROUP]
    right = [answers.right(product_type, row["category_path"]) for row, product_type in read]
    for (row, product_type), agrees in zip(read, right, strict=True):
        if agrees:
            called[row["category_path"][-1]][product_type.split()[-1]] += 1
    for (row, product_type), agrees in zip(read, right, strict=True):
        names = called[row["category_path"][-1]]
        usual = next((name for name, _ in names.most_common() if name in kinds and path_names_type(name, row["category_path"])), "")
        if agrees or names[usual] >= LEAST_OF_AN_AISLE * names.total():
            yield {**row, "product_type": product_type if agrees else usual}


def _views(row: Row) -> Iterator[Row]:
    """A rich product as sparse catalogs have it, too: by its title alone, and with brand and the first words of its copy."""
    yield {**row, "item_id": f"{row['item_id']}-title", "description": None, "brand": None}
    copy = " ".join((row["description"] or "").split()[:COPY_WORDS])
    yield {**row, "description": copy or None}


def shelf_titles(count: int, seed: int) -> list[str]:
    """Titles as grocers write them: a brand that is none, a few words of praise or flavour, what it is, and its size."""
    draw = np.random.default_rng(seed)
    lexicon = _lexicon()
    return [_shelf_title(draw, lexicon) for _ in range(count)]


def _lexicon() -> LexiconFile:
    return LexiconFile.model_validate(yaml.safe_load(LEXICON_PATH.read_text(encoding="utf-8")))


AREAS = {"food": 0.5, "drink": 0.14, "supplement": 0.05, "care": 0.12, "pet": 0.03, "household": 0.1, "general": 0.06}


def _shelf_title(draw: np.random.Generator, lexicon: LexiconFile) -> str:
    area = draw.choice(list(AREAS), p=list(AREAS.values()))
    kind = _one(draw, lexicon.kinds[area]) if draw.random() < 0.88 else _one(draw, lexicon.ingredients)
    told = [_told(draw, lexicon) for _ in range(draw.integers(0, 4))]
    if area in ("food", "drink") and draw.random() < 0.4:
        told.append(_one(draw, lexicon.ingredients))
    brand = [_brand(draw)] if draw.random() < 0.35 else []
    title = ", ".join([" ".join([*brand, kind]), *told]) if draw.random() < 0.2 else " ".join([*brand, *told, kind])
    if draw.random() < 0.2:
        title += f" {draw.choice(['with', 'in', 'for', 'made with'])} {_one(draw, lexicon.ingredients)}"
    if draw.random() < 0.35:
        title += f"{draw.choice([', ', ' ', ' - '])}{draw.integers(1, 33)} {draw.choice(['oz', 'ct', 'fl oz', 'lb', 'pack', 'ml', 'g'])}"
    return title.title() if draw.random() < 0.9 else title


def _told(draw: np.random.Generator, lexicon: LexiconFile) -> str:
    """A word or two that stand before what a product is."""
    known = draw.choice(["praise", "ingredient", "tag", "cut", "color"], p=[0.45, 0.3, 0.12, 0.06, 0.07])
    if known == "ingredient":
        return _one(draw, lexicon.ingredients)
    if known == "tag":
        return _one(draw, lexicon.tag_phrases)
    words = {"praise": lexicon.marketing, "cut": list(lexicon.cuts), "color": lexicon.colors}[known]
    return str(draw.choice(words))


def _one(draw: np.random.Generator, forms: dict[str, list[str] | None]) -> str:
    """A name or another form of it."""
    name = str(draw.choice(list(forms)))
    return str(draw.choice([name, name, *(forms[name] or [])]))


def _brand(draw: np.random.Generator) -> str:
    """A word that no language has."""
    syllables = [
        f"{draw.choice(list('bcdfghjklmnprstvwz'))}{draw.choice(list('aeiouy'))}{draw.choice(['', '', 'n', 'l', 'r', 's'])}"
        for _ in range(3)
    ]
    return "".join(syllables[: draw.integers(2, 4)]) + str(draw.choice(["", "'s", " farms", " & co"], p=[0.7, 0.15, 0.1, 0.05]))


def write_teacher(folder: Path, catalog: pa.Table, attributes: pa.Table) -> None:
    """A catalog and what a teacher says of it, in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(catalog, folder / "catalog.parquet")
    pq.write_table(attributes, folder / "attributes.parquet")
