"""A small causal language model that extracts attributes: the student of a larger teacher.

It reads a product's text and writes the attributes as JSON, like any LLM, but needs no instructions: following them is what it
was trained on, so its chat template leaves them out and its prompts are short. A student made from scratch has its own
vocabulary, in which each piece of the JSON's scaffolding is one token.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, model_validator
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from shelfcode.attributes.prompt import messages
from shelfcode.attributes.schema import Attributes, ExtraAttributes, parse_answer
from shelfcode.attributes.settings import ExtraAttribute, Grounding
from shelfcode.errors import ShelfcodeError
from shelfcode.llm.prompt import prompt_text
from shelfcode.model_folder import check_model_folder
from shelfcode.model_source import model_path
from shelfcode.progress import Progress
from shelfcode.recipe_file import apply_overrides, named_file, read_yaml, validate_settings
from shelfcode.settings import RUNS, Positive, Settings

ANSWERED_TOGETHER = 32
"""Texts. SmolLM2 answers 99 on one core in 174 s when 64 are taken together as they come, in 97 s by 32, in 66 s by 32 of like length."""
ANSWER_TOKENS = 192
PAD, BOS, EOS, ANSWER = "<pad>", "<bos>", "<eos>", "<answer>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}{% endfor %}" + ANSWER
)
TERSE_TEMPLATE = CHAT_TEMPLATE.replace("message['content']", "message['content'] | lower")
"""Of a base that tells upper case from lower: answers are in lower case, and what is copied from the text is then the same tokens."""

_SCAFFOLD = r"""[{,]"[a-z_0-9]+":(?:\["|\[\]|\[|")?|"\]?(?=,"[a-z_0-9]+":|\})|\}"""
"""What stands between the values of an answer: `,"key_ingredients":["` is one piece. What ends a value is another, so that the end can be
taught where the teacher does not know the next value."""
_WORDS = r"| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+"


class StudentArchitecture(Settings):
    """The student that is made from scratch; a Llama, which vLLM serves as it is."""

    vocabulary: Positive = Field(4096, description="tokens, learnt from the pairs")
    hidden_size: Positive = Field(256, description="width")
    layers: Positive = Field(4, description="of attention and feed-forward")
    heads: Positive = Field(4, description="of attention; vLLM's CPU build wants hidden_size / heads of 32, 64 or 128")
    feed_forward: Positive = Field(768, description="width between the two halves of the feed-forward")


class StudentRecipe(Settings):
    """How a student is made and trained."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(description="of the extractor; lower case")
    base: str | None = Field(
        None, description="package:NAME, a folder, or a name on the model hub, to train further; from scratch when left out"
    )
    architecture: StudentArchitecture = StudentArchitecture()
    own_vocabulary: Positive | None = Field(
        None,
        description="tokens that a base learns from the pairs in place of its own, where a student meets other words than it did",
    )
    terse: bool = Field(
        False,
        description="a base reads a product's text alone, without instructions, and each piece of the answer's JSON becomes one token; "
        "it is faster and does nothing else any more",
    )
    trained_layers: Positive | None = Field(
        None, description="how many of a base's uppermost layers are trained, beside what writes the tokens; the whole base when left out"
    )
    attributes: dict[str, ExtraAttribute] = Field(
        {}, description="the recipe's own attributes that it learns too, as in extractor.attributes"
    )
    grounding: Grounding = Field(
        "lexicon", description="as extractor.grounding; off: what the teacher said is taught as it is, for catalogs in other languages"
    )
    max_tokens: Positive = Field(512, description="of a product's text and its answer together; a longer pair is not taught")
    seed: int = Field(0, ge=0, description="of weights and batches")
    held_out: Positive = Field(500, description="pairs kept back to measure the student on")
    steps: Positive = Field(3000, description="batches in all")
    batch_size: Positive = Field(64, description="pairs per batch, over all workers")
    learning_rate: float = Field(2e-3, gt=0, description="at its height; it warms up, then falls along a cosine")
    warmup_steps: int = Field(100, ge=0, description="until the learning rate is at its height")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW")
    checkpoint_every: Positive = Field(500, description="steps; a killed run goes on from the last checkpoint", json_schema_extra=RUNS)
    workers: Positive = Field(1, description="Ray Train workers; the batch is shared out among them", json_schema_extra=RUNS)
    cpus_per_worker: Positive = Field(2, description="CPU cores, and torch threads, per worker", json_schema_extra=RUNS)
    use_gpu: bool = Field(False, description="one GPU per worker", json_schema_extra=RUNS)
    precision: str = Field("float32", pattern="^(float32|bfloat16)$", description="of the forward pass")
    max_failures: int = Field(
        3, ge=-1, description="how often Ray Train starts again after a worker died; -1: for ever", json_schema_extra=RUNS
    )

    @model_validator(mode="after")
    def _equal_shares(self) -> "StudentRecipe":
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size {self.batch_size} has no equal shares for {self.workers} workers")
        return self

    @model_validator(mode="after")
    def _of_a_base(self) -> "StudentRecipe":
        of_a_base = {"own_vocabulary": self.own_vocabulary, "terse": self.terse, "trained_layers": self.trained_layers}
        given = [field for field, value in of_a_base.items() if value]
        if given and not self.base:
            raise ValueError(f"{' and '.join(given)} change a base, and base names none")
        if self.own_vocabulary and self.terse:
            raise ValueError("own_vocabulary replaces the tokens that terse adds to a base's own: give one of the two")
        return self


def load_student_recipe(name: str, folder: Path, overrides: Sequence[str] = ()) -> StudentRecipe:
    """Read a student by name (a YAML file in `folder`) or by path, apply `key.sub=value` overrides, validate.

    Raises:
        ShelfcodeError: no such file, not YAML, or a field that is unknown or out of range; the message names it.
    """
    path = named_file("--student", name, folder)
    return validate_settings(StudentRecipe, apply_overrides(read_yaml(path), overrides), f"recipe {path}")


def answer_text(attributes: Attributes) -> str:
    """The answer that a student is taught: compact JSON in lower case, fields in the order of the schema."""
    return json.dumps(attributes.columns(), ensure_ascii=False, separators=(",", ":")).lower()


def value_spans(answer: str) -> dict[str, tuple[int, int]]:
    """Where in an answer each attribute's value stands, its quotes or brackets among it."""
    spans, end = {}, 0
    for name, value in json.loads(answer).items():
        start = end + len(f',"{name}":')  # the first member has a brace for a comma
        end = start + len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        spans[name] = (start, end)
    return spans


def learn_vocabulary(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer without upper case, trained on products and answers."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_SCAFFOLD + _WORDS), behavior="isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=size, special_tokens=[PAD, BOS, EOS, ANSWER], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, extra_special_tokens={"answer_token": ANSWER},
        chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def new_student(recipe: StudentRecipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The untrained student; draws from torch's global random numbers."""
    shape = recipe.architecture
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=shape.hidden_size, intermediate_size=shape.feed_forward, num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads, num_key_value_heads=shape.heads, max_position_embeddings=2 * recipe.max_tokens,
            tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip


@torch.no_grad()
def transfer_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, learnt: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The model with another vocabulary: each token begins as the mean of the pieces that the model had for it.

    "Fast Vocabulary Transfer", Gee et al. 2022.
    """
    old_VD = model.get_input_embeddings().weight.detach().clone()
    known = tokenizer.get_vocab()
    rows = []
    for place, name in enumerate(learnt.convert_ids_to_tokens(range(len(learnt)))):
        pieces = (
            [known[name]]
            if name in learnt.all_special_tokens and name in known
            else tokenizer.encode(learnt.decode([place]), add_special_tokens=False)
        )
        rows.append(old_VD[pieces].mean(0) if pieces else old_VD.mean(0))
    model.resize_token_embeddings(len(learnt), mean_resizing=False)
    model.get_input_embeddings().weight.copy_(torch.stack(rows))
    for role in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(model.config, role, getattr(learnt, role))
        setattr(model.generation_config, role, getattr(learnt, role))
    return model


@torch.no_grad()
def make_terse(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, answers: Iterable[str]) -> None:
    """Give a base a short chat template, and tokens for the pieces of the answers' JSON; each begins as the mean of its parts."""
    scaffold = sorted({piece for answer in answers for piece in re.findall(_SCAFFOLD, answer)})
    parts = {piece: tokenizer.encode(piece, add_special_tokens=False) for piece in [ANSWER, *scaffold]}
    new, known = [piece for piece, ids in parts.items() if len(ids) > 1], len(tokenizer)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in new])
    tokenizer.chat_template = TERSE_TEMPLATE
    vectors_VD = model.get_input_embeddings().weight
    begun_VD = torch.cat([vectors_VD[:known], *(vectors_VD[parts[piece]].mean(0, keepdim=True) for piece in new)])
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.get_input_embeddings().weight.copy_(begun_VD)


def freeze_below(model: PreTrainedModel, trained_layers: int) -> None:
    """Leave all but the uppermost layers as they are. No gradient goes below them, which is what makes the training cheap.

    Raises:
        ShelfcodeError: the model has no such number of layers.
    """
    layers = model.base_model.layers
    if trained_layers > len(layers):
        raise ShelfcodeError(f"trained_layers {trained_layers} is more than the {len(layers)} layers of the base")
    layers[: len(layers) - trained_layers].requires_grad_(False)
    model.get_input_embeddings().register_forward_hook(lambda _module, _inputs, embedded_BTD: embedded_BTD.detach())


def load_base(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A pretrained causal language model to train further: a package's, a folder, or one on the model hub.

    Raises:
        ShelfcodeError: it cannot be found, is not whole, or has no chat template.
    """
    given, name = name, model_path("base", name)
    check_model_folder("base", given, name)
    try:
        # Left to itself, a model comes in the precision it was saved in, and small steps vanish in bfloat16.
        tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ShelfcodeError(f"base {given!r} cannot be loaded: {reason}. Give a folder or a name on the model hub") from error
    if not tokenizer.chat_template:
        raise ShelfcodeError(f"base {given!r} has no chat template: choose an instruct model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


@torch.no_grad()
def answer_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    extra: ExtraAttributes,
    progress: Progress,
    answer_tokens: int = ANSWER_TOKENS,
) -> list[Attributes]:
    """The likeliest answer to each text, not held to the schema; one that cannot be read counts as empty.

    Texts of like length are answered together: each is padded to the longest beside it.
    """
    model.eval()
    tokenizer.padding_side = "left"
    prompts = [prompt_text(tokenizer, messages(text, extra)) for text in texts]
    by_length = sorted(range(len(texts)), key=lambda place: len(prompts[place]))
    answered: dict[int, Attributes] = {}
    for first in range(0, len(texts), ANSWERED_TOGETHER):
        places = by_length[first : first + ANSWERED_TOGETHER]
        asked = [prompts[place] for place in places]
        inputs = tokenizer(asked, add_special_tokens=False, padding=True, return_tensors="pt", return_token_type_ids=False)
        made_BT = model.generate(
            **inputs.to(model.device), max_new_tokens=answer_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        answers = tokenizer.batch_decode(made_BT[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        answered |= {place: _read_answer(answer, extra) for place, answer in zip(places, answers, strict=True)}
        progress(len(asked))
    return [answered[place] for place in range(len(texts))]


def _read_answer(answer: str, extra: ExtraAttributes) -> Attributes:
    try:
        return parse_answer(answer, extra)
    except ValueError:
        return Attributes(product_type="")


def check_place(folder: Path) -> None:
    """Say before any work whether a student may be placed there.

    Raises:
        ShelfcodeError: something other than a model lies there, which must not be replaced.
    """
    if folder.exists() and not (folder / "config.json").is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ShelfcodeError(f"--out {folder} is there already and is no model: name a folder of the model's own")


def place_student(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Save a folder that transformers and vLLM load, whole or not at all; one of that name is replaced.

    Weights are kept in bfloat16: half the size, and the answers do not show it.
    """

    def save(draft: Path) -> None:
        model.to(torch.bfloat16).save_pretrained(draft)
        tokenizer.save_pretrained(draft)

    place_folder(folder, save)


def place_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder whole or not at all; one of that name is replaced. `fill` is given an empty one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    fill(draft)
    draft.chmod(0o755)  # a temporary folder is its owner's alone, and so are weights as safetensors writes them
    for path in draft.iterdir():
        path.chmod(0o644)
    if folder.exists():
        earlier = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)) / folder.name
        folder.rename(earlier)
        draft.rename(folder)
        shutil.rmtree(earlier.parent)
    else:
        draft.rename(folder)
