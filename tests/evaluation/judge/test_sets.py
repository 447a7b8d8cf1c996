"""What is judged: drawn by hash, near-duplicates once, two releases over the same anchors."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from shelfcode.evaluation.judge.sets import JudgedCatalog, draw_distinct, hash_order, sample_clusters


def test_sets_hold_products_of_their_prefix_and_two_draws_share_none(catalog: JudgedCatalog) -> None:
    sample = sample_clusters(catalog, clusters=12, products=8, draws=2, seed=0)
    codes = {release.name: release.codes_NL for release in catalog.releases}
    assert {each.level for each in sample.sets} == {1, 2, 3}
    for each in sample.sets:
        prefix = [int(part) for part in each.name.split("_")]
        assert (codes[each.release][list(each.members), : each.level] == prefix).all()
        assert len(set(each.members)) == 8
    pairs = {(each.release, each.name, each.draw): set(each.members) for each in sample.sets}
    second = [key for key in pairs if key[2] == 1]
    assert second
    assert all(pairs[key].isdisjoint(pairs[key[0], key[1], 0]) for key in second)


def test_anchors_are_the_same_products_under_both_releases(catalog: JudgedCatalog) -> None:
    sample = sample_clusters(catalog, clusters=12, products=8, draws=1, seed=0)
    for anchors in sample.anchors:
        for row, prefixes in zip(anchors.rows, anchors.prefixes, strict=True):
            for release, prefix in zip(catalog.releases, prefixes, strict=True):
                assert "_".join(map(str, release.codes_NL[row, : anchors.level])) == prefix


def test_what_is_drawn_does_not_depend_on_the_order_of_rows(catalog: JudgedCatalog) -> None:
    turned = np.arange(len(catalog.item_keys_N))[::-1]
    other = JudgedCatalog(
        catalog.item_ids.take(pa.array(turned)), catalog.titles.take(pa.array(turned)), catalog.item_keys_N[turned],
        catalog.taxonomy.of(turned), tuple(replace(each, codes_NL=each.codes_NL[turned]) for each in catalog.releases),
    )  # fmt: skip
    drawn = []
    for of in (catalog, other):
        sets = sample_clusters(of, 12, 8, 1, 0).sets
        drawn.append({(each.release, each.name, tuple(of.item_ids.take(pa.array(each.members)).to_pylist())) for each in sets})
    assert drawn[0] == drawn[1]


def test_near_duplicates_are_drawn_once(catalog: JudgedCatalog) -> None:
    rows = np.arange(12)
    others = [f"{word} drink" for word in ("apple", "beet", "cherry", "date", "elder", "fig", "grape", "hazel", "ice")]
    titles = pa.chunked_array([pa.array(["oat milk 1 l", "oat milk 2 l", "OAT MILK, 6 x 1 l", *others])])
    drawn = draw_distinct(replace(catalog, titles=titles), rows, 12, seed=0)
    assert len([row for row in drawn if row < 3]) == 1
    assert len(drawn) == 10


def test_levels_with_too_few_clusters_say_so(catalog: JudgedCatalog) -> None:
    sample = sample_clusters(catalog, clusters=12, products=12, draws=1, seed=0)
    assert any(note.startswith("L3: 0 of the 4 clusters") for note in sample.notes)


def test_another_seed_draws_another_order(catalog: JudgedCatalog) -> None:
    assert (hash_order(catalog.item_keys_N, 0) != hash_order(catalog.item_keys_N, 1)).any()
