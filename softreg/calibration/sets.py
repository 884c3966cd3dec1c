"""Prediction sets: classes among which the true one is, with a promised probability."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, distinct_with_codes, listed
from softreg._encoding.namespaces import converted_like
from softreg.calibration.outcomes import check_fitted, has_labels, probability_blocks

# Products of the same row differ by rounding from block to block; where X has few distinct rows,
# many share the probability that is the threshold.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """Sets of classes, made by `prediction_sets`.

    Attributes
    ----------
    estimator : fitted estimator
    coverage : float, the promised one
    thresholds : ndarray of shape (n_classes,), or (1,) where it is one for all
        The probability from which a class is in the set. Of labels (n_labels, 2), for no and yes,
        or (n_labels, 1).
    counts : ndarray of int of the shape of `thresholds`
        Calibration rows behind each of them.
    """

    estimator: Any
    coverage: float
    thresholds: NDArray[np.float64]
    counts: NDArray[np.intp]

    def predict(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Return which classes are in the set of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        sets : ndarray of bool of shape (n_samples, n_classes), columns in the order of `classes_`
            A set may be empty: such a row is unlike all that was calibrated on. For labels
            (n_samples, n_labels, 2): whether no, and whether yes, is in the set of the label.

        Raises
        ------
        ValueError
            If X has other features than in `fit`, or `offset` another shape.
        """
        blocks = probability_blocks(self.estimator, *self.estimator._checked(X, offset))
        least = (1 - _ROUNDING) * self.thresholds
        return converted_like(X, np.concatenate([least <= np.asarray(P) for _, P in blocks]))

    def coverage_interval(self, level: float = 0.95) -> NDArray[np.float64]:
        """Return between which limits the coverage is likely to be, given this calibration.

        Of all calibrations on as many rows a share `level` has a coverage within them: it is
        distributed as Beta(r, m + 1 - r), if no two probabilities are equal, for the threshold that
        r of m rows reach.

        Parameters
        ----------
        level : float, default=0.95
            Between 0 and 1.

        Returns
        -------
        limits : ndarray of shape (n_classes, 2), or (1, 2)
            Lower and upper limit, for each of `thresholds`; of labels (n_labels, 2, 2), or
            (n_labels, 1, 2).

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        tail = (1 - _checked_share("level", level)) / 2
        ranks = _ranks(self.counts, self.coverage)
        spare = self.counts + 1 - ranks  # 0 where all classes are in, whose coverage is 1
        limits = [beta.ppf(q, ranks, np.maximum(spare, 1)) for q in (tail, 1 - tail)]
        return np.stack([np.where(spare > 0, limit, 1.0) for limit in limits], axis=-1)


def prediction_sets(
    estimator: Any,
    X_cal: ArrayLike,
    y_cal: ArrayLike,
    coverage: float = 0.9,
    *,
    class_wise: bool = False,
    offset: ArrayLike | None = None,
) -> PredictionSets:
    r"""Return what predicts sets that hold the true class with a promised probability.

    A class is in the set of a row if its probability is at least t. With m calibration rows, t is
    the r-th largest of the probabilities that their true classes have,

    .. math:: r = \lceil (m + 1) \, \text{coverage} \rceil ,

    and 0 where r > m. Whatever the model, and however bad, the set of a new row then holds its
    class with a probability of `coverage` at least, and below coverage + 1 / (m + 1) if no two
    probabilities are equal: on average over calibration sets and rows, which are exchangeable. Of
    one calibration set the coverage varies; `PredictionSets.coverage_interval` says how much. Nor
    does it hold for each x, or, unless `class_wise`, for each class. Of all sets with this coverage
    these are the smallest on average, if the probabilities are right.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, SigmoidRegression, or either with CV
    X_cal : array-like or sparse matrix of shape (m, n_features)
        Rows that the estimator has not seen, drawn as those that will be predicted.
    y_cal : array-like of shape (m,), or (m, n_labels) of 0, 1 and NaN where unknown
        Or, if `fit` had it so, a column for each class, one of which is 1.
    coverage : float, default=0.9
        Between 0 and 1.
    class_wise : bool, default=False
        Whether the coverage is that of each class: each has a threshold, by its own rows. Of labels
        no and yes are the classes.
    offset : array-like of the shape of `decision_function`, default=None

    Returns
    -------
    sets : PredictionSets
        Its `predict` returns which classes are in the set of each row. Of labels, the set of each
        is calibrated by itself.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If `estimator` is not one of softreg.
    ValueError
        If an argument is not as described, as if y holds classes that the estimator does not know,
        or shares.

    Warns
    -----
    UserWarning
        Of classes and labels with fewer than coverage / (1 - coverage) rows, which can never be
        left out.

    Notes
    -----
    There are no weights: rows that stand for different numbers of others are not exchangeable.

    References
    ----------
    Sadinle, Lei and Wasserman (2019), "Least ambiguous set-valued classifiers with bounded error
    levels", Journal of the American Statistical Association 114, 223-234.
    Vovk (2012), "Conditional validity of inductive conformal predictors", ACML, 475-490 (class-wise
    sets; the distribution of the coverage).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from softreg import SoftmaxRegression
    >>> from softreg.calibration import prediction_sets
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SoftmaxRegression(C=0.01).fit(X[:600], y[:600])
    >>> sets = prediction_sets(model, X[600:1200], y[600:1200], coverage=0.95)
    >>> sets.coverage_interval().round(3)
    array([[0.931, 0.966]])
    >>> in_set = sets.predict(X[1200:])
    >>> in_set.shape, float(in_set.sum(axis=1).mean().round(1))
    ((597, 10), 1.1)
    """
    check_fitted("prediction_sets", estimator)
    share = _checked_share("coverage", coverage)
    by_class = validation.check_flag("class_wise", class_wise)
    data, checked_offset = estimator._checked(X_cal, offset)
    codes = _codes_of(estimator, y_cal, data.shape[0])
    blocks = probability_blocks(estimator, data, checked_offset)
    p = np.concatenate([_of_codes(P, codes[rows]) for rows, P in blocks])
    n_groups = (2 if has_labels(estimator) else len(estimator.classes_)) if by_class else 1
    columns = zip(p.reshape(len(p), -1).T, codes.reshape(len(p), -1).T, strict=True)
    groups = [group for column in columns for group in _groups(*column, n_groups)]
    shape = (*codes.shape[1:], n_groups)
    thresholds = np.reshape([_threshold(group, share) for group in groups], shape)
    counts = np.reshape([len(group) for group in groups], shape)
    _warn_of_few(estimator, counts, share)
    return PredictionSets(estimator, share, thresholds, counts)


def _checked_share(name: str, value: Any) -> float:
    """Return a number between 0 and 1; ValueError for anything else."""
    if not validation.is_number(value) or not 0 < value < 1:
        raise ValueError(f"{name}={validation.shown(value)} must be a number between 0 and 1.")
    return float(value)


def _codes_of(estimator: Any, y: Any, n: int) -> NDArray[np.intp]:
    """Return the class of each row, (n,), or the answer of each label, (n, L), -1 if unknown."""
    _, answers = estimator._read_answers(y, None, n)
    values = answers.y
    if values.ndim == 1:
        codes = codes_in(estimator.classes_, values)
        if (codes < 0).any():
            unknown = listed(distinct_with_codes(values[codes < 0])[0])
            raise ValueError(
                f"y_cal holds the classes {validation.shown(unknown)}, which the estimator does "
                f"not know; it knows {validation.shown(listed(estimator.classes_))}: leave such "
                "rows out, or fit it to rows of all classes."
            )
        return codes
    dense = values if isinstance(values, np.ndarray) else values.toarray()
    wrong = ~(np.isnan(dense) | (dense == 0) | (dense == 1))
    remedy = "prediction sets are calibrated by what is certain"
    validation.raise_where(wrong, dense, "y_cal must hold 0 and 1", remedy)
    if not has_labels(estimator):
        return dense.argmax(axis=1)
    return np.where(np.isnan(dense), -1, dense).astype(np.intp)


def _of_codes(P: NDArray, codes: NDArray) -> NDArray:
    """Return the probabilities of outcomes with these codes, (m,) or (m, L); any of unknown."""
    return np.take_along_axis(P, codes[..., None], axis=-1)[..., 0]


def _groups(p: NDArray, codes: NDArray, n_groups: int) -> list[NDArray]:
    """Return the probabilities (m,) of the known outcomes: all, or those of each code."""
    return [p[codes >= 0]] if n_groups == 1 else [p[codes == k] for k in range(n_groups)]


def _rank(m: int, coverage: float) -> int:
    """Return how many of m rows must be covered, m + 1 where they are too few.

    The coverage means the decimal number that is printed, so that 0.9 of 10 is 9.
    """
    return math.ceil((m + 1) * Fraction(str(coverage)))


_ranks = np.vectorize(_rank, otypes=[int])  # of arrays of m


def _threshold(p: NDArray, coverage: float) -> float:
    """Return the least probability of an outcome in the set, given those (m,) of true ones."""
    place = len(p) - _rank(len(p), coverage)
    return float(np.partition(p, place)[place]) if place >= 0 else 0.0


def _warn_of_few(estimator: Any, counts: NDArray, coverage: float) -> None:
    """Warn, for the caller's caller, of groups of so few rows that nothing is ever left out."""
    few = _ranks(counts, coverage) > counts
    if not few.any():
        return
    share = Fraction(str(coverage))
    needed = f"coverage={coverage:g} needs {math.ceil(share / (1 - share))}"
    if few.size == 1:
        whose, who = "", "All classes are in all sets"
    else:
        names = estimator.classes_[few.any(axis=-1) if few.ndim == 2 else few]
        kind = "labels" if few.ndim == 2 else "classes"
        whose, who = f" of the {kind} {validation.shown(listed(names))}", "They are in all sets"
    warnings.warn(
        f"prediction_sets has too few calibration rows{whose}: {counts[few].min()}, and {needed}. "
        f"{who}; give it more rows, or a lower coverage.",
        UserWarning,
        stacklevel=3,
    )
