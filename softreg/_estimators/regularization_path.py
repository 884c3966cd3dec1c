"""Regularisation paths: the model at every strength of its penalty."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from softreg._encoding import validation
from softreg._estimators.base import (
    coefficient_path,
    has_intercept,
    monitor_of,
    pose,
    read_sample,
    threads_of,
)
from softreg._estimators.fit import SolverClassifier
from softreg._estimators.softmax import SoftmaxRegression
from softreg._selection.path import C_values, path_points


@dataclass(frozen=True, eq=False)
class RegularizationPath:
    """The optimum at each C.

    Attributes
    ----------
    Cs : ndarray of shape (n_Cs,), ascending
        Inverse strengths of the penalty.
    coef : ndarray of shape (n_Cs, n_classes, n_features), or (n_Cs, 1, n_features)
    intercept : ndarray of shape (n_Cs, n_classes), or (n_Cs, 1)
    objective, optimality_gap : ndarray of shape (n_Cs,)
        F, as in `SoftmaxRegression` or `SigmoidRegression`, and the bound on how far it is above
        its least value.
    converged, proven : ndarray of shape (n_Cs,) of bool
        Whether F met the rule of `tol`, and whether the bound proves it.
    n_passes : ndarray of shape (n_Cs,) of int
        Passes over the data from the C before, the first from the start: sums over the rows,
        samples of rows included.
    classes : ndarray of shape (n_classes,)
        The classes, or the labels' names.
    feature_names : ndarray of shape (n_features,)
        The names of the columns of X; "x0", "x1", ... if it has none.
    """

    Cs: NDArray[np.float64]
    coef: NDArray[np.floating]
    intercept: NDArray[np.floating]
    objective: NDArray[np.float64]
    optimality_gap: NDArray[np.float64]
    converged: NDArray[np.bool_]
    proven: NDArray[np.bool_]
    n_passes: NDArray[np.intp]
    classes: NDArray
    feature_names: NDArray

    def to_frame(self) -> Any:
        """Return a DataFrame with a row for each C, class and feature, and for each intercept.

        Its columns are C, class, feature ("intercept" for the intercept), coef, and those of the
        whole fit at C: objective, optimality_gap, converged, proven and n_passes.
        """
        import pandas as pd

        values = np.concatenate([self.coef, self.intercept[:, :, None]], axis=2)
        features = [*self.feature_names, "intercept"]
        rows = self.classes[-values.shape[1] :]  # two classes: the row is that of the second
        axes: list = [self.Cs, rows, features]
        index = pd.MultiIndex.from_product(axes, names=["C", "class", "feature"])
        frame = pd.DataFrame({"coef": values.ravel()}, index=index).reset_index()
        for name in ("objective", "optimality_gap", "converged", "proven", "n_passes"):
            frame[name] = np.repeat(getattr(self, name), values[0].size)
        return frame


def regularization_path(
    X: ArrayLike,
    y: ArrayLike,
    Cs: int | ArrayLike = 10,
    *,
    estimator: SolverClassifier | None = None,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> RegularizationPath:
    """Return the coefficients at each C, each from those before it.

    Every point of the path is an optimum, as certified as that of a single fit, for a few passes
    over the data: the start is extrapolated from the last two points, and the last factored metric
    follows the penalty.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
    y : array-like, as in `fit` of the estimator
    Cs : int or array-like of shape (n_Cs,), default=10
        Inverse strengths, > 0, also ``np.inf``; they are sorted. An integer asks for as many, as in
        `SoftmaxRegressionCV`.
    estimator : SoftmaxRegression or SigmoidRegression, default=None
        The model, of which C is varied; None is ``SoftmaxRegression()``. Its solver must be "auto":
        a path has steps of its own.
    sample_weight, offset : as in `fit` of the estimator

    Returns
    -------
    RegularizationPath

    Raises
    ------
    ValueError
        If an argument is not as described.
    TypeError
        If `estimator` is another one, or `offset` is sparse.

    Notes
    -----
    Where the optimum at some C was not reached, `RegularizationPath.converged` says so.

    References
    ----------
    Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
    coordinate descent", Journal of Statistical Software 33, section 2.5 (warm starts).

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import regularization_path
    >>> data = load_wine(as_frame=True)
    >>> path = regularization_path(data.data, data.target, [0.01, 1, 100])
    >>> path.coef.shape, bool(path.converged.all())
    ((3, 3, 13), True)
    >>> path.to_frame().columns.to_list()[:4]
    ['C', 'class', 'feature', 'coef']
    """
    given = SoftmaxRegression() if estimator is None else estimator
    wanted = "SoftmaxRegression or SigmoidRegression"
    validation.check_estimator("regularization_path", wanted, given, SolverClassifier)
    model = clone(given)
    if model.solver != "auto":
        raise ValueError(
            f'estimator={model!r} must have solver="auto": a path has steps of its own.'
        )
    n_or_values = validation.check_Cs(Cs)
    results, passes = [], [0]
    sample, features = read_sample(model, X, y, sample_weight, offset)
    with threads_of(model) as threads:
        rows = sample.rows(has_intercept(model), threads)
        objective = pose(model, rows, sample.encoding, np.ones(1))
        C_path = C_values(objective, n_or_values)
        for path_point in path_points(objective, C_path, partial(monitor_of, model)):
            result = path_point.result
            validation.check_no_overflow(result.objective, result.coef)
            results.append(result)
            passes.append(threads.passes)
    coef, intercept = coefficient_path(results)
    names = features.get("feature_names_in_")
    if names is None:
        names = np.array([f"x{j}" for j in range(features["n_features_in_"])])
    return RegularizationPath(
        Cs=C_path,
        coef=coef,
        intercept=intercept,
        objective=np.array([result.objective.sum() for result in results]),
        optimality_gap=np.array([result.gap.sum() for result in results]),
        converged=np.array([result.converged.all() for result in results]),
        proven=np.array([result.proven.all() for result in results]),
        n_passes=np.diff(passes),
        classes=sample.encoding.classes,
        feature_names=names,
    )
