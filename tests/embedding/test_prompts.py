"""What stands before a text is the recipe's own, else what the model's folder says, else what is known of e5."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.prompts import document_prompt, prompts, query_prompt, set_prompts
from shelfcode.embedding.settings import EncoderSettings

CPU = {"device": "cpu", "backend": "torch", "cpus_per_actor": 1}


def loaded(model: Path | str, **settings: str) -> Encoder:
    return Encoder(EncoderSettings.model_validate({**CPU, "model": str(model), **settings}))


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, ("passage: ", "query: ")), ({"prompt": "product: "}, ("product: ", "query: ")), ({"prompt": ""}, ("", "query: "))],
)
def test_a_fine_tuned_e5_is_saved_with_the_prompts_that_it_was_trained_with(
    tiny_model: Callable[..., str], tmp_path: Path, own: dict[str, str], expected: tuple[str, str]
) -> None:
    """Its name says nothing any more: it is called as the user calls it."""
    base = EncoderSettings.model_validate({"model": tiny_model("e5-small-tiny"), **own})
    model = SentenceTransformer(base.model, device="cpu")
    trained_with = prompts(base, model)
    set_prompts(base, model)
    model.save_pretrained(str(tmp_path / "shop"), create_model_card=False)
    tuned = loaded(tmp_path / "shop")
    assert (tuned.prompt, tuned.query_prompt) == trained_with == expected
    np.testing.assert_allclose(tuned.embed_queries(["oat milk"]), loaded(base.model).embed_queries(["oat milk"]), atol=1e-6)


def test_other_programs_find_them_where_sentence_transformers_looks(tiny_model: Callable[..., str], tmp_path: Path) -> None:
    base = EncoderSettings(model=tiny_model("e5-base-tiny"))
    model = SentenceTransformer(base.model, device="cpu")
    set_prompts(base, model)
    model.save_pretrained(str(tmp_path / "shop"), create_model_card=False)
    opened = SentenceTransformer(str(tmp_path / "shop"), device="cpu")
    x_ND = np.asarray(opened.encode_document(["oat milk"], normalize_embeddings=True))
    np.testing.assert_allclose(x_ND, loaded(tmp_path / "shop").embed(["oat milk"]), atol=1e-6)


def test_an_encoder_of_a_workspace_says_what_it_wants_whatever_it_is_called() -> None:
    settings = EncoderSettings(model="workspace:encoders/e5-small-shop@v0001")
    assert (document_prompt(settings, {"document": ""}), query_prompt(settings, {"query": ""})) == ("", "")


@pytest.mark.parametrize(
    ("settings", "known", "expected"),
    [
        ({}, {}, ""),
        ({}, {"query": "search : ", "document": ""}, ""),
        ({}, {"passage": "text: "}, "text: "),
        ({}, {"Retrieval-document": "title: none | text: "}, "title: none | text: "),
        ({"model": "intfloat/e5-base-v2"}, {}, "passage: "),
        ({"model": "intfloat/multilingual-e5-large"}, {}, "passage: "),
        ({"model": "/models/E5-small"}, {}, "passage: "),
        ({"model": "intfloat/multilingual-e5-large-instruct"}, {}, ""),
        ({"model": "acme/note5-small"}, {}, ""),
        ({"model": "intfloat/e5-base-v2", "prompt": ""}, {}, ""),
        ({"prompt": "product: "}, {"document": "document : "}, "product: "),
    ],
)
def test_the_document_prompt_is_the_recipes_else_the_models_else_that_of_e5(
    settings: dict[str, str], known: dict[str, str], expected: str
) -> None:
    assert document_prompt(EncoderSettings(**settings), known) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "known", "expected"),
    [
        ({}, {}, ""),
        ({}, {"query": "", "document": "document : "}, ""),
        ({}, {"query": "search : ", "document": "document : "}, "search : "),
        ({}, {"Retrieval-query": "task: search result | query: "}, "task: search result | query: "),
        ({}, {"Retrieval-query": "task: ", "query": "search : "}, "search : "),
        ({"model": "intfloat/e5-base-v2"}, {}, "query: "),
        ({"model": "intfloat/multilingual-e5-large"}, {"query": "Query: "}, "Query: "),
        ({"model": "/models/E5-small"}, {"query": ""}, "query: "),
        ({"model": "intfloat/multilingual-e5-large-instruct"}, {}, ""),
        ({"model": "intfloat/e5-base-v2", "query_prompt": ""}, {}, ""),
        ({"model": "intfloat/e5-base-v2", "prompt": "product: "}, {}, "query: "),
        ({"query_prompt": "shopper: "}, {"query": "search : "}, "shopper: "),
    ],
)
def test_the_query_prompt_is_the_recipes_else_the_models_else_that_of_e5(
    settings: dict[str, str], known: dict[str, str], expected: str
) -> None:
    assert query_prompt(EncoderSettings(**settings), known) == expected  # type: ignore[arg-type]
