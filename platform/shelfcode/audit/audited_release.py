"""A release as an audit reads it: its products, their codes, the vectors they were coded from, and the tree that they are filed in."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.audit.scoring.scores import FlavorCodes
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.cells.category_paths import name_key
from shelfcode.catalog.snapshot import DECIDED, Snapshot, load_snapshot, snapshot_batches, used_paths
from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy, taxonomy_from_batches
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, index_keys, item_keys, row_keys
from shelfcode.quantization.semantic_ids import read_coded_texts, table_codes
from shelfcode.releases.release import Manifest, load_manifest, release_recipe
from shelfcode.workspace import Workspace

Path = tuple[str, ...]


@dataclass(frozen=True)
class AuditedRelease:
    """N products of a release, in the order of its snapshot.

    Attributes:
        beside: the releases whose codes were read, too.
        position_N: int64, place in the snapshot.
        item_N: item keys; row_N: row keys of their embeddings.
        text_hash_N: of the text that was embedded.
        codes: of the release first, then of those beside it.
        taxonomy: the tree of all their paths; `leaf_of_N` is the given leaf.
        says_P: whether a path says anything; those of placeholders do not.
        judged_P: whether it does, and enough products have it to tell what belongs under it.
        spelled: how many products have each path as it is spelled, before those that differ in letter case or spaces were made one.
        uncoded: products of the release that one of those beside it has no code of; they are left out.
    """

    workspace: Workspace
    manifest: Manifest
    beside: tuple[str, ...]
    snapshot: Snapshot
    position_N: NDArray[np.int64]
    item_N: Keys
    row_N: Keys
    text_hash_N: pa.Array
    codes: tuple[FlavorCodes, ...]
    taxonomy: Taxonomy
    says_P: NDArray[np.bool_]
    judged_P: NDArray[np.bool_]
    spelled: dict[Path, int]
    uncoded: int

    def __len__(self) -> int:
        return len(self.position_N)

    @property
    def label_N(self) -> NDArray[np.int32]:
        """The given leaf of products whose label is judged; NO_LEAF for others."""
        leaf_N = self.taxonomy.leaf_of_N
        return np.where((leaf_N != NO_LEAF) & self.judged_P[leaf_N], leaf_N, NO_LEAF).astype(np.int32)


def check_release(workspace: Workspace, release: str, beside: Sequence[str]) -> tuple[Manifest, list[Manifest], Snapshot]:
    """The releases of an audit, if they can be audited together.

    Raises:
        ShelfcodeError: there is no such release; two are of one flavor or of two catalogs; or the catalog or the embeddings are gone.
    """
    manifest = load_manifest(workspace, release)
    others = [load_manifest(workspace, name) for name in beside]
    flavors = Counter(each.flavor for each in (manifest, *others))
    for other in others:
        if flavors[other.flavor] > 1:
            raise ShelfcodeError(f"--with {other.name}: an audit hears one release of a flavor; name releases of other flavors")
        if _catalog(other) != _catalog(manifest) and other.catalog.fingerprint != manifest.catalog.fingerprint:
            raise ShelfcodeError(
                f"--with {other.name} was made of {other.catalog.snapshot}, and {manifest.name} of {manifest.catalog.snapshot}: another "
                f"catalog. Run jobs/reembed_catalog.py or jobs/train_flavor.py for {other.flavor} on the same catalog first"
            )
    snapshot = load_snapshot(workspace, manifest.catalog.snapshot)
    if snapshot is None:
        raise ShelfcodeError(
            f"{manifest.name} was made of {manifest.catalog.snapshot}, which {workspace.url} no longer holds; a sweep may have deleted it. "
            f"Make a new release from {manifest.catalog.source} with jobs/reembed_catalog.py, and audit that one"
        )
    if not workspace.parts(manifest.embeddings):
        raise ShelfcodeError(
            f"{manifest.name} was coded from {manifest.embeddings}, which {workspace.url} no longer holds; a sweep may have deleted it. "
            f"jobs/evaluate_flavor.py --release {manifest.name} --workspace {workspace.url} makes it again"
        )
    return manifest, others, snapshot


def _catalog(manifest: Manifest) -> str:
    """The snapshot without the labels that were laid over it: products and texts are the same."""
    return manifest.catalog.snapshot.partition("-labels-")[0]


def read_release(
    workspace: Workspace, manifest: Manifest, others: Sequence[Manifest], snapshot: Snapshot, settings: AuditSettings
) -> AuditedRelease:
    """Read what an audit holds of all products: keys, codes, labels. Vectors and texts stay where they are.

    Raises:
        ShelfcodeError: embeddings that the release was coded from are gone, or there is no label that could be wrong.
    """
    spelled: Counter[Path] = Counter()
    keys: list[Keys] = []
    paths: list[pa.ListArray] = []
    for batch in snapshot_batches(workspace, snapshot, ["item_id", "category_path", *([DECIDED] if snapshot.labels else [])]):
        keys.append(item_keys(batch["item_id"]))
        paths.append(used_paths(batch.combine_chunks()))
        spelled.update(tuple(path) for path in paths[-1].to_pylist() if path)
    item_N = np.concatenate(keys)
    row_N, text_hash_N, coded_N = _coded_rows(workspace, manifest, item_N)
    codes = []
    for each in (manifest, *others):
        codes_NL, has_N = _codes(workspace, each, item_N)
        coded_N &= has_N
        codes.append(codes_NL)
    position_N = np.flatnonzero(coded_N)
    taxonomy = taxonomy_from_batches(paths).of(position_N)
    says_P = _says(taxonomy.paths, settings.scoring.no_leaf_names)
    products_P = np.bincount(taxonomy.leaf_of_N[taxonomy.leaf_of_N != NO_LEAF], minlength=len(taxonomy.paths))
    release = AuditedRelease(
        workspace, manifest, tuple(each.name for each in others), snapshot, position_N, item_N[position_N], row_N[position_N],
        text_hash_N.take(pa.array(position_N)),
        tuple(
            FlavorCodes(each.flavor, codes_NL[position_N], tuple(release_recipe(each).quantizer.codebook_sizes))
            for each, codes_NL in zip((manifest, *others), codes, strict=True)
        ),
        taxonomy, says_P, says_P & (products_P >= settings.label_products), dict(spelled), manifest.rows.coded - len(position_N),
    )  # fmt: skip
    _check_labels(release, settings)
    return release


def _coded_rows(workspace: Workspace, manifest: Manifest, item_N: Keys) -> tuple[Keys, pa.Array, NDArray[np.bool_]]:
    """Row key and text hash of the embedding from which each product was coded, and whether it was."""
    coded = read_coded_texts(workspace, manifest.folder)
    if len(coded) != manifest.rows.coded:
        raise ShelfcodeError(
            f"{manifest.name} does not say which texts it was coded from, as releases of earlier versions do not; make a new one with "
            "jobs/reembed_catalog.py, and audit that one"
        )
    known, place_of = index_keys(coded), index_keys(item_N)
    row_N, has_N = np.zeros(len(item_N), np.uint64), np.zeros(len(item_N), bool)
    places, hashes = [], []
    for table in workspace.read_tables(workspace.parts(manifest.embeddings), ["item_id", "text_hash"]):
        keys_B = row_keys(table["item_id"], table["text_hash"])
        place_B = place_of.get(item_keys(table["item_id"]))
        used_B = (known.get(keys_B) >= 0) & (place_B >= 0)
        used_B[used_B] = ~has_N[place_B[used_B]]
        row_N[place_B[used_B]] = keys_B[used_B]
        has_N[place_B[used_B]] = True
        places.append(place_B[used_B])
        hashes.append(table["text_hash"].filter(pa.array(used_B)).combine_chunks().cast(pa.string()))
    if int(has_N.sum()) < manifest.rows.coded:
        raise ShelfcodeError(
            f"{manifest.embeddings} lacks {manifest.rows.coded - int(has_N.sum()):,} of the {manifest.rows.coded:,} embeddings that "
            f"{manifest.name} was coded from; a sweep may have deleted them. "
            f"jobs/evaluate_flavor.py --release {manifest.name} --workspace {workspace.url} makes them again"
        )
    place, first = np.unique(np.concatenate(places), return_index=True)
    source_N = np.full(len(item_N), -1)
    source_N[place] = first
    text_hash_N = pa.concat_arrays(hashes).take(pa.array(source_N, mask=source_N < 0))
    return row_N, text_hash_N, has_N


def _codes(workspace: Workspace, manifest: Manifest, item_N: Keys) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Codes of products in this order, and which of them have any."""
    levels = len(release_recipe(manifest).quantizer.codebook_sizes)
    codes_NL, has_N = np.zeros((len(item_N), levels), np.uint16), np.zeros(len(item_N), bool)
    place_of = index_keys(item_N)
    for table in workspace.read_tables(workspace.parts(f"{manifest.folder}/semantic_ids"), ["item_id", "codes"]):
        place_B = place_of.get(item_keys(table["item_id"]))
        codes_NL[place_B[place_B >= 0]] = table_codes(table)[place_B >= 0]
        has_N[place_B[place_B >= 0]] = True
    return codes_NL, has_N


def _says(paths: Sequence[Path], placeholder_names: Sequence[str]) -> NDArray[np.bool_]:
    silent = set(map(name_key, placeholder_names))
    return np.array([not {name_key(path[0]), name_key(path[-1])} & silent for path in paths], dtype=bool)


def _check_labels(release: AuditedRelease, settings: AuditSettings) -> None:
    """Refuse a catalog in which no label can be wrong."""
    label_N = release.label_N
    used = np.unique(label_N[label_N != NO_LEAF])
    if len(used) >= 2:
        return
    name, rows = release.manifest.name, len(release)
    leaf_N = release.taxonomy.leaf_of_N
    said = np.unique(leaf_N[(leaf_N != NO_LEAF) & release.says_P[leaf_N]])
    if len(used) < len(said):
        raise ShelfcodeError(
            f"{name} files its products under {len(said):,} paths, of which {len(used)} have {settings.label_products} products or more: "
            "of a label that hardly any other product has, nothing can tell whether it is right. Audit a catalog that is filed by "
            "the upper levels of its paths, or lower label_products with --set"
        )
    if not len(used):
        some = "has a category path that says anything" if release.spelled else "has a category path"
        raise ShelfcodeError(f"none of the {rows:,} products of {name} {some}: there is no label to audit. Name the column of paths when "
                             "the catalog is read, --set catalog.columns.category_path=THEIR_NAME, and make a new release")  # fmt: skip
    only = " > ".join(release.taxonomy.paths[int(used[0])])
    raise ShelfcodeError(
        f"all labelled products of {name} are filed under {only}: there is no other path that one of them could belong under"
    )
