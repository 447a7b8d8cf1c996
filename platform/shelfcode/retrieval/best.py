"""The best of many scores, row by row, ties always broken alike."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, C candidates, K best.

import numpy as np
from numpy.typing import NDArray

_SIGN = np.uint32(1 << 31)


def best_of(score_RC: NDArray[np.float32], number: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The columns with the highest scores of each row, best first, of equal scores the first column; and their scores.

    Score and column together are one integer, so that the order is total and a partition finds it: the bits of IEEE floats, the sign
    turned, sort as the numbers do.

    Args:
        score_RC: no NaN; -inf keeps a column out.

    Returns:
        int64[R, K] and float32[R, K], K = number; column -1 and score -inf where a row has fewer.
    """
    rows, columns = score_RC.shape
    bits_RC = np.ascontiguousarray(score_RC + np.float32(0)).view(np.uint32)  # + 0 makes 0 of -0
    rising_RC = np.where(bits_RC & _SIGN, ~bits_RC, bits_RC | _SIGN).astype(np.uint64)
    key_RC = (rising_RC << np.uint64(32)) | np.arange(columns - 1, -1, -1, dtype=np.uint64)
    kept = min(number, columns)
    if kept < columns:
        key_RC = np.partition(key_RC, columns - kept, axis=1)[:, columns - kept :]
    key_RK = np.sort(key_RC, axis=1)[:, ::-1]
    column_RK = np.full((rows, number), -1, np.int64)
    best_RK = np.full((rows, number), -np.inf, np.float32)
    column_RK[:, :kept] = columns - 1 - (key_RK & np.uint64(0xFFFFFFFF)).astype(np.int64)
    best_RK[:, :kept] = np.take_along_axis(score_RC, column_RK[:, :kept], axis=1)
    column_RK[np.isneginf(best_RK)] = -1
    return column_RK, best_RK
