"""The best classes of each row, without the scores of all rows at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Scores of a block of rows: 8 MB of doubles, of which a few arrays are held at a time.
_BLOCK_SCORES = 2**20


def best_classes(
    scores: Callable[[slice], NDArray], n: int, n_classes: int, k: int
) -> NDArray[np.intp]:
    """Return the places of the k classes with the highest scores, best first, (n, k).

    `scores` gives those of some rows, (m, n_classes). Of equal scores the first class comes first.
    """
    step = max(1, _BLOCK_SCORES // n_classes)
    best = np.empty((n, k), dtype=np.intp)
    for cut in (slice(start, min(start + step, n)) for start in range(0, n, step)):
        best[cut] = _best(scores(cut), k)
    return best


def _best(Z: NDArray, k: int) -> NDArray[np.intp]:
    """Return the places of the k highest values of each row of Z (m, K), best first."""
    least = np.partition(Z, -k, axis=1)[:, -k, None]
    above, equal = least < Z, least == Z
    room = k - above.sum(axis=1, keepdims=True)
    equal &= np.cumsum(equal, axis=1) <= room
    places = np.nonzero(above | equal)[1].reshape(-1, k)
    order = np.argsort(-np.take_along_axis(Z, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
