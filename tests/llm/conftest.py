"""A model without weights: a tokenizer, and a folder that says how many tokens the model holds."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import LlamaConfig, PreTrainedTokenizerFast

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}<answer>"


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """One of lower-case bytes and words, whose template puts the messages between <bos> and <answer>."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    written = Tokenizer(BPE())
    written.normalizer = normalizers.Lowercase()
    written.pre_tokenizer, written.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<bos>", "<eos>", "<answer>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    written.train_from_iterator(["oat milk, creamy", "word of many words", "rye bread and oat milk"] * 9, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=written, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        extra_special_tokens={"answer_token": "<answer>"}, chat_template=TEMPLATE,
    )  # fmt: skip


@pytest.fixture
def model_folder(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Callable[[int], str]:
    """Makes the folder of a model with a context of so many tokens."""

    def make(context: int) -> str:
        LlamaConfig(max_position_embeddings=context).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        return str(tmp_path / "model")

    return make
