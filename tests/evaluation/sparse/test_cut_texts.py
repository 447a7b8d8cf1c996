"""Rich products are found and cut, one sentence a step."""

import numpy as np
import pyarrow as pa

from shelfcode.evaluation.sparse.cut_texts import count_words, cut_ladders, half_title, rich_products, split_sentences, titles_alone
from shelfcode.evaluation.sparse.settings import SparseSettings


def products(descriptions: list[str | None]) -> pa.Table:
    rows = [
        {"item_id": f"item {at}", "title": "One two three four five", "description": text, "brand": "Brand"}
        for at, text in enumerate(descriptions)
    ]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in ("item_id", "title", "description", "brand")]))


def test_sentences_end_at_stops_and_lines_in_any_script() -> None:
    assert split_sentences("Soft. Warm!  Ready?\nNo stop here\n\n...") == ["Soft.", "Warm!", "Ready?", "No stop here"]
    assert split_sentences("有機です。新鮮！") == ["有機です。", "新鮮！"]  # noqa: RUF001
    assert split_sentences("4.5 mm, v2.0") == ["4.5 mm, v2.0"]
    assert split_sentences(None) == []
    assert (count_words("Oat milk, 1 l"), count_words("牛乳"), count_words(None)) == (4, 2, 0)


def test_only_rich_products_are_drawn_the_same_each_time() -> None:
    table = products(["A. B. C.", "A. B.", None, "A. B. C. D.", *["A. B. C."] * 20])
    assert rich_products(table, SparseSettings(rich_products=100)).tolist() == [0, 3, *range(4, 24)]
    drawn = rich_products(table, SparseSettings(rich_products=5))
    assert len(drawn) == 5
    assert (np.diff(drawn) > 0).all()
    assert set(drawn) < {0, 3, *range(4, 24)}
    shuffled = table.take(pa.array(np.arange(len(table))[::-1]))
    assert set(len(table) - 1 - rich_products(shuffled, SparseSettings(rich_products=5))) == set(drawn)


def test_a_ladder_gains_one_sentence_a_step() -> None:
    table = products(["A. B. C. D. E. F. G. H.", "A. B. C.", "K. L. M.", "X. Y. Z."])
    ladders = cut_ladders(table, np.arange(4), SparseSettings(most_sentences=6))
    assert ladders.sentences_V.tolist() == [*range(7), *range(4), *range(4), *range(4)]
    assert ladders.product_V.tolist() == [0] * 7 + [1] * 4 + [2] * 4 + [3] * 4
    assert ladders.products["description"].to_pylist()[:3] == [None, "A.", "A. B."]
    assert ladders.steps.tolist() == [*range(6), *range(7, 10), *range(11, 14), *range(15, 18)], "no step leads to another product"
    assert len(set(ladders.products["item_id"].to_pylist())) == len(ladders.products)
    brands, titles = (ladders.products[name].to_pylist() for name in ("brand", "title"))
    assert (brands[0], brands[7], brands[11], brands[15]) == ("Brand", "Brand", None, None)
    assert (titles[11], titles[15]) == ("One two three four five", "One two three")


def test_what_is_left_of_a_title_is_never_nothing() -> None:
    assert (half_title("Milk"), half_title("Oat milk"), half_title("   ")) == ("Milk", "Oat", "   ")
    alone = titles_alone(products(["A. B. C."]))
    assert alone.to_pylist() == [
        {"item_id": "item 0 cut to its title", "title": "One two three four five", "description": None, "brand": None}
    ]
