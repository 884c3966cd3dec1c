"""Outcomes: what may be true of a row, and how probable a fitted model holds it.

The outcomes of a row are its classes, (K,), or of each label no and yes, (L, 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import validation
from softreg._estimators.base import LinearClassifier, has_labels


def check_fitted(caller: str, estimator: Any) -> None:
    """Raise an error unless an estimator is one of softreg, and fitted."""
    wanted = "a fitted estimator of softreg"
    validation.check_estimator(caller, wanted, estimator, LinearClassifier)
    check_is_fitted(estimator)


def outcome_shape(estimator: Any) -> tuple[int, ...]:
    """Return the shape of a row's outcomes, (K,) or (L, 2)."""
    shape = np.shape(estimator.classes_)
    return (*shape, 2) if has_labels(estimator) else shape


def probability_blocks(
    estimator: Any, data: Any, offset: NDArray | None
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield blocks of checked rows and the probabilities of their outcomes, in double."""
    for rows, Z in estimator._score_blocks(data, offset):
        if has_labels(estimator):
            yield rows, expit(np.stack([-Z, Z], axis=-1))
        else:
            yield rows, estimator._probabilities(Z)
