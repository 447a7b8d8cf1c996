"""The whole evaluation: small and odd catalogs, JSON, the seed, and agreement with the outside judge."""

import json
import runpy
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.evaluation.quality.evaluate import Evaluation, evaluate, headline, products_read
from shelfcode.semantic_id import format_many


def test_json_round_trip(evaluation):
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_an_evaluation_cannot_be_changed(evaluation):
    with pytest.raises(ValueError, match="frozen"):
        evaluation.products = 3


def test_same_seed_same_evaluation_other_seed_another(clustered, evaluation, other_seed):
    again, other = evaluate(clustered.x_ND, clustered.codes_NL, clustered.sizes, clustered.taxonomy), other_seed
    assert again == evaluation
    assert other.similarity_depth.spearman != evaluation.similarity_depth.spearman
    assert other.similarity_depth.spearman == pytest.approx(evaluation.similarity_depth.spearman, abs=0.02)
    assert other.taxonomy_alignment == evaluation.taxonomy_alignment


def test_of_a_large_catalog_only_a_sample_and_products_that_share_ids_are_read(clustered, evaluation):
    """What is counted is counted over all; only what needs vectors comes from a sample."""
    assert products_read(clustered.codes_NL, clustered.sizes) is None
    read = products_read(clustered.codes_NL, clustered.sizes, at_most=400)
    assert read.paired == 400
    assert 400 < len(read.positions_M) == len(np.unique(read.positions_M)) < 1000
    sampled = evaluate(clustered.x_ND[read.positions_M], clustered.codes_NL, clustered.sizes, clustered.taxonomy, read=read)
    assert (sampled.products, sampled.compared_products) == (1000, 400)
    assert sampled.collisions == evaluation.collisions
    assert sampled.codebook_health == evaluation.codebook_health
    assert sampled.taxonomy_alignment == evaluation.taxonomy_alignment
    assert sampled.similarity_depth.spearman == pytest.approx(evaluation.similarity_depth.spearman, abs=0.03)


def test_headline_of_structured_codes(clustered, evaluation):
    figures = headline(evaluation)
    assert list(figures) == [
        "similarity_depth_spearman",
        "spearman_low",
        "spearman_high",
        "share_at_l1_cosine_90",
        "share_at_l2_cosine_90",
        "share_at_l3_cosine_90",
        "codewords_used_share",
        "distinct_share",
        "unlike_collision_share",
        "l1_largest_over_even",
        "ami_l1_top",
        "purity_l1_top",
        "purity_l2_leaf",
    ]
    assert figures["spearman_low"] < figures["similarity_depth_spearman"] < figures["spearman_high"]
    assert figures["share_at_l1_cosine_90"] > 0.95
    assert figures["codewords_used_share"] == 1
    assert figures["distinct_share"] == len(np.unique(clustered.codes_NL, axis=0)) / 1000
    assert figures["unlike_collision_share"] == evaluation.collisions.unlike_share
    assert figures["purity_l1_top"] > 0.8


def test_headline_without_collisions_leaves_their_share_out(clustered):
    number_N = np.arange(1000)
    apart = evaluate(clustered.x_ND, np.stack([number_N // 100, number_N % 100], axis=1), (10, 100), None)
    assert "unlike_collision_share" not in headline(apart)


def test_collapsed_codes_say_so_without_nan(clustered):
    collapsed = evaluate(clustered.x_ND, np.zeros_like(clustered.codes_NL), clustered.sizes, clustered.taxonomy)
    assert collapsed.similarity_depth.spearman is None
    assert collapsed.similarity_depth.undefined["spearman"] == "every pair shares the same depth, 3"
    figures = headline(collapsed)
    assert "similarity_depth_spearman" not in figures
    assert figures["codewords_used_share"] == 1 / 10
    assert figures["distinct_share"] == 1 / 1000
    assert figures["l1_largest_over_even"] == 6
    assert figures["ami_l1_top"] == pytest.approx(0, abs=1e-9)
    json.loads(collapsed.model_dump_json(), parse_constant=pytest.fail)


@pytest.mark.parametrize("products", [2, 3, 40])
@pytest.mark.parametrize("levels", [1, 7])
def test_small_catalogs_and_any_number_of_levels(products, levels):
    rng = np.random.default_rng(products)
    x_ND = rng.standard_normal((products, 8))
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    codes_NL = rng.integers(0, 5, (products, levels)).astype(np.uint16)
    taxonomy = taxonomy_from_paths([["a", f"b{number % 3}"] if number else None for number in range(products)])
    result = evaluate(x_ND.astype(np.float32), codes_NL, (1000,) * levels, taxonomy)
    json.loads(result.model_dump_json(), parse_constant=pytest.fail)
    assert result.products == products
    assert len(result.codebook_health.levels) == levels
    assert all(isinstance(value, float) for value in headline(result).values())
    similarity = result.similarity_depth
    assert (similarity.spearman is None) == ("spearman" in similarity.undefined)


def test_without_taxonomy(clustered):
    result = evaluate(clustered.x_ND, clustered.codes_NL, clustered.sizes, None)
    assert result.taxonomy_alignment is None
    assert "taxonomy_alignment" in result.undefined
    assert "ami_l1_top" not in headline(result)


def test_arguments_that_do_not_fit_are_refused(clustered):
    with pytest.raises(ValueError, match="999 embeddings, but 1000 semantic IDs"):
        evaluate(clustered.x_ND[1:], clustered.codes_NL, clustered.sizes, None)
    with pytest.raises(ValueError, match="two products or more"):
        evaluate(clustered.x_ND[:1], clustered.codes_NL[:1], clustered.sizes, None)


@pytest.fixture
def judge(shelfcode_data):
    """The outside judge, which lies beside the data."""
    script = shelfcode_data.parent / "tools" / "judge_sids.py"
    if not script.exists():
        pytest.skip(f"{script} is not there")
    return script


def residual_k_means(x_ND, sizes):
    rest_ND, codes = x_ND.copy(), []
    for size in sizes:
        fitted = KMeans(size, n_init=1, max_iter=10, random_state=0).fit(rest_ND)
        codes.append(fitted.labels_)
        rest_ND = rest_ND - fitted.cluster_centers_[fitted.labels_]
    return np.stack(codes, axis=1).astype(np.uint16)


@pytest.fixture
def judged(judge, tmp_path, monkeypatch):
    """The judge's figures of some products."""

    def figures(x_ND, codes_NL, paths):
        write_products(tmp_path, x_ND, codes_NL, paths)
        monkeypatch.chdir(tmp_path)
        files = ["--catalog", "catalog.parquet", "--sids", "ids.parquet", "--embeddings", "embeddings.parquet"]
        monkeypatch.setattr(sys, "argv", [str(judge), *files, "--json", "out.json"])
        runpy.run_path(str(judge), run_name="__main__")
        return json.loads((tmp_path / "out.json").read_text())

    return figures


def write_products(folder, x_ND, codes_NL, paths):
    ids = [f"product-{number}" for number in range(len(x_ND))]
    pq.write_table(
        pa.table({"item_id": ids, "title": ids, "category_path": pa.array(paths, pa.list_(pa.string()))}), folder / "catalog.parquet"
    )
    pq.write_table(pa.table({"item_id": ids, "semantic_id": format_many(codes_NL)}), folder / "ids.parquet")
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(x_ND.ravel(), pa.float32()), x_ND.shape[1])
    pq.write_table(pa.table({"item_id": ids, "embedding": embedding}), folder / "embeddings.parquet")


def assert_agreement(result, verdict, tolerance=0.01):
    figures, levels = headline(result), result.codebook_health.levels
    assert result.similarity_depth.spearman == pytest.approx(verdict["spearman"], abs=tolerance)
    assert result.similarity_depth.similar.share_at_level == pytest.approx(verdict["share_ge_0.9"], abs=tolerance)
    assert [level.codewords_used for level in levels] == verdict["codewords_used"]
    assert levels[0].perplexity == pytest.approx(verdict["l1_perplexity"], abs=0.06)
    assert levels[0].largest_share == pytest.approx(verdict["l1_max_share"], abs=1e-4)
    assert figures["distinct_share"] == pytest.approx(verdict["distinct_share"], abs=1e-4)
    assert result.collisions.largest == verdict["largest_collision"]
    for level in (1, 2):
        assert result.taxonomy_alignment.at(level, 1).purity == pytest.approx(verdict[f"top_purity_L{level}"], abs=1e-4)
        assert result.taxonomy_alignment.at(level, "leaf").purity == pytest.approx(verdict[f"leaf_purity_L{level}"], abs=1e-4)
    assert figures["ami_l1_top"] == pytest.approx(verdict["top_ami_L1"], abs=1e-4)


def test_agrees_with_the_outside_judge_on_made_products(clustered_of, judged):
    made, sizes = clustered_of(300, seed=300), (8, 16, 32)
    codes_NL = residual_k_means(made.x_ND, sizes)
    result = evaluate(made.x_ND, codes_NL, sizes, made.taxonomy)
    assert_agreement(result, judged(made.x_ND, codes_NL, made.paths))


def test_agrees_with_the_outside_judge_on_a_real_catalog(shelfcode_data, judged):
    """Real titles and paths; parts of words stand in for an encoder, which is not what is judged."""
    catalog = shelfcode_data / "instacart" / "catalog.parquet"
    rows = pq.read_table(catalog, columns=["title", "category_path"]).slice(10_000, 1500).to_pylist()
    parts_of_words = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True)
    x_ND = TruncatedSVD(48, random_state=0).fit_transform(parts_of_words.fit_transform([row["title"] for row in rows]))
    x_ND = (x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)).astype(np.float32)
    sizes = (16, 32, 64, 128)
    codes_NL = residual_k_means(x_ND, sizes)
    paths = [row["category_path"] for row in rows]
    result = evaluate(x_ND, codes_NL, sizes, taxonomy_from_paths(paths))
    assert_agreement(result, judged(x_ND, codes_NL, paths))
