"""Impressions -> the lists that were shown, a row a request, and what each of them was worth.

Files are read side by side, only the columns that are needed, and become keys and numbers at once: some 30 bytes of memory a product shown.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N rows of impressions, R requests, C products chosen.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.arrow_store import read_parquet, read_parquet_schema
from shelfcode.catalog.listed_files import list_files
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.impressions import IMPRESSIONS, SHOWN
from shelfcode.keys import KeyIndex, Keys, index_keys, item_keys
from shelfcode.parallel import TABLES_AT_ONCE, in_order
from shelfcode.store import open_filesystem

REWARDS = ("hit", "chosen", "reciprocal_rank")
"""Of a list: whether anything of it was chosen (1 or 0), how many of its products were, and 1 / the position of the first of them, or 0."""

_COLUMNS = ["session_id", "user_id", "surface", "at", "event", "item_id", "position", "side", "propensity", "retriever"]
_OF_A_LIST = ("session_id", "surface", "side")
_NAMES = ("surface", "side", "retriever")
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ShownLists:
    """R requests, each with its list, oldest first.

    Attributes:
        surfaces, sides, retrievers: names; `surface_R`, `side_R` and `retriever_R` are places in them. The retriever may be "".
        user_R: key of the user; a request without one has a user of its own.
        propensity_R: share of the traffic that goes to the request's side.
        rewards: by REWARDS, float64[R].
        repeated: answers to a request that had been answered before; only the first counts.
        chosen: products chosen, each once a request.
        unshown, elsewhere: those among them whose request was never shown, and whose list does not have them; no list is credited
            with these.
    """

    surfaces: tuple[str, ...]
    sides: tuple[str, ...]
    retrievers: tuple[str, ...]
    surface_R: NDArray[np.int64]
    side_R: NDArray[np.int64]
    retriever_R: NDArray[np.int64]
    user_R: Keys
    propensity_R: NDArray[np.float64]
    rewards: dict[str, NDArray[np.float64]]
    repeated: int
    chosen: int
    unshown: int
    elsewhere: int

    def __len__(self) -> int:
        return len(self.user_R)


@dataclass(frozen=True)
class _Read:
    """What some files say.

    Attributes:
        lists: a row an answer: session, user, at, propensity, and the names.
        products: a row a product shown: session, at, item, position.
        choices: a row a product chosen: session, item.
    """

    lists: pa.Table
    products: pa.Table
    choices: pa.Table


def read_shown_lists(url: str) -> ShownLists:
    """The lists of impressions, with what was chosen of them.

    Args:
        url: file, folder or glob of Parquet; local or s3://.

    Raises:
        ShelfcodeError: nothing is there, a file is none of impressions, no list was shown, or a propensity is no share.
    """
    urls = list(dict.fromkeys(file.url for file in list_files(url)))  # a large file is listed once for each of its shares
    read = list(in_order(_read_file, urls, TABLES_AT_ONCE))
    every = _Read(*(pa.concat_tables([getattr(each, name) for each in read]) for name in ("lists", "products", "choices")))
    if not len(every.lists):
        raise ShelfcodeError("no list was shown: there is no row with the event 'shown'. Give the folder that the endpoint writes")
    return _joined(every)


def _read_file(url: str) -> _Read:
    rows = _rows(url)
    if missing := rows["event"].null_count:
        raise ShelfcodeError(f"{url}: {missing:,} rows have no event: they may be products shown or chosen. Leave them out")
    shown_N = pc.equal(rows["event"], SHOWN)
    shown, chosen = rows.filter(shown_N), rows.filter(pc.invert(shown_N))
    _check_lists(shown, url)
    session_N, at_N = _keys(shown["session_id"]), pc.fill_null(shown["at"].cast(pa.int64()), 0).to_numpy()
    first = pa.array(np.sort(np.unique(_pair(session_N, at_N.view(np.uint64)), return_index=True)[1]))
    user_N = np.where(shown["user_id"].is_valid().to_numpy(), _keys(shown["user_id"]), ~session_N)
    lists = pa.table({
        "session": session_N, "at": at_N, "user": user_N, "propensity": shown["propensity"],
        **{name: pc.fill_null(shown[name], "").dictionary_encode() for name in _NAMES},
    }).take(first)  # fmt: skip
    product_N = shown["item_id"].is_valid()
    products = pa.table({"session": session_N, "at": at_N, "item": _keys(shown["item_id"]), "position": shown["position"]})
    choices = pa.table({"session": _keys(chosen["session_id"]), "item": _keys(chosen["item_id"])})
    return _Read(lists, products.filter(product_N), choices)


def _rows(url: str) -> pa.Table:
    """The columns of a file that count, as the types that they should have.

    Raises:
        ShelfcodeError: it is no Parquet, or columns are missing or of another kind.
    """
    fs, path = open_filesystem(url)
    try:
        names = read_parquet_schema(fs, path).names
        if missing := [name for name in _COLUMNS if name not in names]:
            raise ShelfcodeError(
                f"{url} has no column {', '.join(map(repr, missing))}. Columns found: {', '.join(map(repr, names)) or 'none'}. "
                "Give impressions, as the endpoint writes them"
            )
        return read_parquet(fs, path, _COLUMNS).cast(pa.schema([IMPRESSIONS.field(name) for name in _COLUMNS]))
    except (pa.ArrowException, OSError) as error:
        raise ShelfcodeError(f"{url} is no file of impressions: {' '.join(str(error).split())[:300]}") from error


def _check_lists(shown: pa.Table, url: str) -> None:
    """Refuse rows by which nothing can be counted or weighed.

    Raises:
        ShelfcodeError: says how many, and the first of them.
    """
    for name in _OF_A_LIST:
        if missing := shown[name].null_count:
            raise ShelfcodeError(f"{url}: {missing:,} products shown have no {name}. Leave these rows out, or write them with one")
    propensity = pc.fill_null(shown["propensity"], float("nan"))
    good_N = pc.and_(pc.greater(propensity, 0.0), pc.less_equal(propensity, 1.0))  # NaN is neither
    if len(bad := shown.filter(pc.invert(good_N))):
        said = bad["propensity"][0].as_py()
        raise ShelfcodeError(
            f"{url}: the propensity of {len(bad):,} products shown is missing or no share, such as {'null' if said is None else said} of "
            f"request {bad['session_id'][0].as_py()!r}. It says how much of the traffic went to the side that answered, above 0 and at "
            "most 1, and without it a list cannot be weighed. Leave such requests out, all of their rows"
        )
    placed_N = pc.fill_null(pc.greater_equal(shown["position"], 1), False)
    if len(bad := shown.filter(pc.and_(shown["item_id"].is_valid(), pc.invert(placed_N)))):
        raise ShelfcodeError(
            f"{url}: {len(bad):,} products shown have no position, such as {bad['item_id'][0].as_py()!r}: it counts from 1"
        )


def _keys(texts: pa.ChunkedArray) -> Keys:
    """Key of each text, of which most occur many times: each is hashed once."""
    encoded = texts.combine_chunks().dictionary_encode(null_encoding="encode")
    return item_keys(encoded.dictionary)[encoded.indices.to_numpy()]


def _pair(a: Keys, b: Keys) -> Keys:
    """One key for two."""
    return a * _ODD + b


def _joined(read: _Read) -> ShownLists:
    """The first answer to each request, and which of its products were chosen."""
    lists = read.lists.unify_dictionaries().combine_chunks()
    session_N, at_N = lists["session"].to_numpy(), lists["at"].to_numpy()
    answers = len(np.unique(_pair(session_N, at_N.view(np.uint64))))  # a file that is there twice repeats nothing
    order_N = np.argsort(at_N, kind="stable")
    first_R = order_N[np.sort(np.unique(session_N[order_N], return_index=True)[1])]
    lists = lists.take(pa.array(first_R))
    requests = index_keys(session_N[first_R])
    session_C, item_C = (read.choices[name].to_numpy() for name in ("session", "item"))
    pair_C, place_C = np.unique(_pair(session_C, item_C), return_index=True)
    request_C = requests.get(session_C[place_C])
    position_C = _positions(read.products, requests, at_N[first_R], request_C).get(pair_C)
    surfaces, sides, retrievers = (tuple(lists[name].combine_chunks().dictionary.to_pylist()) for name in _NAMES)
    surface_R, side_R, retriever_R = (lists[name].combine_chunks().indices.to_numpy().astype(np.int64) for name in _NAMES)
    return ShownLists(
        surfaces, sides, retrievers, surface_R, side_R, retriever_R,
        user_R=lists["user"].to_numpy(), propensity_R=lists["propensity"].to_numpy(),
        rewards=_rewards(request_C[position_C > 0], position_C[position_C > 0], len(lists)),
        repeated=answers - len(lists), chosen=len(pair_C), unshown=int((request_C < 0).sum()),
        elsewhere=int(((request_C >= 0) & (position_C < 0)).sum()),
    )  # fmt: skip


def _positions(products: pa.Table, requests: KeyIndex, at_R: NDArray[np.int64], request_C: NDArray[np.int64]) -> KeyIndex:
    """Request and product -> its first position in the list that counts, of requests of which something was chosen."""
    chosen_R = np.zeros(len(at_R) + 1, dtype=bool)  # one more, for those that were never shown
    chosen_R[request_C] = True
    chosen_R[-1] = False
    request_N = requests.get(products["session"].to_numpy())
    kept_N = np.flatnonzero(chosen_R[request_N] & (products["at"].to_numpy() == at_R[request_N]))
    kept_N = kept_N[np.argsort(products["position"].to_numpy()[kept_N], kind="stable")]
    pair_N = _pair(products["session"].to_numpy()[kept_N], products["item"].to_numpy()[kept_N])
    return index_keys(pair_N, products["position"].to_numpy()[kept_N])


def _rewards(request_F: Sequence[int] | NDArray[np.int64], position_F: NDArray[np.int64], requests: int) -> dict[str, NDArray[np.float64]]:
    """Of the places where chosen products were found."""
    chosen_R = np.bincount(request_F, minlength=requests).astype(np.float64)
    rank_R = np.zeros(requests)
    np.maximum.at(rank_R, request_F, 1 / position_F)
    return dict(zip(REWARDS, ((chosen_R > 0).astype(np.float64), chosen_R, rank_R), strict=True))
