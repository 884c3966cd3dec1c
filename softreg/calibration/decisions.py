"""Decisions: the class, or the answer, of least expected cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, column_of, listed, object_array
from softreg.calibration.outcomes import (
    check_fitted,
    has_labels,
    outcome_shape,
    probability_blocks,
)


def decide(
    estimator: Any,
    X: ArrayLike,
    costs: ArrayLike,
    *,
    abstain_cost: float | None = None,
    offset: ArrayLike | None = None,
) -> NDArray:
    r"""Return the class of least expected cost for each row, or none where abstaining costs less.

    With the probabilities p of a row, and the cost c of deciding for k where j is true, that is

    .. math:: \hat k = \arg\min_k \sum_j p_j \, c_{jk} ,

    of equally good classes the first. It is the best that can be done with probabilities that are
    right for the rows to be decided: where these have other base rates than the fit, because of
    class weights, say, `prior_shift` comes first. The `threshold` of an estimator does not count.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, SigmoidRegression, or either with CV
    X : array-like or sparse matrix of shape (n_samples, n_features)
    costs : array-like of shape (n_classes, n_classes) or (n_samples, n_classes, n_classes)
        ``costs[true, decided]``, in the order of `classes_`, for all rows or for each; gains are
        negative. For labels (2, 2), by no and yes, or (n_labels, 2, 2), or (n_samples, n_labels, 2,
        2).
    abstain_cost : float, default=None
        Cost of no decision, whatever is true: what it costs to ask an expert. None: a decision for
        each row.
    offset : array-like of the shape of `decision_function`, default=None

    Returns
    -------
    decisions : ndarray of shape (n_samples,), or (n_samples, n_labels) of 0 and 1 for labels
        With an `abstain_cost` an array of objects, None where the row is not decided; of labels an
        array of floats, NaN where they are not. ``pandas.notna(decisions)`` tells which are.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If `estimator` is not one of softreg, or an argument does not hold numbers.
    ValueError
        If an argument has another shape, or values that are not finite, or `costs` is a table whose
        rows or columns are named otherwise than the classes.

    See Also
    --------
    tune_thresholds : Thresholds of least cost on held-out rows, which do not trust probabilities.

    References
    ----------
    Elkan (2001), "The foundations of cost-sensitive learning", IJCAI, 973-978.
    Chow (1970), "On optimum recognition error and reject tradeoff", IEEE Transactions on
    Information Theory 16, 41-46 (abstaining).

    Examples
    --------
    >>> from softreg import SoftmaxRegression
    >>> from softreg.calibration import decide
    >>> X, y = [[0], [1], [2], [3], [4], [5]], ["ill", "ill", "well", "ill", "well", "well"]
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.predict([[0], [3], [9]])
    array(['ill', 'well', 'well'], dtype='<U4')
    >>> costs = [[0, 10], [1, 0]]  # to send the ill home costs 10, to keep the well 1
    >>> decide(model, [[0], [3], [9]], costs)
    array(['ill', 'ill', 'well'], dtype='<U4')
    >>> decide(model, [[0], [3], [9]], costs, abstain_cost=0.5)
    array(['ill', None, 'well'], dtype=object)
    """
    check_fitted("decide", estimator)
    data, checked_offset = estimator._checked(X, offset)
    n, shape = data.shape[0], outcome_shape(estimator)
    c = _checked_costs(costs, estimator, n)
    of_rows = c.ndim > len(shape) + 1
    cost_of_none = _checked_abstain_cost(abstain_cost)
    chosen = []
    for rows, P in probability_blocks(estimator, data, checked_offset):
        expected = np.einsum("...t,...td->...d", P, c[rows] if of_rows else c)
        best = expected.argmin(axis=-1)
        best[cost_of_none < expected.min(axis=-1)] = shape[-1]
        chosen.append(best)
    return _decisions(estimator, np.concatenate(chosen), abstain_cost is not None)


def _decisions(estimator: Any, chosen: NDArray, may_abstain: bool) -> NDArray:
    """Return the outcomes with these numbers, (n,) or of labels (n, L): past the last is none."""
    if has_labels(estimator):
        return np.array([0.0, 1.0, np.nan])[chosen] if may_abstain else chosen
    classes = estimator.classes_
    if not may_abstain:
        return classes[chosen]
    # `tolist` makes numbers of dates in nanoseconds.
    values = list(classes) if classes.dtype.kind in "mM" else classes.tolist()
    return object_array([*values, None])[chosen]


def _checked_costs(costs: Any, estimator: Any, n: int) -> NDArray[np.float64]:
    """Return costs by true and decided outcome, for all or for each label and row."""
    shape = outcome_shape(estimator)
    K = shape[-1]
    names = np.arange(2) if has_labels(estimator) else estimator.classes_
    for axis in ("index", "columns") if hasattr(costs, "columns") else ():
        found = column_of(getattr(costs, axis))
        if not np.array_equal(codes_in(names, found), np.arange(K)):
            raise ValueError(
                f"costs has the {axis} {validation.shown(listed(found))}; they must be "
                f"{validation.shown(listed(names))}, in this order: name them so, or pass "
                "costs.to_numpy()."
            )
    array = validation.check_finite_real("costs", costs).astype(np.float64)
    # Dense to fine: for all, for each label, for each row.
    allowed = [(*leading, K, K) for leading in dict.fromkeys([(), shape[:-1], (n, *shape[:-1])])]
    if array.shape not in allowed:
        words = " or ".join(map(str, allowed))
        raise ValueError(
            f"costs must have shape {words}, by true and decided class (no and yes, for a label), "
            f"for all or for each of the {n} rows of X; got {array.shape}."
        )
    return array


def _checked_abstain_cost(cost: Any) -> float:
    """Return the cost of no decision, inf for None."""
    if cost is None:
        return np.inf
    if not validation.is_number(cost) or not np.isfinite(cost):
        raise ValueError(
            f"abstain_cost={validation.shown(cost)} must be a finite number, or None to decide "
            "for each row."
        )
    return float(cost)
