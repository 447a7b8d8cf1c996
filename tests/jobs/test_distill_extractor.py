"""jobs/distill_extractor.py, run as its user would, on the planted attributes of a small sample catalog."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from running import Done

from shelfcode.attributes.extractor import check_extractor
from shelfcode.attributes.prompt import messages, product_text
from shelfcode.attributes.published_extractor import pin_extractor
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.llm.prompt import prompt_text
from shelfcode.sample.catalog import write_sample
from shelfcode.workspace import Workspace

TINY = (
    "architecture.vocabulary=600", "architecture.hidden_size=64", "architecture.layers=1", "architecture.heads=2",
    "architecture.feed_forward=128", "steps=40", "batch_size=16", "warmup_steps=5", "checkpoint_every=20", "cpus_per_worker=1",
    "precision=float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def taught_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 products, a teacher that is silent about ten of them, and one that knows nothing but the types of fifty."""
    folder = tmp_path_factory.mktemp("taught")
    write_sample(folder, 300, seed=5)
    teacher = ds.dataset(folder / "facts/attributes").to_table()
    pq.write_table(teacher.slice(10), folder / "teacher.parquet")
    pq.write_table(teacher.select(["item_id", "product_type"]).slice(0, 50), folder / "types.parquet")
    return folder


def test_a_student_is_published_and_named_in_a_recipe_and_is_a_folder_that_transformers_loads(
    taught_shop: Path, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, workspace = tmp_path / "models/student", tmp_path / "ws"
    flags = ("--catalog", str(taught_shop / "catalog"), "--attributes", str(taught_shop / "teacher.parquet"))
    more = ("--catalog", str(taught_shop / "catalog"), "--attributes", str(taught_shop / "types.parquet"), "--weight", "1", "--weight", "2")
    job = run_job("distill_extractor", *flags, *more, "--workspace", str(workspace), "--out", str(out), settings=TINY)
    assert job.code == 0, job.told
    assert job.result["extractor"] == "workspace:extractors/small@v0001"
    # one catalog for both is read once; 290 - 29 pairs, and twice 50 - 5
    assert job.result["rows"] == {"read": 300, "taught": 261 + 90, "held_out": 29 + 5, "without_answer": 10 + 250, "rejected": 0}
    names = {"macro_f1", *(f"{name}_f1" for name in ("product_type", "key_ingredients", "dietary_tags", "format", "occasion"))}
    assert set(job.result["metrics"]) == names
    assert all(0 <= figure <= 1 for figure in job.result["metrics"].values())
    assert "385 pairs, 34 of them held out; 260 products without an answer" in job.told

    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    assert len(tokenizer) == 600
    assert (model.config.hidden_size, model.config.num_hidden_layers, model.config.model_type) == (64, 1, "llama")
    prompt = prompt_text(tokenizer, messages(product_text("Oat Milk", None, None), {}))
    asked = tokenizer(prompt, add_special_tokens=False, return_tensors="pt", return_token_type_ids=False)
    made = model.generate(**asked, max_new_tokens=8, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    answer = tokenizer.decode(made[0, asked["input_ids"].shape[1] :])
    assert answer.startswith('{"product_type":"'), "forty steps teach at least how every answer begins"
    assert json.loads((out / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    assert not list((workspace / "runs").glob("*")), "what a finished run needs no more is still there"
    assert [path.name for path in out.parent.iterdir()] == ["student"]

    opened, model_folder = Workspace(str(workspace)), workspace / "extractors/small/v0001/model"
    assert job.result["path"] == str(model_folder.parent)
    assert sorted(path.name for path in model_folder.iterdir()) == sorted(path.name for path in out.iterdir())
    card = opened.read_json("extractors/small/v0001/manifest.json")
    assert (card["base"], card["data"]["taught"], card["figures"]) == (None, 351, job.result["metrics"])
    assert [(Path(one["attributes"]).name, one["weight"]) for one in card["data"]["teachers"]] == [
        ("teacher.parquet", 1),
        ("types.parquet", 2),
    ]
    assert opened.read_json("extractors/small/CURRENT")["version"] == "v0001"
    named = ExtractorSettings(engine="vllm", model="workspace:extractors/small@current", max_input_tokens=64, retry_output_tokens=300)
    pinned = pin_extractor(named, opened)
    assert pinned.model == job.result["extractor"]
    check_extractor(pinned, opened)
    assert opened.exists("layout.json")
    assert opened.names("leases"), "the job held no lease"


def test_a_teacher_that_lacks_a_column_is_refused(taught_shop: Path, run_job: Callable[..., Done], tmp_path: Path) -> None:
    teacher = pq.read_table(taught_shop / "teacher.parquet").drop_columns(["format", "occasion"])
    pq.write_table(teacher, tmp_path / "poor.parquet")
    flags = ("--catalog", str(taught_shop / "catalog"), "--attributes", str(tmp_path / "poor.parquet"))
    job = run_job("distill_extractor", *flags, "--workspace", str(tmp_path / "ws"), "--out", str(tmp_path / "out"), settings=TINY)
    assert job.code == 2
    assert "poor.parquet lacks the columns format, occasion; it has item_id, product_type, key_ingredients, dietary_tags" in job.told
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "ws").exists()


def test_flags_that_do_not_go_by_teacher_are_refused(taught_shop: Path, run_job: Callable[..., Done], tmp_path: Path) -> None:
    flags = (
        "--catalog",
        str(taught_shop / "catalog"),
        "--attributes",
        str(taught_shop / "teacher.parquet"),
        "--weight",
        "1",
        "--weight",
        "2",
    )
    job = run_job("distill_extractor", *flags, "--workspace", str(tmp_path / "ws"), settings=TINY)
    assert job.code == 2
    assert "1 --catalog, 1 --attributes and 2 --weight: give each once a teacher, in the same order" in job.told
    assert not (tmp_path / "ws").exists()


def test_a_folder_that_holds_something_else_is_not_replaced(taught_shop: Path, run_job: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "notes.txt").write_text("keep me")
    flags = ("--catalog", str(taught_shop / "catalog"), "--attributes", str(taught_shop / "teacher.parquet"))
    for out in (tmp_path / "models", tmp_path / "models" / "notes.txt"):
        job = run_job("distill_extractor", *flags, "--workspace", str(tmp_path / "ws"), "--out", str(out), settings=TINY)
        assert job.code == 2
        assert f"--out {out} is there already and is no model" in job.told
    assert (tmp_path / "models" / "notes.txt").read_text() == "keep me"
    assert not (tmp_path / "ws").exists()


def test_a_wrong_field_of_a_student_is_named_and_so_is_a_student_that_is_not_there(
    taught_shop: Path, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    flags = ("--catalog", str(taught_shop / "catalog"), "--attributes", str(taught_shop / "teacher.parquet"))
    places = ("--workspace", str(tmp_path / "ws"), "--out", str(tmp_path / "out"))
    wrong = run_job("distill_extractor", *flags, *places, settings=("architecture.layer=2",))
    assert wrong.code == 2
    assert "unknown field 'architecture.layer'; the nearest known one is 'architecture.layers'" in wrong.told
    nobody = run_job("distill_extractor", *flags, *places, "--student", "smal")
    assert nobody.code == 2
    assert "--student smal: no file" in nobody.told
    assert "there are small, smollm2, wide" in nobody.told


def test_fewer_pairs_than_a_batch_takes_are_refused(taught_shop: Path, run_job: Callable[..., Done], tmp_path: Path) -> None:
    flags = ("--catalog", str(taught_shop / "catalog"), "--attributes", str(taught_shop / "teacher.parquet"))
    places = ("--workspace", str(tmp_path / "ws"), "--out", str(tmp_path / "out"))
    job = run_job("distill_extractor", *flags, *places, settings=(*TINY, "batch_size=300"))
    assert job.code == 2
    assert "261 pairs to learn from, fewer than batch_size 300" in job.told
