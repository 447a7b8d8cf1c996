"""The hierarchy of prefixes as a tree small enough to draw: prefix, child prefixes, example products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.semantic_id import format_codes

MOST_NODES = 4000
EXAMPLES_PER_PREFIX = 9
_DRAWN_EXAMPLES = 2
ROOT = "all"


@dataclass(frozen=True)
class MapNode:
    """One cell of the map.

    Attributes:
        key: unique; a prefix written a_b for kind "prefix".
        parent: key of the cell around it, "" for the root.
        kind: "root", "prefix", "product" (an example) or "more" (what was left out).
        products: products inside.
        left_out: for kind "more", the number of child prefixes left out; 0 where products were left out instead.
        examples: positions of products inside, spread over its children; one position for a product.
        drawn_size: area in the drawing. Products would be too small to read at scale, so inside a prefix without drawn child
            prefixes all cells have the same area.
    """

    key: str
    parent: str
    kind: Literal["root", "prefix", "product", "more"]
    products: int
    left_out: int
    examples: tuple[int, ...]
    drawn_size: float


def hierarchy_map(codes_NL: NDArray[np.integer], codebook_sizes: Sequence[int], most_nodes: int = MOST_NODES) -> list[MapNode]:
    """The largest prefixes of all depths, with examples, parents before children; at most `most_nodes` cells.

    A drawn prefix brings at most three more cells with it (two examples, one for what is left out), so a quarter of the cells
    can be prefixes. A parent is never smaller than its child, so the largest prefixes form a tree.
    """
    prefixes = prefix_numbers(codes_NL, codebook_sizes)
    order_N = np.argsort(prefixes[-1], kind="stable")
    sizes = [np.bincount(number_N) for number_N in prefixes]
    depth_P = np.concatenate([np.full(len(size_P), depth) for depth, size_P in enumerate(sizes, start=1)])
    number_P = np.concatenate([np.arange(len(size_P)) for size_P in sizes])
    kept = np.lexsort((number_P, depth_P, -np.concatenate(sizes)))[: (most_nodes - 2) // 4]
    firsts = [np.cumsum(size_P) - size_P for size_P in sizes]
    child_counts = [np.array([len(sizes[0])])]
    for upper_N, first_P in zip(prefixes, firsts[1:], strict=False):
        child_counts.append(np.bincount(upper_N[order_N[first_P]]))

    nodes = [MapNode(ROOT, "", "root", len(codes_NL), 0, (), float(len(codes_NL)))]
    drawn_children: dict[str, list[int]] = {}
    for depth, number in zip(depth_P[kept].tolist(), number_P[kept].tolist(), strict=True):
        products, first = int(sizes[depth - 1][number]), int(firsts[depth - 1][number])
        spread = np.unique(np.linspace(first, first + products - 1, min(products, EXAMPLES_PER_PREFIX)).astype(np.int64))
        examples = tuple(int(position) for position in order_N[spread])
        codes = codes_NL[examples[0], :depth].tolist()
        parent = format_codes(codes[:-1]) or ROOT
        nodes.append(MapNode(format_codes(codes), parent, "prefix", products, 0, examples, float(products)))
        drawn_children.setdefault(parent, []).append(products)
    number_of = {node.key: (int(depth), int(number)) for node, depth, number in zip(nodes[1:], depth_P[kept], number_P[kept], strict=True)}
    for node in nodes.copy():
        depth, number = number_of.get(node.key, (0, 0))
        children = int(child_counts[depth][number]) if depth < len(sizes) else 0
        nodes += _inside(node, drawn_children.get(node.key, []), children)
    return nodes


def map_positions(nodes: Sequence[MapNode]) -> NDArray[np.int64]:
    """Positions of all example products of a map, sorted, each once."""
    return np.unique(np.array([position for node in nodes for position in node.examples], dtype=np.int64))


def _inside(node: MapNode, drawn_children: list[int], children: int) -> list[MapNode]:
    """The cells inside a prefix that are not prefixes: what is left out, and examples where no child prefix is drawn."""
    if drawn_children:
        rest = node.products - sum(drawn_children)
        if not rest:
            return []
        return [MapNode(f"{node.key}/more", node.key, "more", rest, children - len(drawn_children), (), float(rest))]
    shown = node.examples[:: max(1, len(node.examples) // _DRAWN_EXAMPLES)][:_DRAWN_EXAMPLES]
    rest = node.products - len(shown)
    area = node.drawn_size / (len(shown) + (rest > 0)) if shown else node.drawn_size
    cells = [MapNode(f"{node.key}/{position}", node.key, "product", 1, 0, (position,), area) for position in shown]
    if rest:
        cells.append(MapNode(f"{node.key}/more", node.key, "more", rest, 0, (), area))
    return cells
