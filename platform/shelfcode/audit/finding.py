"""A finding: one suspicion about the label of one product, as a row of `audits/<audit>/findings/`.

A product has one finding at the most, of the issue that weighs most; what else was noticed stands in its evidence.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import pyarrow as pa
from xxhash import xxh3_128_hexdigest

Issue = Literal["wrong_branch", "wrong_leaf", "too_shallow", "placeholder", "conflict", "outlier", "sparse_text", "spelling"]
"""wrong_branch: it belongs under another department. wrong_leaf: under another leaf of the same branch. too_shallow: further down the path
that it has. placeholder: its leaf says nothing ("other"). conflict: another product is the same, and filed elsewhere. outlier: it fits
nowhere, so its text or its code is wrong. sparse_text: its text says too little. spelling: its label is another one in other letters."""

Fault = Literal["label", "code", "ambiguous"]
"""Which of the two is wrong, label or code; ambiguous where the views do not agree."""

ISSUES: tuple[Issue, ...] = get_args(Issue)

_PATH, _PATHS = pa.list_(pa.string()), pa.list_(pa.list_(pa.string()))

EVIDENCE = pa.struct([
    ("fault", pa.string()),
    ("reason", pa.string()),                     # one sentence, for people
    ("also", pa.list_(pa.string())),             # other issues of the same product
    ("prefix", pa.string()),                     # of its semantic ID, as deep as it still holds enough products
    ("prefix_products", pa.int32()),
    ("prefix_given", pa.int32()),                # how many of them have the given path
    ("prefix_labels", pa.list_(pa.struct([("path", _PATH), ("products", pa.int32())]))),
    ("nearest", pa.list_(pa.struct([("item_id", pa.string()), ("title", pa.string()), ("path", _PATH), ("cosine", pa.float32())]))),
    ("views", pa.list_(pa.struct([("view", pa.string()), ("given_p", pa.float32()), ("path", _PATH), ("p", pa.float32())]))),
    ("margin", pa.float32()),                    # of the code: how much nearer the codeword is than the next one, the least over levels
    ("missing", pa.list_(pa.string())),          # columns or attributes that would tell more
])  # fmt: skip

FINDINGS = pa.schema([
    ("finding_id", pa.string()), ("item_id", pa.string()), ("text_hash", pa.string()), ("issue", pa.string()),
    ("given_path", _PATH), ("suggested_paths", _PATHS), ("suggested_p", pa.list_(pa.float32())),
    ("p_wrong", pa.float64()), ("score", pa.float64()), ("cluster_fit", pa.float32()), ("priority", pa.float64()), ("evidence", EVIDENCE),
    ("semantic_id", pa.string()), ("title", pa.string()), ("description", pa.string()), ("brand", pa.string()), ("image", pa.string()),
    ("popularity", pa.float64()),
])  # fmt: skip
"""One row per finding. `p_wrong` is calibrated, `score` ranks, `priority` is what the queue is sorted by; suggested paths best first, 5 at
the most. From `semantic_id` on: the product as a reviewer is shown it, null where the catalog has no such column."""


def finding_id(item_id: str, text_hash: str, given_path: Sequence[str]) -> str:
    """Names a suspicion about one text under one label: 32 hexadecimal digits. It changes when the text or the label does."""
    return xxh3_128_hexdigest("\x1e".join([item_id, text_hash, "\x1f".join(given_path)]).encode("utf-8", "surrogatepass"))
