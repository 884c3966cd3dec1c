"""Separation: whether the maximum-likelihood estimate exists, and which columns deny it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg import SoftmaxRegression
from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, has_columns, listed
from softreg._encoding.namespaces import on_host
from softreg._estimators.posing import read_sample, threads_of
from softreg.inference.comparisons import (
    ROUNDING,
    Comparisons,
    separated_comparisons,
    sparse_direction,
)


@dataclass(frozen=True, eq=False)
class Separation:
    """Whether hyperplanes separate classes, so that no maximum-likelihood estimate exists.

    Attributes
    ----------
    kind : "none", "quasi" or "complete"
        "complete" if some coefficients put each row's class ahead of all others; "quasi" if they do
        so in some comparisons of a row's class with another, and the rest are ties at best.
    classes : list
        Those that are told apart: all but the largest group of classes whose coefficients go the
        same way in `direction`.
    columns : list
        Names, or numbers, of the columns whose coefficients go to infinity along `direction`; last
        ``"intercept"``, if it does. Where they separate completely, others may go there, too.
    direction : DataFrame of shape (n_features + 1, n_classes), without an intercept (n_features,)
        Coefficients, in the units of X, that separate all that can be: added to those of a model,
        any number of times, they raise its likelihood. Each row's class loses to no other, and
        gains 1 or more on those that it is told apart from. Of such directions it is one of a small
        sum of absolute values (of standardised columns), so that columns that are not needed are
        zero. Of two classes the first is zero; without a separation all is.
    rows : ndarray of shape (n_separated,)
        Numbers of the rows whose class is told apart from another.
    """

    kind: Literal["none", "quasi", "complete"]
    classes: list
    columns: list
    direction: Any
    rows: NDArray[np.intp]

    @property
    def exists(self) -> bool:
        """Whether the maximum-likelihood estimate exists."""
        return self.kind == "none"

    def __str__(self) -> str:
        """Return a sentence or two that say what was found."""
        if self.exists:
            return "No separation: the maximum-likelihood estimate exists."
        columns, classes = validation.shown(self.columns), validation.shown(self.classes)
        return (
            f"{'Complete' if self.kind == 'complete' else 'Quasi-complete'} separation: no "
            f"maximum-likelihood estimate exists. Coefficients of {columns} go to infinity; they "
            f"tell the classes {classes} apart, in {len(self.rows)} rows. Use firth, or a finite C."
        )


def separation(
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    fit_intercept: bool = True,
) -> Separation:
    r"""Return whether the maximum-likelihood estimate of a softmax regression exists.

    It does not if, and only if, some direction B separates classes:

    .. math:: (b_{y_i} - b_k)^\top x_i \ge 0 \quad \text{for all rows } i \text{ and classes } k,

    and not all are zero, so that the likelihood rises along B for ever. A fit is asked first: that
    it is proven to be at an optimum shows that there is none. Else linear programs find a
    direction that puts as many comparisons as possible above zero, from those nearest to a tie and
    those that directions so far violate. Units of columns do not matter, nor offsets, and columns
    that are collinear are no separation by themselves.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        One class a row.
    sample_weight : array-like of shape (n_samples,), default=None
        Rows of weight 0 do not count; the others' weights do not matter.
    fit_intercept : bool, default=True
        Whether the model has an intercept.

    Returns
    -------
    Separation

    Raises
    ------
    ValueError
        If an argument is not as described, or all rows that have weight are of one class.
    RuntimeError
        If HiGHS does not solve a linear program.

    See Also
    --------
    firth : Estimates that are finite whether classes are separated or not.

    Notes
    -----
    What is a tie within 1e-9, in standardised columns and rows of length one, counts as one.

    References
    ----------
    Albert and Anderson (1984), "On the existence of maximum likelihood estimates in logistic
    regression models", Biometrika 71, 1-10. Lesaffre and Albert (1989), "Partial separation in
    logistic discrimination", Journal of the Royal Statistical Society B 51, 109-116. Konis (2007),
    "Linear programming algorithms for detecting separated data in binary logistic regression
    models", DPhil thesis, University of Oxford.

    Examples
    --------
    A flower's petals tell setosa from the other two species, which overlap:

    >>> from sklearn.datasets import load_iris
    >>> from softreg.inference import separation
    >>> found = separation(*load_iris(return_X_y=True))
    >>> found.kind, found.exists, found.classes
    ('quasi', False, [0])
    """
    if has_columns(y):
        raise ValueError(
            f"y has shape {np.shape(y)}, and separation takes one class a row: of labels pass one "
            "column at a time, of class probabilities a row for each class that has any."
        )
    intercept = validation.check_flag("fit_intercept", fit_intercept)
    estimator = SoftmaxRegression(C=np.inf, fit_intercept=intercept)
    sample, features, rows = _rows_with_weight(estimator, X, y, sample_weight)
    comparisons, margins = _compared(estimator, sample)
    classes = sample.encoding.classes
    separated = np.zeros((len(rows), len(classes)), dtype=bool)
    T = np.zeros((len(comparisons.columns), len(classes)))
    if margins is not None:
        separated = separated_comparisons(comparisons, margins)
    if margins is not None and separated.any():
        T = sparse_direction(comparisons, separated, margins)
    direction = _table(comparisons, T, features, classes)
    return Separation(
        kind=_kind(separated),
        classes=[listed(classes)[k] for k in _parted(T)],
        columns=direction.index[direction.any(axis=1)].tolist(),
        direction=direction,
        rows=rows[separated.any(axis=1)],
    )


def _kind(separated: NDArray) -> Literal["none", "quasi", "complete"]:
    """Return the kind of a separation, given which comparisons (n, K) are separated."""
    n, K = separated.shape
    if separated.sum() == n * (K - 1):
        return "complete"
    return "quasi" if separated.any() else "none"


def _rows_with_weight(
    estimator: SoftmaxRegression, X: Any, y: Any, sample_weight: Any
) -> tuple[Any, dict[str, Any], NDArray[np.intp]]:
    """Return the sample of the rows that have weight, what describes columns, and their numbers."""
    (X,) = on_host(X=X)
    sample, features = read_sample(estimator, X, y, sample_weight, None)
    weight, rows = sample.answers.weight, np.arange(sample.data.shape[0])
    if weight is not None:
        rows = np.flatnonzero(weight)
        sample, _ = read_sample(estimator, sample.data[rows], sample.answers.y[rows], None, None)
    return sample, features, rows


def _compared(estimator: SoftmaxRegression, sample: Any) -> tuple[Comparisons, NDArray | None]:
    """Return the comparisons of a sample, and their margins (n, K) by a fit; None: an optimum."""
    with threads_of(estimator) as threads:
        rows = sample.rows(estimator.fit_intercept, threads)
        data = {"X": sample.data, "y": sample.answers.y, "metadata": None}
        result, _ = estimator._solve(rows, sample.encoding, {}, data)
    classes = sample.encoding.classes
    codes = codes_in(classes, sample.answers.y)
    comparisons = Comparisons.of_rows(sample.data, codes, len(classes), estimator.fit_intercept)
    if result.proven.all():
        return comparisons, None
    T = comparisons.working(result.coef, result.intercept)
    return comparisons, comparisons.margins(T if len(classes) > 2 else np.hstack([0 * T, T]))


def _table(comparisons: Comparisons, T: NDArray, features: dict, classes: NDArray) -> Any:
    """Return a direction T (width, K) as a DataFrame, in the user's units."""
    import pandas as pd

    names = features.get("feature_names_in_", range(comparisons.data.shape[1]))
    index = [*names, "intercept"][: len(T)]
    return pd.DataFrame(comparisons.raw(T), index, listed(classes))


def _parted(T: NDArray) -> NDArray[np.intp]:
    """Return the classes that a direction T (width, K) parts from the largest group.

    Classes with the same coefficients are a group; all are parted, if no group is the largest.
    """
    distance = np.abs(T[:, :, None] - T[:, None]).max(axis=0)
    first = (distance <= ROUNDING * np.abs(T).max()).argmax(axis=1)  # of the group of each class
    sizes = np.bincount(first)
    largest = np.flatnonzero(sizes == sizes.max())
    return np.flatnonzero(~np.isin(first, largest) | (len(largest) > 1))
