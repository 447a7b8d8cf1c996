"""Retrievers that are laid out on a node's disk and mapped answer as those do that were read from the workspace."""

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_contexts import contexts_of
from small_published import KINDS, a_later_release, a_retriever, contexts_by_name, loud, published, two_releases
from small_retriever import CPU

from shelfcode.errors import ShelfcodeError
from shelfcode.releases.release import Manifest
from shelfcode.retrieval import mapped_retriever
from shelfcode.retrieval.cooccurrence import Cooccurrence
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.mapped_retriever import open_mapped
from shelfcode.retrieval.never_sold import NeverSoldModel, feature_count
from shelfcode.retrieval.published_retriever import Kind, RetrieverCard, open_retriever
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.retriever import Retriever
from shelfcode.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def manifest(workspace: Workspace, publish_small: Callable[..., Manifest], scratch: Path) -> Manifest:
    return publish_small(workspace)


def with_all_stages(retriever: Retriever) -> Retriever:
    """With a last stage, what is bought with what, and of a generator a model of first sales."""
    random, products = np.random.default_rng(0), len(retriever.assortment)
    together = Cooccurrence(random.integers(-1, products, (products, 5), np.int32), random.random((products, 5), np.float32))
    retriever = replace(retriever, together=together, ranker=loud(Ranker()))
    if not isinstance(retriever.model, Generator):
        return retriever
    return replace(retriever, never_sold=NeverSoldModel(loud(Ranker(feature_count(len(retriever.assortment.sizes)))), log_share=1 / 3))


def check_same(opened: Retriever, read: Retriever) -> None:
    """Both have the same products and give the same answers, bit by bit."""
    assert opened.assortment.item_ids.to_pylist() == read.assortment.item_ids.to_pylist()
    assert (opened.assortment.release, opened.assortment.sizes) == (read.assortment.release, read.assortment.sizes)
    assert opened.assortment.places(read.assortment.item_ids).tolist() == list(range(len(read.assortment)))
    assert (opened.retailers, opened.surfaces, opened.recipe) == (read.retailers, read.surfaces, read.recipe)
    contexts = contexts_by_name(read.assortment)
    lists, expected = (one.answer(contexts, 12) for one in (opened, read))
    assert lists.products_RK.tolist() == expected.products_RK.tolist()
    assert lists.scores_RK.tolist() == expected.scores_RK.tolist()
    assert (lists.products_RK >= 0).any()


@contextmanager
def nothing_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(mapped_retriever, "write_layout", lambda *_: pytest.fail("it is laid out already"))
        yield


def layouts(scratch: Path) -> list[Path]:
    return sorted(folder for folder in scratch.glob("retriever-*") if folder.is_dir())


@pytest.mark.parametrize("stages", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_retriever_answers_as_one_that_was_read(
    workspace: Workspace, manifest: Manifest, kind: Kind, stages: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = a_retriever(workspace, manifest, kind)
    card = published(workspace, with_all_stages(retriever) if stages else retriever, kind)
    read = open_retriever(workspace, card, CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as torch's for tensors around arrays that cannot be written
        check_same(open_mapped(workspace, card, CPU), read)
        with nothing_is_laid_out(monkeypatch):
            check_same(open_mapped(workspace, card, CPU), read)


@pytest.mark.parametrize("kind", KINDS)
def test_the_products_of_a_later_release_are_laid_out_beside_those_of_the_first(
    workspace: Workspace, manifest: Manifest, kind: Kind, publish_small: Callable[..., Manifest], scratch: Path
) -> None:
    card = published(workspace, with_all_stages(a_retriever(workspace, manifest, kind)), kind)
    later = a_later_release(workspace, manifest, publish_small, same_quantizer=True)
    for release in (None, later.name):
        check_same(open_mapped(workspace, card, CPU, release), open_retriever(workspace, card, CPU, release))
    assert len(layouts(scratch)) == 2


def test_codes_are_translated(workspace: Workspace, scratch: Path, publish_small: Callable[..., Manifest]) -> None:
    old, new = two_releases(workspace, publish_small)
    card = published(workspace, with_all_stages(a_retriever(workspace, old, "generator")), "generator")
    with pytest.raises(ShelfcodeError, match="--translate"):
        open_mapped(workspace, card, CPU, new.name)
    assert layouts(scratch) == []
    check_same(open_mapped(workspace, card, CPU, new.name, translate=True), open_retriever(workspace, card, CPU, new.name, translate=True))
    for translate in (False, True):  # to a release that it speaks the codes of, translating makes no difference
        open_mapped(workspace, card, CPU, translate=translate)
    assert len(layouts(scratch)) == 2


def test_nothing_large_is_copied(workspace: Workspace, manifest: Manifest) -> None:
    card = published(workspace, with_all_stages(a_retriever(workspace, manifest, "generator")), "generator")
    opened = open_mapped(workspace, card, CPU)
    assert isinstance(opened.model, Generator)
    sales, trie, around, assortment = opened.sharing.sales, opened.shelves.trie, opened.neighbourhoods, opened.assortment
    arrays = [
        sales.all_N, sales.late_N, sales.at_retailer.data, sales.at_retailer.indices, sales.at_retailer.indptr,
        assortment.keys_N, assortment.codes_NL, opened.together.neighbour_NK, opened.together.cosine_NK,
        trie.codes_IL, trie.path_IL, trie.leaf_N, trie.first_I, trie.product_N, *around.prefix_LVF, around.waiting_U, around.first_V,
        *(each.numpy() for level in opened.model.followers for each in (level.prefix_P, level.first_P, level.code_V)),
        *(each.detach().numpy() for each in opened.model.state_dict().values()), opened.model.codes_NL.numpy(),
        *(array for level in trie.levels for array in (level.first_P, level.code_V) if array is not None),
        *(each.numpy() for level in opened.shelves.tensors.levels for each in (level.range_P2, level.code_V) if each is not None),
    ]  # fmt: skip
    maps = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [[int(end, 16) for end in line[0].split("-")] for line in maps if line[-1].endswith(".npy")]
    for array in arrays:
        assert any(first <= array.ctypes.data < end for first, end in ranges)
    for buffer in assortment.item_ids.buffers()[1:]:
        assert any(first <= buffer.address < end for first, end in ranges)
    assert np.shares_memory(opened.model.codes_NL.numpy(), assortment.codes_NL)
    assert around.sales is sales


def test_a_damaged_layout_is_made_again(workspace: Workspace, manifest: Manifest, scratch: Path) -> None:
    card = published(workspace, a_retriever(workspace, manifest, "generator"), "generator")
    read = open_retriever(workspace, card, CPU)
    open_mapped(workspace, card, CPU)
    [folder] = layouts(scratch)
    whole = (folder / "trie_path_IL.npy").read_bytes()
    (folder / "trie_path_IL.npy").unlink()  # rather than cut, for this process has it mapped
    (folder / "trie_path_IL.npy").write_bytes(whole[: len(whole) - 8])
    check_same(open_mapped(workspace, card, CPU), read)
    (folder / "keys_N.npy").unlink()
    check_same(open_mapped(workspace, card, CPU), read)
    (folder / "told.json").write_text(json.dumps({"retailers": []}))
    check_same(open_mapped(workspace, card, CPU), read)
    folder.rename(folder.with_name(f"{folder.name}.draft"))  # as one is that was broken off
    check_same(open_mapped(workspace, card, CPU), read)


def test_another_retriever_of_the_same_name_is_not_mixed_up_with_it(workspace: Workspace, manifest: Manifest) -> None:
    card = published(workspace, a_retriever(workspace, manifest, "cr"), "cr")
    before = open_mapped(workspace, card, CPU)
    model = workspace.read_bytes(f"{published(workspace, a_retriever(workspace, manifest, 'cr'), 'cr').folder}/model.safetensors")
    workspace.write_bytes(f"{card.folder}/model.safetensors", model[:-400] + bytes(400))
    after = open_mapped(workspace, card.model_copy(update={"created": "later"}), CPU)
    contexts = contexts_of([[0]])
    assert before.answer(contexts, 5).scores_RK.tolist() != after.answer(contexts, 5).scores_RK.tolist()


def test_no_more_layouts_of_a_retriever_stay_on_disk_than_so_many(
    workspace: Workspace, manifest: Manifest, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_retriever, "LAYOUTS_KEPT", 2)
    card: RetrieverCard = published(workspace, a_retriever(workspace, manifest, "cr"), "cr")
    known: list[Path] = []
    for turn in range(4):
        open_mapped(workspace, card.model_copy(update={"created": f"{turn}"}), CPU)
        known += [folder for folder in layouts(scratch) if folder not in known]
        os.utime(known[-1], (turn, turn))
    assert [folder.exists() for folder in known] == [False, False, True, True]


def test_a_disk_that_is_full_is_told_with_the_folder(workspace: Workspace, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    card = published(workspace, a_retriever(workspace, manifest, "cr"), "cr")
    monkeypatch.setattr("shelfcode.index.layout.np.save", full)
    with pytest.raises(ShelfcodeError, match=r"cr@v0001 cannot be laid out .*SHELFCODE_SCRATCH names another folder.*No space left"):
        open_mapped(workspace, card, CPU)
