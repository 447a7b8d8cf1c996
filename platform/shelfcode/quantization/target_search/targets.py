"""What the encoder is to learn: for every product the codes that suit its neighbourhood. How they are found: search.py."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Targets:
    """Where training starts and what it aims at.

    Attributes:
        codes_ML: uint16, the codes of the products that are trained on, in their order.
        mean_E, basis_DE: projection onto the principal components.
        codewords: float32[K_l, D] of each level.
        spread_L: mean squared distance of a target to its codeword at each level.
        group_K: int64, the group of each codeword of the first level; None without a constraint.
    """

    codes_ML: NDArray[np.uint16]
    mean_E: NDArray[np.float32]
    basis_DE: NDArray[np.float32]
    codewords: tuple[NDArray[np.float32], ...]
    spread_L: NDArray[np.float32]
    group_K: NDArray[np.int64] | None = None

    def pack(self) -> bytes:
        """As an .npz file without pickles."""
        file = io.BytesIO()
        arrays: dict[str, Any] = {f"codewords_{level}": codewords_KD for level, codewords_KD in enumerate(self.codewords)}
        arrays |= {"codes_ML": self.codes_ML, "spread_L": self.spread_L}
        arrays |= {"mean_E": self.mean_E, "basis_DE": self.basis_DE}
        if self.group_K is not None:
            arrays["group_K"] = self.group_K
        np.savez(file, **arrays)
        return file.getvalue()


def unpack_targets(data: bytes) -> Targets:
    """Read what `Targets.pack` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        codewords = tuple(arrays[f"codewords_{level}"] for level in range(len(arrays["spread_L"])))
        group_K = arrays.get("group_K")
        return Targets(arrays["codes_ML"], arrays["mean_E"], arrays["basis_DE"], codewords, arrays["spread_L"], group_K)
