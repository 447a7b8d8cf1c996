"""A text encoder of a few kilobytes, and one that breaks on one word; judgments from triples."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from shelfcode.embedding.judgments import LABELS, JudgmentCounts, Judgments

WORDS = [
    "milk", "oat", "rye", "bread", "apple", "juice", "soap", "brand", "passage", "search", "document", "cursed", ":", ".", *"0123456789",
]  # fmt: skip
TINY_DIMENSIONS = 32


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Makes a model folder; a text with the word "cursed" has an embedding that is not finite."""

    def make(name: str = "tiny", prompts: dict[str, str] | None = None, layers: int = 1) -> str:
        import torch
        from sentence_transformers import SentenceTransformer, models
        from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
        from tokenizers.models import WordLevel
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        folder = tmp_path_factory.mktemp("models") / name
        bert = folder.with_name(f"{name}-bert")
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        words = Tokenizer(WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
        words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
        words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=TINY_DIMENSIONS, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=64,
        )  # fmt: skip
        model = BertModel(config)
        with torch.no_grad():
            model.embeddings.word_embeddings.weight[vocabulary.index("cursed")] = float("nan")
        model.save_pretrained(bert)
        special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
        PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **special).save_pretrained(bert)
        transformer = models.Transformer(str(bert))
        pooling = models.Pooling(TINY_DIMENSIONS)
        SentenceTransformer(modules=[transformer, pooling], prompts=prompts, device="cpu").save(str(folder))
        return str(folder)

    return make


@pytest.fixture(scope="session")
def tiny(tiny_model: Callable[..., str]) -> Path:
    return Path(tiny_model())


@pytest.fixture(scope="session")
def judged() -> Callable[..., Judgments]:
    """Makes judgments of (query, product, label) triples; `queries` where there are some without any."""

    def make(rows: Sequence[tuple[int, int, str]], queries: int | None = None) -> Judgments:
        ordered = sorted(rows)
        count = max((query for query, _, _ in rows), default=-1) + 1 if queries is None else queries
        return Judgments(
            tuple(f"query {number}" for number in range(count)),
            np.array([query for query, _, _ in ordered], np.int32),
            np.array([product for _, product, _ in ordered], np.int64),
            np.array([LABELS.index(label) for _, _, label in ordered], np.int8),
            JudgmentCounts(len(rows), len(rows), 0, 0, {}, 0, 0, count, count, 0, 0),
        )

    return make
