"""The best classes of each row, without the scores of all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.extmath import safe_sparse_dot

# Scores of a block of rows: 8 MB of doubles, of which a few arrays are held at a time.
_BLOCK_SCORES = 2**20


def best_classes(
    X: Any, coef: NDArray, intercept: NDArray, offset: NDArray | None, n_classes: int, k: int
) -> NDArray[np.intp]:
    """Return the places of the k classes with the highest scores, best first, (n, k).

    Scores are X coef' + intercept + offset; where `coef` has one row for two classes, those of the
    second, the first one's being minus them. Of equal scores the first class comes first.
    """
    n, step = X.shape[0], max(1, _BLOCK_SCORES // n_classes)
    best = np.empty((n, k), dtype=np.intp)
    for cut in (slice(start, start + step) for start in range(0, n, step)):
        Z = safe_sparse_dot(X[cut], coef.T, dense_output=True) + intercept
        if offset is not None:
            Z += offset[cut].reshape(Z.shape)
        best[cut] = _best(np.hstack([-Z, Z]) if len(coef) < n_classes else Z, k)
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
