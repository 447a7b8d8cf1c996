"""What a teacher said of a catalog's products, as pairs of text and answer that a student learns from."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.dataset as ds

from shelfcode.attributes.distil.student import answer_text
from shelfcode.attributes.grounding import ground_product
from shelfcode.attributes.prompt import product_text, text_hashes
from shelfcode.attributes.schema import FIELDS, Attributes, ExtraAttributes, attributes_of
from shelfcode.attributes.settings import Grounding
from shelfcode.catalog.snapshot import Snapshot, snapshot_batches
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import index_keys, item_keys, row_keys
from shelfcode.store import open_filesystem
from shelfcode.workspace import Workspace

MOST_WEIGHT = 100


@dataclass(frozen=True)
class Teacher:
    """One that is learnt from: what it said, of which catalog, and how often that is taught.

    Attributes:
        catalog, attributes: path or URL of the products, and of what the teacher said of them.
        weight: how often each of its pairs is taught for once that a pair of weight 1 is; below 1, that share of them is taught.
    """

    catalog: str
    attributes: str
    weight: float = 1.0


@dataclass(frozen=True)
class Pairs:
    """Product texts and what is to be answered, side by side.

    Attributes:
        texts, answers: one per product that the teacher speaks of.
        known: the answers as attributes.
        fields: the attributes that the teacher knows of; the answers have no others that count.
        silent: products of which the teacher says nothing.
        dropped: ingredients and tags of the teacher's that a product's own text does not support, and that are not taught.
    """

    texts: list[str]
    answers: list[str]
    known: list[Attributes]
    fields: tuple[str, ...]
    silent: int
    dropped: int


def name_teachers(catalogs: Sequence[str], attributes: Sequence[str], weights: Sequence[float]) -> list[Teacher]:
    """Teachers from a job's flags, which are given once a teacher, in the same order.

    Raises:
        ShelfcodeError: they are not equally many, or a weight is not above 0.
    """
    weights = weights or [1.0] * len(attributes)
    if not len(catalogs) == len(attributes) == len(weights):
        raise ShelfcodeError(
            f"{len(catalogs)} --catalog, {len(attributes)} --attributes and {len(weights)} --weight: "
            "give each once a teacher, in the same order"
        )
    for weight in weights:
        if not 0 < weight <= MOST_WEIGHT:
            raise ShelfcodeError(f"--weight {weight:g} must be above 0 and at most {MOST_WEIGHT}")
    return [Teacher(*teacher) for teacher in zip(catalogs, attributes, weights, strict=True)]


def check_teachers(teachers: Sequence[Teacher], extra: ExtraAttributes) -> None:
    """See that every attribute that a student is to learn is known to a teacher.

    Raises:
        ShelfcodeError: none knows it; and as `open_teacher`.
    """
    names = [name for teacher in teachers for name in open_teacher(teacher.attributes, extra).schema.names]
    missing = [name for name in (*FIELDS, *extra) if name not in names]
    if missing:
        given = " and ".join(teacher.attributes for teacher in teachers)
        raise ShelfcodeError(f"--attributes {given} lacks the columns {', '.join(missing)}; it has {', '.join(dict.fromkeys(names))}")


def open_teacher(url: str, extra: ExtraAttributes) -> ds.Dataset:
    """A teacher's output, unread: a Parquet file or folder with item_id and those attributes that it knows.

    Raises:
        ShelfcodeError: there is nothing, item_id or every attribute is missing, or one that should hold lists of texts does not.
    """
    fs, path = open_filesystem(url)
    try:
        dataset = ds.dataset(path, filesystem=fs, format="parquet")
    except (FileNotFoundError, pa.ArrowException) as error:
        raise ShelfcodeError(f"--attributes {url}: {str(error).splitlines()[0]}. Give a file or folder of Parquet") from error
    names = dataset.schema.names
    if "item_id" not in names or not set(names) & {*FIELDS, *extra}:
        raise ShelfcodeError(
            f"--attributes {url} must have item_id and some of the columns {', '.join((*FIELDS, *extra))}; it has {', '.join(names)}"
        )
    lists = [name for name in ("key_ingredients", "dietary_tags", *extra) if name in names]
    flat = [name for name in lists if not pa.types.is_nested(dataset.schema.field(name).type)]
    if flat:
        raise ShelfcodeError(f"--attributes {url}: {', '.join(flat)} must be lists of texts, one text a value")
    return dataset


def read_teacher(url: str, extra: ExtraAttributes) -> pa.Table:
    """The columns of a teacher's output that say something of attributes; raises as `open_teacher`."""
    dataset = open_teacher(url, extra)
    return dataset.to_table([name for name in dataset.schema.names if name in {"item_id", *FIELDS, *extra, "text_hash"}])


def teaching_pairs(
    workspace: Workspace, snapshot: Snapshot, teacher: pa.Table, extra: ExtraAttributes, grounding: Grounding = "lexicon"
) -> Pairs:
    """Pairs of the products that the teacher speaks of; only what a product's own text supports is taught, unless grounding is off.

    An attribute for which the teacher has no column is one that it does not know: empty in the answer, and not among `fields`.

    Raises:
        ShelfcodeError: the teacher speaks of none of them.
    """
    hashed = "text_hash" in teacher.column_names  # an extractor's table may hold earlier texts of a product, too
    row_of = index_keys(row_keys(teacher["item_id"], teacher["text_hash"]) if hashed else item_keys(teacher["item_id"]))
    fields = tuple(name for name in (*FIELDS, *extra) if name in teacher.column_names)
    unknown = dict.fromkeys(set(FIELDS) - set(fields))
    pairs, silent, dropped = Pairs([], [], [], fields, 0, 0), 0, 0
    for products in snapshot_batches(workspace, snapshot, ["item_id", "title", "description", "brand"]):
        keys_B = row_keys(products["item_id"], text_hashes(products)) if hashed else item_keys(products["item_id"])
        rows = row_of.get(keys_B).tolist()
        silent += sum(row < 0 for row in rows)
        places = [place for place, row in enumerate(rows) if row >= 0]
        answers = teacher.take(pa.array([rows[place] for place in places], pa.int64())).to_pylist()
        for product, answer in zip(products.take(pa.array(places, pa.int64())).to_pylist(), answers, strict=True):
            grounded = ground_product(attributes_of(unknown | answer, extra), product, grounding)
            pairs.texts.append(product_text(product["title"], product["description"], product["brand"]))
            pairs.answers.append(answer_text(grounded.attributes))
            pairs.known.append(grounded.attributes)
            dropped += len(grounded.unsupported)
    if not pairs.texts:
        raise ShelfcodeError(f"the teacher speaks of none of the {snapshot.products:,} products: do their item_ids agree?")
    return Pairs(pairs.texts, pairs.answers, pairs.known, fields, silent, dropped)
