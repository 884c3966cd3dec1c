"""Regularisation paths: the model at every strength of its penalty."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import clone

from softreg._encoding import penalty_checks, validation
from softreg._estimators.base import prediction_attributes
from softreg._estimators.fit import SolverClassifier
from softreg._estimators.posing import has_intercept, monitor_of, opened_sample, pose, threads_of
from softreg._estimators.softmax import SoftmaxRegression
from softreg._selection.path import C_values, path_points
from softreg.solvers.base import Result


@dataclass(frozen=True, eq=False)
class RegularizationPath:
    """The optimum at each C.

    Attributes
    ----------
    Cs : ndarray of shape (n_Cs,), ascending
        Inverse strengths of the penalty.
    coefficients : ndarray or csr_array of shape (n_Cs * n_classes, n_features)
        Those of each C, one after another; CSR of sparse penalties. `coef` is their array.
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
    coefficients: Any
    intercept: NDArray[np.floating]
    objective: NDArray[np.float64]
    optimality_gap: NDArray[np.float64]
    converged: NDArray[np.bool_]
    proven: NDArray[np.bool_]
    n_passes: NDArray[np.intp]
    classes: NDArray
    feature_names: NDArray
    estimator: SolverClassifier = field(repr=False)

    @property
    def coef(self) -> NDArray[np.float64]:
        """The coefficients, (n_Cs, n_classes, n_features), or (n_Cs, 1, n_features)."""
        is_sparse = bool(sparse.issparse(self.coefficients))
        dense = self.coefficients.toarray() if is_sparse else self.coefficients
        return dense.reshape(*self.intercept.shape, -1)

    @property
    def n_nonzero_features(self) -> NDArray[np.intp]:
        """The number of features with a coefficient that is not zero, (n_Cs,)."""
        K = self.intercept.shape[1]
        counts = [
            np.count_nonzero((self.coefficients[i * K : (i + 1) * K] != 0).sum(axis=0))
            for i in range(len(self.Cs))
        ]
        return np.array(counts)

    def predict_proba(
        self, X: ArrayLike, C: float, offset: ArrayLike | None = None
    ) -> NDArray[np.floating]:
        """Return the probabilities of the model at one of the path's C.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        C : float, one of `Cs`
        offset : as in `predict_proba` of the estimator

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)

        Raises
        ------
        ValueError
            If C is not of the path, or X has other features.
        """
        strength = 1 / penalty_checks.check_C(C)[0]
        at, K = int(np.argmin(np.abs(1 / self.Cs - strength))), self.intercept.shape[1]
        if not np.isclose(1 / self.Cs[at], strength, rtol=1e-12, atol=0):
            raise ValueError(
                f"C={validation.shown(C)} is not of the path; the nearest of Cs is "
                f"{validation.shown(self.Cs[at])}."
            )
        fitted = {
            "coef_": self.coefficients[at * K : (at + 1) * K],
            "intercept_": self.intercept[at],
        }
        return self.estimator._with_attributes(fitted).predict_proba(X, offset)

    def to_frame(self) -> Any:
        """Return a DataFrame with a row for each C, class and feature, and for each intercept.

        Its columns are C, class, feature ("intercept" for the intercept), coef, and those of the
        whole fit at C: objective, optimality_gap, converged, proven, n_passes and
        n_nonzero_features.
        """
        import pandas as pd

        values = np.concatenate([self.coef, self.intercept[:, :, None]], axis=2)
        features = [*self.feature_names, "intercept"]
        rows = self.classes[-values.shape[1] :]  # two classes: the row is that of the second
        axes: list = [self.Cs, rows, features]
        index = pd.MultiIndex.from_product(axes, names=["C", "class", "feature"])
        frame = pd.DataFrame({"coef": values.ravel()}, index=index).reset_index()
        names = "objective", "optimality_gap", "converged", "proven", "n_passes"
        for name in (*names, "n_nonzero_features"):
            frame[name] = np.repeat(getattr(self, name), values[0].size)
        return frame


def regularization_path(
    X: ArrayLike,
    y: ArrayLike,
    Cs: int | ArrayLike = 10,
    *,
    ratio: float | None = None,
    estimator: SolverClassifier | None = None,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> RegularizationPath:
    """Return the coefficients at each C, each from those before it.

    Every point of the path is an optimum, as certified as that of a single fit, for a few passes
    over the data: the start is extrapolated from the last two points, and the last factored metric
    follows the penalty. Of sparse penalties (`l1_ratio` above 0) the sequential strong rule says
    which coefficients to look at; the gradients of all are checked.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features), or Dask collection
    y : as in `fit` of the estimator
    Cs : int or array-like of shape (n_Cs,), default=10
        Inverse strengths, > 0, also ``np.inf``; they are sorted. An integer asks for as many, as in
        `SoftmaxRegressionCV`; with `l1_ratio` above 0, from the largest C at which all coefficients
        are zero on.
    ratio : float, default=None
        That C over the largest one of such a grid, in (0, 1); None is 1e-4, or 1e-2 where X has
        more columns than rows.
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
    coordinate descent", Journal of Statistical Software 33, section 2.5 (warm starts). Tibshirani
    and others (2012), "Strong rules for discarding predictors in lasso-type problems", Journal of
    the Royal Statistical Society B 74, 245-266.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression, regularization_path
    >>> data = load_wine(as_frame=True)
    >>> path = regularization_path(data.data, data.target, [0.01, 1, 100])
    >>> path.coef.shape, bool(path.converged.all())
    ((3, 3, 13), True)
    >>> path.to_frame().columns.to_list()[:4]
    ['C', 'class', 'feature', 'coef']
    >>> lasso = SoftmaxRegression(l1_ratio=1, standardize=True)
    >>> path = regularization_path(data.data, data.target, 20, estimator=lasso)
    >>> int(path.n_nonzero_features[0]), bool(path.proven.all())
    (0, True)
    """
    model = _model_of_path(estimator)
    n_or_values = penalty_checks.check_Cs(Cs)
    penalty_checks.check_ratio(ratio)
    results, passes = [], [0]
    given = model, X, y, sample_weight, offset
    with threads_of(model) as threads, opened_sample(*given) as (sample, features):
        rows = sample.rows(has_intercept(model), threads)
        strength = model._strength(sample.encoding)._replace(C=np.ones(1))
        objective = pose(model, rows, sample.encoding, strength, features)
        new_monitor = partial(monitor_of, model)
        C_path = C_values(objective, n_or_values, ratio, new_monitor)
        for path_point in path_points(objective, C_path, new_monitor):
            result = path_point.result
            validation.check_no_overflow(result.objective, result.coef)
            results.append(result)
            passes.append(threads.passes)
    last = prediction_attributes(sample.encoding, results[-1].coef, results[-1].intercept)
    unnamed = np.array([f"x{j}" for j in range(features["n_features_in_"])])
    return RegularizationPath(
        Cs=C_path,
        coefficients=_stacked(results, objective.penalty.is_smooth),
        intercept=np.stack([result.intercept for result in results]),
        objective=np.array([result.objective.sum() for result in results]),
        optimality_gap=np.array([result.gap.sum() for result in results]),
        converged=np.array([result.converged.all() for result in results]),
        proven=np.array([result.proven.all() for result in results]),
        n_passes=np.diff(passes),
        classes=sample.encoding.classes,
        feature_names=features.get("feature_names_in_", unnamed),
        estimator=model._with_attributes(features | last),
    )


def _model_of_path(estimator: SolverClassifier | None) -> SolverClassifier:
    """Return an unfitted copy of the estimator, or of the default one; ValueError for others."""
    given = SoftmaxRegression() if estimator is None else estimator
    wanted = "SoftmaxRegression or SigmoidRegression"
    validation.check_estimator("regularization_path", wanted, given, SolverClassifier)
    model = clone(given)
    if model.solver != "auto":
        raise ValueError(
            f'estimator={model!r} must have solver="auto": a path has steps of its own.'
        )
    return model


def _stacked(results: list[Result], is_smooth: bool) -> Any:
    """Return all coefficients, (n_Cs * K, d), as CSR where many are zero."""
    if is_smooth:
        return np.concatenate([result.coef.T for result in results])
    return sparse.vstack([sparse.csr_array(result.coef.T) for result in results], format="csr")
