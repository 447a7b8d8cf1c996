"""Which sessions each training step learns from."""

import numpy as np
from numpy.typing import NDArray

from shelfcode.optimisation import Worker

BATCHES_SORTED_TOGETHER = 32
"""Sessions of about one length share a batch, so that little of it is padding. They are sorted among so many batches only."""


class SessionSampler:
    """Every session once an epoch, in an order that seed and epoch decide alone: a run that goes on sees what it would have seen.

    Where they do not make whole batches, each epoch leaves out some others, drawn at random.
    """

    def __init__(self, session_S: NDArray[np.int64], length_S: NDArray[np.integer], seed: int, sessions_per_batch: int) -> None:
        """
        Args:
            session_S: the sessions to learn from.
            length_S: tokens of each, roughly.
        """
        self._session_S, self._length_S, self._seed, self._size = session_S, length_S, seed, sessions_per_batch
        self._epoch, self._order_S = -1, session_S

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self._session_S) // self._size)

    def batch(self, step: int) -> NDArray[np.int64]:
        """The sessions of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order_S = epoch, self._order(epoch)
        return self._order_S[place * self._size : (place + 1) * self._size]

    def share(self, step: int, worker: Worker) -> NDArray[np.int64]:
        """This worker's part of a batch: every so manieth session, so that the parts are about equally long."""
        return self.batch(step)[worker.rank :: worker.world_size]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, epoch])
        # What fills no batch is left out before sorting: after it, that would be the same longest sessions in every epoch.
        order_S = random.permutation(len(self._session_S))[: self.steps_per_epoch * self._size]
        for first in range(0, len(order_S), BATCHES_SORTED_TOGETHER * self._size):
            part = order_S[first : first + BATCHES_SORTED_TOGETHER * self._size]
            part[:] = part[np.argsort(self._length_S[part], kind="stable")]
        batches = order_S.reshape(self.steps_per_epoch, -1)
        return self._session_S[random.permutation(batches).reshape(-1)]
