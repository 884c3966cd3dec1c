"""Tests of what a fit leaves out: other columns, and alternatives that should not matter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from softreg import SoftmaxRegression
from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, has_columns, label_column, listed
from softreg._encoding.namespaces import on_host
from softreg._estimators.base import LinearClassifier
from softreg._estimators.optimum import optimum_at, posed
from softreg._estimators.posing import has_intercept, read_features, read_sample, threads_of
from softreg._model.covariance import user_weight
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg.inference.hypotheses.coefficient_tests import chi2_table
from softreg.inference.infer import infer
from softreg.inference.result import Inference, check_unpenalised
from softreg.inference.standard_errors.fit import check_converged, check_targets_and_weights

# What `independence` notes where there is no p-value, or one to be read with care.
_NO_FIT = "the fit without this class did not converge: its classes are separated"
_NOT_IDENTIFIED = "some columns are collinear without this class"
_NEGATIVE = "negative, as the difference of the covariances is not positive definite: no p-value"
_INDEFINITE = "the difference of the covariances is not positive definite: p is not reliable"
# Eigenvalues of information, whose diagonal is one, that are rounding of none.
_SINGULAR = 1e-13
# Share of the information on a coefficient that others leave, below which it is rounding: columns
# are in working coordinates, products of which lose half the digits.
_LEAST_INFORMATION = 1e-10


def score_test(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    extra: Any,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> pd.DataFrame:
    r"""Return the tests whether further columns would improve a fit, without fitting them.

    Rao's statistic is that of the score :math:`u`, the gradient of the log-likelihood in the
    coefficients of the columns, which are 0, and of its information I less what the coefficients
    that are fitted (index f) explain of it:

    .. math:: u^\top (I_{ee} - I_{ef} I_{ff}^{-1} I_{fe})^{-1} u .

    It is chi-squared if they are 0. Each column is tested by itself, and all of them jointly.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression or SigmoidRegression, with ``C=np.inf``
    X, y, sample_weight, offset : as they were passed to its `fit`
        Weights count as that many rows.
    extra : array-like or sparse matrix of shape (n_samples, m)

    Returns
    -------
    DataFrame
        With statistic, df and p, a row for each column of `extra` and one for all, "joint"; for
        several labels an index of label and column. Columns that are combinations of X are NaN,
        with df 0.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        Before `fit`; if `estimator` is not one of softreg, has a penalty, or is not at the optimum
        of these rows; if `extra` has other rows, or more columns than there are rows.

    References
    ----------
    Rao (1948), "Large sample tests of statistical hypotheses concerning several parameters",
    Mathematical Proceedings of the Cambridge Philosophical Society 44, 50-57.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import score_test
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> fitted, others = X[["ash"]], X[["magnesium", "hue"]]
    >>> tests = score_test(SoftmaxRegression(C=np.inf).fit(fitted, y), fitted, y, others)
    >>> tests["df"].to_dict()
    {'magnesium': 2, 'hue': 2, 'joint': 4}
    """
    validation.check_estimator(
        "score_test", "a fitted estimator of softreg", estimator, LinearClassifier
    )
    with threads_of(estimator) as threads:
        # 1. The fit has to be the optimum without a penalty.
        _check_maximum(estimator, posed(estimator, X, y, sample_weight, offset, threads))
        # 2. All columns side by side.
        columns, names = _columns(extra)
        data, _ = read_features(estimator, X, reset=False)
        joined = _side_by_side(data, columns)
        with validation.noting(f"Columns from {data.shape[1]} on are those of extra."):
            sample, _ = read_sample(clone(estimator), joined, y, sample_weight, offset)
        rows, n_extra = sample.rows(has_intercept(estimator), threads), columns.shape[1]
        if rows.totals.n <= joined.shape[1]:
            raise ValueError(
                f"X and extra have {joined.shape[1]} columns, and {rows.totals.n} rows have "
                "weight: test fewer columns at a time."
            )
        # 3. The derivatives in them, those that are fitted and others of coefficient 0.
        ridge = Ridge.none(joined.shape[1])
        objective = Objective.in_working_coordinates(sample.encoding.link, rows, ridge).in_double()
        W = np.concatenate([estimator._dense_coef.T, np.zeros((n_extra, rows.n_scores))])
        derivatives = _derivatives(objective, objective.working(W, estimator._dense_intercept))
    first = data.shape[1]
    tables = [_score_table(one.unexplained(first, n_extra), names) for one in derivatives]
    if len(tables) == 1:
        return tables[0]
    return pd.concat(dict(zip(listed(estimator.classes_), tables, strict=True)), names=["label"])


def independence(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> pd.DataFrame:
    r"""Return Hausman and McFadden's tests of the independence of irrelevant alternatives.

    Under the model the ratio of two probabilities does not depend on which other classes there are,
    so that a fit s without the rows of one class estimates the same contrasts between the others
    as the fit f to all rows. With the covariances V of both,

    .. math:: (\hat\theta_s - \hat\theta_f)^\top (V_s - V_f)^{-1} (\hat\theta_s - \hat\theta_f)

    is chi-squared then. In finite samples :math:`V_s - V_f` need not be positive definite, and the
    statistic may be negative: it then has no p-value, and is usually read as no evidence against
    the model.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, with ``C=np.inf``, of three or more classes
    X, y, sample_weight, offset : as they were passed to its `fit`

    Returns
    -------
    DataFrame
        A row for each class that was left out, with statistic, df, p and a note that says where
        and why there is no p, or one to be read with care.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        Before `fit`; if `estimator` is no SoftmaxRegression, has a penalty or balanced weights, or
        is not at the optimum of these rows; if y holds probabilities, or fewer than three classes.

    References
    ----------
    Hausman and McFadden (1984), "Specification tests for the multinomial logit model", Econometrica
    52, 1219-1240.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import independence
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> tests = independence(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> tests.index.tolist(), tests["df"].tolist()
    ([0, 1, 2], [3, 3, 3])
    """
    wanted = "a fitted SoftmaxRegression"
    validation.check_estimator("independence", wanted, estimator, SoftmaxRegression)
    _check_multinomial(estimator, y)
    whole = _unpenalised(estimator, X, y, sample_weight, offset)
    labels, classes = label_column(y), estimator.classes_
    codes = codes_in(classes, labels)
    weights = validation.check_sample_weight(sample_weight, len(labels))
    present, tests, notes = np.flatnonzero(~whole.estimate.unseen), [], []
    if len(present) < 3:
        raise ValueError(
            f"independence needs rows of three or more classes, got {listed(classes[present])}."
        )
    for k in present:
        rows, others = np.flatnonzero(codes != k), present[present != k]
        weight = None if weights is None else weights[rows]
        part = _offset_of(offset, rows, others)
        taken = _safe_indexing(X, rows), labels[rows], weight
        smaller = clone(estimator).set_params(classes=classes[others]).fit(*taken, part)
        test, note = (np.nan, 0), _NO_FIT
        if smaller.converged_:
            test, note = _hausman(whole, _unpenalised(smaller, *taken, part), others)
        tests.append(test)
        notes.append(note)
    index = pd.Index(listed(classes[present]), name="left out")
    return chi2_table(tests, index).assign(note=notes)


class Derivatives(NamedTuple):
    """The log likelihood's gradient and information in J contrasts of the classes.

    Attributes
    ----------
    gradient : ndarray (J, width)
    information : ndarray (J, width, J, width)
    """

    gradient: NDArray[np.float64]
    information: NDArray[np.float64]

    def unexplained(self, first: int, n_extra: int) -> Unexplained:
        """Return those of `n_extra` columns from the `first` on, less what the others explain.

        At the optimum of the others their own gradient is zero.
        """
        J, width = self.gradient.shape
        extra = np.arange(first, first + n_extra)
        others = np.delete(np.arange(width), extra)

        def block(a: NDArray, b: NDArray) -> NDArray:
            return self.information[:, a][..., b].reshape(J * len(a), -1)

        root = np.sqrt(np.diag(block(others, others)))
        root[root == 0] = 1
        crossed = block(extra, others) / root
        inverse = linalg.pinvh(block(others, others) / np.outer(root, root), rtol=_SINGULAR)
        explained = crossed @ inverse
        whole = block(extra, extra)
        left = whole - explained @ crossed.T
        unit = np.sqrt(np.diag(whole))
        unit[unit == 0] = 1
        u = (self.gradient[:, extra].ravel() / unit).reshape(J, n_extra)
        return Unexplained(u, left / np.outer(unit, unit))


class Unexplained(NamedTuple):
    """Gradient and information in m columns, in units of the roots of their whole information.

    Attributes
    ----------
    gradient : ndarray (J, m)
    information : ndarray (J m, J m), what the fitted columns leave of it
    """

    gradient: NDArray[np.float64]
    information: NDArray[np.float64]

    def test(self, columns: NDArray) -> tuple[float, int]:
        """Return the statistic of some columns, and its degrees of freedom."""
        places = np.arange(self.gradient.size).reshape(self.gradient.shape)[:, columns].ravel()
        information = self.information[np.ix_(places, places)]
        return _quadratic_form(self.gradient.ravel()[places], information)[:2]


def _check_maximum(estimator: LinearClassifier, objective: Objective) -> None:
    """Raise a ValueError unless a fit maximises the likelihood of the objective's rows."""
    if not np.all(objective.penalty.free):
        raise ValueError(
            "score_test needs a fit without a penalty (C=np.inf): a shrunken one leaves "
            "a gradient that others would seem to explain."
        )
    check_targets_and_weights(estimator, weights_are_counts=True)
    check_converged(estimator, np.zeros(1, dtype=bool))
    optimum_at(estimator, objective)


def _derivatives(objective: Objective, T: NDArray) -> list[Derivatives]:
    """Return the gradient and information of each problem at T (width, K)."""
    (_, G), H = objective.value_and_gradient(T), objective.hessian(T)
    (width, K), B = T.shape, objective.problems.count
    q, weight = K // B, user_weight(objective)
    contrasts = np.ones((1, 1))
    if objective.link.exclusive:  # classes without rows have none
        present = np.flatnonzero(~objective.unseen_scores)
        contrasts = np.zeros((max(len(present) - 1, 1), q))
        contrasts[: len(present) - 1, present] = linalg.helmert(len(present))
    gradient = np.einsum("ck,wbk,b->bcw", contrasts, -G.reshape(width, B, q), weight)
    H = np.einsum("bkvlw,b->bkvlw", H.reshape(B, q, width, q, width), weight)
    H[objective.constant_problems] = 0  # what probabilities next to 0 and 1 leave is no information
    information = np.einsum("ck,bkvlw,el->bcvew", contrasts, H, contrasts, optimize=True)
    return [Derivatives(*parts) for parts in zip(gradient, information, strict=True)]


def _score_table(left: Unexplained, names: list) -> pd.DataFrame:
    """Return the tests of each column, and of all jointly."""
    every = np.arange(len(names))
    tests = [left.test(columns) for columns in (*every[:, None], every)]
    return chi2_table(tests, pd.Index([*names, "joint"]))


def _quadratic_form(x: NDArray, M: NDArray) -> tuple[float, int, float]:
    """Return x' M^+ x of a matrix with diagonal about one, its rank and its least eigenvalue.

    The form is NaN of rank 0.
    """
    eigenvalues, Q = linalg.eigh(M)
    known = np.abs(eigenvalues) > _LEAST_INFORMATION
    form = (np.square(Q.T @ x)[known] / eigenvalues[known]).sum() if known.any() else np.nan
    return float(form), int(known.sum()), float(eigenvalues[0])


def _hausman(
    whole: Inference, without: Inference, others: NDArray
) -> tuple[tuple[float, int], str]:
    """Return statistic and df, and a note, of the fit to all rows and the one `without` a class.

    `others` are the numbers of the classes that are left, among all.
    """
    # Both with intercepts at the same centres: those far from these would lose all digits.
    of_whole = whole.at_centre
    of_others = without.at_centre.shifted_back(without.centre - whole.centre)
    K, u = of_whole.coefficients.shape
    contrasts = linalg.helmert(len(others))
    R_without = np.kron(contrasts, np.eye(u))
    R_whole = np.kron(contrasts @ np.eye(K)[others], np.eye(u))
    V = of_others.covariance_of(R_without)
    difference = R_without @ of_others.coefficients.ravel()
    difference -= R_whole @ of_whole.coefficients.ravel()
    M, deviation = V - of_whole.covariance_of(R_whole), np.sqrt(np.diag(V))
    if np.isnan(M).any():
        return (np.nan, 0), _NOT_IDENTIFIED
    scaled = M / np.outer(deviation, deviation)
    statistic, df, least = _quadratic_form(difference / deviation, scaled)
    if statistic < 0:
        return (statistic, df), _NEGATIVE
    return (statistic, df), _INDEFINITE if least < -_LEAST_INFORMATION else ""


def _check_multinomial(estimator: SoftmaxRegression, y: Any) -> None:
    """Raise an error unless contrasts of a fit may be compared with those of fewer classes."""
    check_is_fitted(estimator)
    if has_columns(y):
        raise ValueError("independence needs one class a row; y holds a column for each class.")


def _unpenalised(estimator: Any, X: Any, y: Any, sample_weight: Any, offset: Any) -> Inference:
    """Return the inference of a fit without a penalty; ValueError if it has one."""
    result: Any = infer(estimator, X, y, sample_weight=sample_weight, offset=offset)
    check_unpenalised(result, "test")
    return result


def _offset_of(offset: Any, rows: NDArray, others: NDArray) -> Any:
    """Return the offset of some rows and classes: of two classes the difference, or None."""
    if offset is None:
        return None
    part = np.asarray(offset)[np.ix_(rows, others)]
    return part[:, 1] - part[:, 0] if len(others) == 2 else part


def _columns(extra: Any) -> tuple[Any, list]:
    """Return `extra` as an array or CSR (n, m), and the names of its columns."""
    (extra,) = on_host(extra=extra)
    columns: Any = extra if sparse.issparse(extra) else np.asarray(extra)
    if columns.ndim != 2 or not columns.shape[1]:
        raise ValueError(
            f"extra must have shape (n_samples, m), got {columns.shape}; a single column is "
            "extra.reshape(-1, 1)."
        )
    return columns, list(getattr(extra, "columns", range(columns.shape[1])))


def _side_by_side(data: Any, columns: Any) -> Any:
    """Return the columns of X and further ones, (n, d + m), CSR if X is."""
    if data.shape[0] != columns.shape[0]:
        raise ValueError(f"extra has {columns.shape[0]} rows, and X {data.shape[0]}.")
    if sparse.issparse(data) or sparse.issparse(columns):
        return sparse.hstack([data, columns], "csr")
    return np.hstack([data, columns])
