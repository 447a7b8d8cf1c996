"""A student's vocabulary is made for its answers, and its folder is one that transformers loads."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from shelfcode.attributes.distil.distillation import lessons, start_teaching, teach
from shelfcode.attributes.distil.student import (
    StudentRecipe,
    answer_text,
    freeze_below,
    learn_vocabulary,
    load_base,
    load_student_recipe,
    make_terse,
    new_student,
    place_student,
    transfer_vocabulary,
    value_spans,
)
from shelfcode.attributes.prompt import messages
from shelfcode.attributes.schema import Attributes, parse_answer
from shelfcode.attributes.settings import ExtraAttribute
from shelfcode.errors import ShelfcodeError
from shelfcode.llm.prompt import prompt_text
from shelfcode.optimisation import Worker

STUDENTS = Path(__file__).parents[3] / "jobs" / "students"
FULL = Attributes(
    product_type="Oat Milk", key_ingredients=("oats", "sea salt"), dietary_tags=("vegan", "gluten free"), format="carton",
    extra={"best_season": ("spring", "all year")},
)  # fmt: skip
EMPTY = Attributes(product_type="soap", extra={"best_season": ()})
EXTRA = {"best_season": ExtraAttribute(description="when it is bought")}

# Recipes


def test_the_students_that_ship_are_valid() -> None:
    names = [path.stem for path in STUDENTS.glob("*.yaml")]
    assert "small" in names
    for name in names:
        assert load_student_recipe(name, STUDENTS).name == name


def test_a_field_of_a_student_can_be_overridden() -> None:
    recipe = load_student_recipe("small", STUDENTS, ["architecture.layers=7", "seed=3"])
    assert (recipe.architecture.layers, recipe.seed) == (7, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("architecture.layer=2", r"unknown field 'architecture\.layer'; the nearest known one is 'architecture\.layers'"),
        ("stepz=2", "unknown field 'stepz'; the nearest known one is 'steps'"),
        ("architecture.hidden_size=0", r"architecture\.hidden_size"),
        ("name=Tiny Student", "name: "),
        ("precision=float16", "precision: "),
        ("workers=3", "batch_size 64 has no equal shares for 3 workers"),
        ("terse=true", "terse change a base, and base names none"),
        ("trained_layers=2", "trained_layers change a base"),
    ],
)
def test_a_field_that_is_wrong_is_named(override: str, message: str) -> None:
    with pytest.raises(ShelfcodeError, match=message):
        load_student_recipe("small", STUDENTS, [override])


def test_a_base_has_tokens_of_its_own_or_keeps_those_it_had() -> None:
    with pytest.raises(ShelfcodeError, match="own_vocabulary replaces the tokens that terse adds"):
        load_student_recipe("smollm2", STUDENTS, ["own_vocabulary=512"])


def test_a_student_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(ShelfcodeError, match=r"--student tiny: no file .*there are small, smollm2, wide"):
        load_student_recipe("tiny", STUDENTS)


@pytest.mark.parametrize(("text", "message"), [("name: [", "is not YAML"), ("- 1", "holds no recipe")])
def test_a_file_that_holds_no_student_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(ShelfcodeError, match=message):
        load_student_recipe("odd", tmp_path)


# Answers and vocabulary


def test_an_answer_is_compact_json_in_lower_case_that_is_read_back() -> None:
    assert answer_text(FULL) == (
        '{"product_type":"oat milk","key_ingredients":["oats","sea salt"],"dietary_tags":["vegan","gluten free"],"format":"carton",'
        '"best_season":["spring","all year"]}'
    )
    assert parse_answer(answer_text(FULL), EXTRA) == FULL.model_copy(update={"product_type": "oat milk"})
    assert parse_answer(answer_text(EMPTY), EXTRA) == EMPTY


def test_an_answer_keeps_signs_and_other_scripts() -> None:
    odd = Attributes(product_type='6" 燕麦奶 🥛', key_ingredients=("a\\b", "crème", "ß"))
    assert parse_answer(answer_text(odd), {}) == odd


@pytest.fixture(scope="module")
def small_tokenizer(pairs: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """Of answers with an attribute of the recipe's own, empty in every second."""
    answers = [json.loads(answer) | {"best_season": ["spring"] if row % 2 else []} for row, (_, answer) in enumerate(pairs)]
    return learn_vocabulary((json.dumps(answer, ensure_ascii=False, separators=(",", ":")) for answer in answers), 1024)


@pytest.mark.parametrize(
    "text",
    [
        answer_text(FULL), answer_text(EMPTY), '{"product_type":"6\\" pan"}',
        "title: oat milk\nbrand: oatly\ndescription: 2 x 1.5l,  100%!",
        "crème brûlée ß", "燕麦奶 🥛👩\u200d🍳", "حليب", "", " ", "\n\n  a\t", '","key_ingredients":["',
    ],
)  # fmt: skip
def test_every_text_in_lower_case_comes_back_from_its_tokens(tiny_tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tiny_tokenizer.decode(tiny_tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_upper_case_is_read_as_lower_case(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    assert tiny_tokenizer("OAT Milk")["input_ids"] == tiny_tokenizer("oat milk")["input_ids"]


def test_the_scaffolding_of_an_answer_is_a_token_a_piece(small_tokenizer: PreTrainedTokenizerFast) -> None:
    def pieces(attributes: Attributes) -> list[str]:
        tokens = small_tokenizer(answer_text(attributes), add_special_tokens=False)["input_ids"]
        return [piece for piece in map(small_tokenizer.decode, tokens) if '"' in piece or "]" in piece]

    salted = FULL.model_copy(update={"key_ingredients": ("salt",), "dietary_tags": ("vegan",), "extra": {"best_season": ("spring",)}})
    assert pieces(salted) == [
        '{"product_type":"', '"', ',"key_ingredients":["', '"]', ',"dietary_tags":["', '"]', ',"format":"', '"', ',"best_season":["', '"]',
    ]  # fmt: skip
    assert pieces(EMPTY) == [
        '{"product_type":"', '"', ',"key_ingredients":[]', ',"dietary_tags":[]', ',"format":"', '"', ',"best_season":[]',
    ]  # fmt: skip


def test_the_end_of_a_value_is_one_token_whatever_follows(small_tokenizer: PreTrainedTokenizerFast) -> None:
    """So that it can be taught where what follows is not known."""
    begun = small_tokenizer('{"product_type":"soap"', add_special_tokens=False)["input_ids"]
    for attributes in (EMPTY, EMPTY.model_copy(update={"key_ingredients": ("salt",)})):
        assert small_tokenizer(answer_text(attributes), add_special_tokens=False)["input_ids"][: len(begun)] == begun


def test_where_a_value_stands_in_an_answer() -> None:
    odd = FULL.model_copy(update={"product_type": '6" Ə pan, "x":["y"]', "key_ingredients": ()})
    answer = answer_text(odd)
    found = {name: json.loads(answer[start:end]) for name, (start, end) in value_spans(answer).items()}
    assert found == json.loads(answer)


def test_a_model_with_another_vocabulary_begins_with_the_mean_of_the_pieces_it_had(
    tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    model = new_student(tiny_recipe, tiny_tokenizer)
    old_VD = model.get_input_embeddings().weight.detach().clone()
    learnt = learn_vocabulary(["title: rhubarb fool<answer>", "rhubarb fool " * 9], 300)
    transferred = transfer_vocabulary(model, tiny_tokenizer, learnt)
    new_VD = transferred.get_input_embeddings().weight
    assert len(new_VD) == transferred.config.vocab_size == len(learnt) < len(old_VD)
    assert transferred.get_output_embeddings().weight is new_VD, "input and output stay tied"
    whole = learnt("rhubarb", add_special_tokens=False)["input_ids"]
    assert len(whole) == 1
    pieces = tiny_tokenizer("rhubarb", add_special_tokens=False)["input_ids"]
    torch.testing.assert_close(new_VD[whole[0]], old_VD[pieces].mean(0))
    for mark in ("<bos>", "<eos>", "<pad>", "<answer>"):
        torch.testing.assert_close(new_VD[learnt.convert_tokens_to_ids(mark)], old_VD[tiny_tokenizer.convert_tokens_to_ids(mark)])
    assert transferred.generation_config.eos_token_id == learnt.eos_token_id


def test_a_prompt_is_the_products_text_alone_between_two_marks(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    text = tiny_tokenizer.apply_chat_template(messages("title: oat milk", EXTRA), add_generation_prompt=True, tokenize=False)
    assert text == "<bos>title: oat milk<answer>"
    tokens = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [tiny_tokenizer.decode([tokens[0]]), tiny_tokenizer.decode([tokens[-1]])] == ["<bos>", "<answer>"]


# Folders


@pytest.fixture
def model_folder(untaught: Callable[..., str]) -> Path:
    return Path(untaught(max_tokens=128))


def test_a_placed_student_is_loaded_with_the_weights_and_the_vocabulary_that_it_had(
    model_folder: Path, tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    expected = new_student(tiny_recipe, tiny_tokenizer).to(torch.bfloat16).state_dict()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    assert model.config.max_position_embeddings == 256
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())
    text = "<bos>title: Oat Milk 🥛<answer>" + answer_text(FULL)
    assert tokenizer(text)["input_ids"] == tiny_tokenizer(text)["input_ids"]
    assert tokenizer.chat_template == tiny_tokenizer.chat_template
    assert [tokenizer.eos_token_id, tokenizer.pad_token_id] == [model.config.eos_token_id, model.config.pad_token_id]


def test_weights_are_safetensors_in_bfloat16_and_nothing_is_pickled(model_folder: Path) -> None:
    with safe_open(model_folder / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118 (no dict)
    assert not [path for path in model_folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_a_student_replaces_an_earlier_one_whole_and_leaves_no_drafts(model_folder: Path, untaught: Callable[..., str]) -> None:
    before = (model_folder / "model.safetensors").read_bytes()
    (model_folder / "stale.json").write_text("{}")
    untaught(seed=1)
    assert [path.name for path in model_folder.parent.iterdir()] == ["student"]
    assert not (model_folder / "stale.json").exists()
    assert (model_folder / "model.safetensors").read_bytes() != before
    assert model_folder.stat().st_mode & 0o777 == 0o755


def test_a_folder_is_made_with_those_above_it(tmp_path: Path, tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    place_student(tmp_path / "models" / "deep" / "student", new_student(tiny_recipe, tiny_tokenizer), tiny_tokenizer)
    assert (tmp_path / "models" / "deep" / "student" / "config.json").is_file()


# Pretrained models


def test_a_base_is_trained_in_full_precision_however_it_was_saved(model_folder: Path) -> None:
    model, _ = load_base(str(model_folder))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_a_base_without_a_token_for_padding_is_padded_with_its_end(model_folder: Path) -> None:
    for name in ("tokenizer_config.json", "config.json"):
        fields = json.loads((model_folder / name).read_text())
        fields.pop("pad_token", None)
        (model_folder / name).write_text(json.dumps(fields))
    _, tokenizer = load_base(str(model_folder))
    assert tokenizer.pad_token == "<eos>"
    assert tokenizer(["oat milk", "soap"], padding=True)["input_ids"]


def test_a_terse_base_reads_the_text_alone_and_writes_a_piece_of_json_as_one_token(model_folder: Path) -> None:
    model, tokenizer = load_base(str(model_folder))
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    answer = answer_text(FULL.model_copy(update={"extra": {"never_taught": ("spring",)}}))
    scaffold = ',"never_taught":["'
    pieces, old_VD = tokenizer.encode(scaffold, add_special_tokens=False), model.get_input_embeddings().weight.detach().clone()
    assert len(pieces) > 1
    make_terse(model, tokenizer, [answer])
    assert "product" not in prompt_text(tokenizer, messages("Rye", {}))
    assert "rye" in prompt_text(tokenizer, messages("Rye", {}))
    (token,) = tokenizer.encode(scaffold, add_special_tokens=False)
    weights_VD = model.get_input_embeddings().weight
    torch.testing.assert_close(weights_VD[token], old_VD[pieces].mean(0))
    torch.testing.assert_close(weights_VD[: len(old_VD)], old_VD)
    assert model.get_output_embeddings().weight is weights_VD
    assert tokenizer.decode(tokenizer.encode(answer, add_special_tokens=False)) == answer
    weights = weights_VD.detach().clone()
    make_terse(model, tokenizer, [answer])
    torch.testing.assert_close(model.get_input_embeddings().weight, weights)


def test_only_the_uppermost_layers_learn_and_what_writes_the_tokens(
    model_folder: Path, tiny_recipe: StudentRecipe, short_pairs: list[tuple[str, str]]
) -> None:
    model, tokenizer = load_base(str(model_folder))
    begun = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    recipe = tiny_recipe.model_copy(update={"trained_layers": 1, "steps": 2, "batch_size": 2})
    state = start_teaching(recipe, model, torch.device("cpu"))
    taught, _ = lessons(short_pairs, tokenizer, {}, 512)
    assert len(list(teach(recipe, taught, state, Worker(0, 1, torch.device("cpu"))))) == 2
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, begun[name])}
    assert any(name.startswith("model.layers.1.") for name in changed)
    assert not any(name.startswith("model.layers.0.") for name in changed)
    assert "model.embed_tokens.weight" in changed
    with pytest.raises(ShelfcodeError, match="trained_layers 3 is more than the 2 layers"):
        freeze_below(model, 3)


def test_a_base_that_cannot_be_had_or_talked_to_is_named(model_folder: Path) -> None:
    with pytest.raises(ShelfcodeError, match="base 'nobody/no-such-model' cannot be loaded"):
        load_base("nobody/no-such-model")
    (model_folder / "chat_template.jinja").unlink()
    with pytest.raises(ShelfcodeError, match="has no chat template"):
        load_base(str(model_folder))
