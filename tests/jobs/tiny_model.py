"""A text encoder of a few kilobytes, for tests and for measurements in which the encoder should cost nothing."""

from collections.abc import Sequence
from pathlib import Path

WORDS = [
    "milk", "oat", "rye", "bread", "apple", "juice", "soap", "brand", "passage", "search", "document", "cursed", ":", ".", *"0123456789",
]  # fmt: skip
TINY_DIMENSIONS = 32


def make_tiny_model(
    folder: Path,
    prompts: dict[str, str] | None = None,
    layers: int = 1,
    dimensions: int = TINY_DIMENSIONS,
    more_words: Sequence[str] = (),
) -> str:
    """Make a model folder; a text with the word "cursed" has an embedding that is not finite."""
    import torch
    from sentence_transformers import SentenceTransformer, models
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    bert = folder.with_name(f"{folder.name}-bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*WORDS, *more_words])]
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=dimensions, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    model = BertModel(config)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[vocabulary.index("cursed")] = float("nan")
    model.save_pretrained(bert)
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **special).save_pretrained(bert)
    transformer = models.Transformer(str(bert))
    SentenceTransformer(modules=[transformer, models.Pooling(dimensions)], prompts=prompts, device="cpu").save(str(folder))
    return str(folder)
