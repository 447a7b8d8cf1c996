"""Answers of a student in plain torch, to measure it where it was trained; catalogs go through vLLM."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from shelfcode.attributes.prompt import conversation
from shelfcode.attributes.schema import Attributes, ExtraAttributes, parse_answer
from shelfcode.progress import Progress

BATCH = 64
NEW_TOKENS = 192


@torch.no_grad()
def answer_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    extra: ExtraAttributes,
    progress: Progress,
) -> list[Attributes]:
    """The likeliest answer to each text, not held to the schema; one that cannot be read counts as empty."""
    model.eval()
    tokenizer.padding_side = "left"
    found = []
    for first in range(0, len(texts), BATCH):
        prompts = [conversation(tokenizer, text, extra) for text in texts[first : first + BATCH]]
        inputs = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt", return_token_type_ids=False)
        made_BT = model.generate(**inputs.to(model.device), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        answers = tokenizer.batch_decode(made_BT[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        found += [_read(answer, extra) for answer in answers]
        progress(len(prompts))
    return found


def _read(answer: str, extra: ExtraAttributes) -> Attributes:
    try:
        return parse_answer(answer, extra)
    except ValueError:
        return Attributes(product_type="")
