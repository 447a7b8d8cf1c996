"""Reading a release for an audit, and the releases that cannot be audited."""

import re
from pathlib import Path as Folder

import numpy as np
import pytest
from small_release import publish_release

from shelfcode.audit.audited_release import AuditedRelease, check_release, read_release
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.errors import ShelfcodeError
from shelfcode.quantization.semantic_ids import read_codes
from shelfcode.workspace import Workspace

CANDY, CHIPS, MILK, OTHER = ("Snacks", "Candy"), ("Snacks", "Chips"), ("Dairy", "Milk"), ("Snacks", "other")
SHOP = [CANDY, CHIPS, MILK, OTHER, None, ("snacks", "CANDY")] * 8


@pytest.fixture
def workspace(tmp_path: Folder) -> Workspace:
    return Workspace(str(tmp_path))


def read(workspace: Workspace, *beside: str) -> AuditedRelease:
    return read_release(workspace, *check_release(workspace, "small@current", beside), AuditSettings())


def test_products_codes_and_labels_stand_side_by_side(workspace: Workspace) -> None:
    manifest = publish_release(workspace, SHOP, skip=[0, 7])
    publish_release(workspace, SHOP, flavor="other", skip=[1])
    release = read(workspace, "other@v0001")
    assert release.position_N.tolist() == [n for n in range(48) if n not in (0, 1, 7)]
    assert release.uncoded == 1
    np.testing.assert_array_equal(release.codes[0].codes_NL, read_codes(workspace, f"{manifest.folder}/semantic_ids", release.item_N))
    assert [each.flavor for each in release.codes] == ["small", "other"]
    label_of = {path: int(leaf) for path, leaf in zip([SHOP[p] for p in release.position_N], release.label_N, strict=True)}
    assert label_of[CANDY] == label_of["snacks", "CANDY"] >= 0
    assert label_of[OTHER] == label_of[None] == NO_LEAF
    assert release.taxonomy.paths[label_of[CANDY]] == ("Snacks", "CANDY")  # as frequent, and first in the alphabet
    assert release.spelled["snacks", "CANDY"] == 8
    assert len(set(release.text_hash_N.to_pylist())) == len(release)


def refused(workspace: Workspace, *beside: str) -> str:
    with pytest.raises(ShelfcodeError) as refusal:
        read(workspace, *beside)
    return str(refusal.value)


def test_a_catalog_without_labels_that_could_be_wrong_is_refused(workspace: Workspace, tmp_path: Folder) -> None:
    publish_release(workspace, [None] * 12)
    assert "none of the 12 products of small@v0001 has a category path: there is no label to audit" in refused(workspace)
    publish_release(workspace, [("Other",), ("missing", "missing")] * 6, snapshot="catalog/2")
    assert "has a category path that says anything" in refused(workspace)
    publish_release(workspace, [CANDY, ("snacks", "candy ".strip()), None] * 4, snapshot="catalog/3")
    assert "all labelled products of small@v0003 are filed under" in refused(workspace)
    publish_release(workspace, [("Home", f"Gift {number}") for number in range(20)], snapshot="catalog/4")
    assert "under 20 paths, of which 0 have 3 products or more" in refused(workspace)


def test_what_a_sweep_deleted_is_named_with_what_to_do(workspace: Workspace) -> None:
    publish_release(workspace, SHOP)
    publish_release(workspace, SHOP[:12], snapshot="catalog/2")
    workspace.remove("catalog/2")
    told = refused(workspace)
    assert "catalog/2" in told
    assert "jobs/reembed_catalog.py" in told
    publish_release(workspace, SHOP)
    workspace.remove("embeddings/small")
    assert re.search(r"small@v0003 was coded from embeddings/small, .*jobs/evaluate_flavor.py --release small@v0003", refused(workspace))
    publish_release(workspace, SHOP[:12], snapshot="catalog/3")  # the embeddings of some products only
    with pytest.raises(ShelfcodeError, match="embeddings/small lacks 36 of the 48 embeddings"):
        read_release(workspace, *check_release(workspace, "small@v0003", []), AuditSettings())


def test_releases_of_one_flavor_or_of_two_catalogs_are_not_heard_together(workspace: Workspace) -> None:
    publish_release(workspace, SHOP)
    assert "--with small@v0001: an audit hears one release of a flavor" in refused(workspace, "small@v0001")
    publish_release(workspace, SHOP, flavor="other", snapshot="catalog/2")
    assert "--with other@v0001 was made of catalog/2, and small@v0001 of catalog/1" in refused(workspace, "other@current")
    assert "no release of nobody" in refused(workspace, "nobody@current") or "no release nobody" in refused(workspace, "nobody@current")
