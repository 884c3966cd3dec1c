"""Firth's estimates: a softmax regression that is finite where classes are separated."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.linalg import qr
from scipy.stats import chi2, norm

from softreg import SoftmaxRegression
from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, column_of, has_columns, listed
from softreg._estimators.base import feature_names, prediction_attributes
from softreg._estimators.posing import in_one_thread, read_sample
from softreg.inference.jeffreys import JeffreysLikelihood, Place, maximum, profile_bound

# Columns whose share that others do not explain is below this are collinear.
_COLLINEAR = 1e-8
# Logarithm of the largest scale whose square, times a variance, is a number.
_LARGEST_LOG = np.log(1e152)


@dataclass(frozen=True, eq=False)
class FirthFit:
    """A softmax regression by Firth's estimates; it predicts as an estimator does.

    Attributes
    ----------
    estimator : SoftmaxRegression
        The estimator with these coefficients, `coef_` and `intercept_`.
    reference : object
        The class that `params` and what is made of them are relative to.
    llf : float
        The log-likelihood at the estimates.
    penalised_llf : float
        The same plus half the log-determinant of the information, in the units of X.
    """

    estimator: SoftmaxRegression
    reference: Any
    llf: float
    penalised_llf: float
    _likelihood: JeffreysLikelihood = field(repr=False)
    _best: Place = field(repr=False)
    _in_users_units: NDArray[np.float64] = field(repr=False)

    @property
    def classes_(self) -> NDArray:
        """The classes, (n_classes,)."""
        return self.estimator.classes_

    @property
    def coef_(self) -> NDArray[np.float64]:
        """Coefficients (n_classes, n_features), of sum zero; of two classes those of the second."""
        return self.estimator.coef_

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """Intercepts (n_classes,), of sum zero, or of two classes that of the second, (1,)."""
        return self.estimator.intercept_

    @property
    def params(self) -> Any:
        """Coefficients less those of `reference`: DataFrame, features (and intercept) x classes."""
        return self._frame(self._contrasts @ self._best.theta)

    @property
    def bse(self) -> Any:
        """Standard errors of `params`, of the inverse information: a DataFrame likewise."""
        R = self._contrasts
        return self._frame(np.sqrt(np.einsum("ij,jk,ik->i", R, self._best.covariance, R)))

    @property
    def covariance(self) -> Any:
        """The inverse information of `params`: DataFrame with (class, feature) on both axes."""
        import pandas as pd

        R, index = self._contrasts, self._index()
        return pd.DataFrame(R @ self._best.covariance @ R.T, index, index)

    def predict(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the most probable class of each row, as `SoftmaxRegression.predict`."""
        return self.estimator.predict(X, offset)

    def predict_proba(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the probabilities of classes, as `SoftmaxRegression.predict_proba`."""
        return self.estimator.predict_proba(X, offset)

    def decision_function(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the scores, as `SoftmaxRegression.decision_function`."""
        return self.estimator.decision_function(X, offset)

    @in_one_thread
    def conf_int(self, level: float = 0.95, method: str = "profile") -> Any:
        r"""Return confidence intervals of `params`.

        Parameters
        ----------
        level : float in (0, 1), default=0.95
        method : "profile" or "wald", default="profile"
            "profile": the values at which the penalised likelihood, maximised over all else, is
            within half a quantile of chi squared of its maximum. "wald": so many standard errors
            around the estimate, which is far off where classes are separated.

        Returns
        -------
        intervals : DataFrame with columns "lower" and "upper"
            A row for each (class, feature), class after class, as in `covariance`.

        Raises
        ------
        ValueError
            If an argument is not as described.
        RuntimeError
            If a profile does not come down to the quantile.

        References
        ----------
        Heinze and Schemper (2002), "A solution to the problem of separation in logistic
        regression", Statistics in Medicine 21, 2409-2419, section 2.2. Bull, Lewinger and Lee
        (2007), "Confidence intervals for multinomial logistic regression in sparse data", ibid. 26,
        903-918.
        """
        import pandas as pd

        if not (validation.is_number(level) and 0 < level < 1):
            raise ValueError(f"level={validation.shown(level)} must be between 0 and 1, as 0.95.")
        if method not in ("profile", "wald"):
            raise ValueError(f'method={validation.shown(method)} must be "profile" or "wald".')
        if method == "wald":
            estimates, reach = self.params, norm.isf((1 - level) / 2) * self.bse
            bounds = [(estimates + side * reach).to_numpy().T.ravel() for side in (-1, 1)]
        else:
            half = chi2.ppf(level, 1) / 2
            bounds = [
                [
                    profile_bound(self._likelihood, self._best, c, half, side)
                    for c in self._contrasts
                ]
                for side in (-1, 1)
            ]
        return pd.DataFrame({"lower": bounds[0], "upper": bounds[1]}, self._index())

    @property
    def _names(self) -> tuple[list, list]:
        """The classes but `reference`, and the features (and the intercept)."""
        names = [*feature_names(self.estimator), "intercept"]
        others = [label for label in listed(self.classes_) if label != self.reference]
        return others, names[: len(self._in_users_units)]

    @property
    def _contrasts(self) -> NDArray[np.float64]:
        """What takes the likelihood's coefficients to `params`, class after class, (m, m)."""
        D = np.eye(len(self.classes_))[:, 1:]
        r = listed(self.classes_).index(self.reference)
        return np.kron(np.delete(D - D[r], r, axis=0), self._in_users_units)

    def _index(self) -> Any:
        """Return the (class, feature) of `params`, class after class."""
        import pandas as pd

        return pd.MultiIndex.from_product(self._names, names=["class", "feature"])

    def _frame(self, values: NDArray) -> Any:
        """Return values (m,), class after class, as a DataFrame of features x classes."""
        import pandas as pd

        others, rows = self._names
        return pd.DataFrame(values.reshape(len(others), -1).T, rows, others)


@in_one_thread
def firth(
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
    reference: Any = None,
) -> FirthFit:
    r"""Fit a softmax regression by Firth's estimates, which are finite where classes are separated.

    They maximise the likelihood times Jeffreys' prior,

    .. math:: \ell(W, b) + \tfrac{1}{2} \log \det I(W, b),

    I being Fisher's information of all classes but one, whichever. That takes the first order of
    the bias from the estimates; they do not depend on units of columns or the order of classes.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        No column may be a linear combination of the others (and the intercept).
    y : array-like of shape (n_samples,)
        One class a row.
    sample_weight : array-like of shape (n_samples,), default=None
        How often rows count: one of weight 2 is two rows.
    offset : array-like of shape (n_samples, n_classes), or (n_samples,), default=None
        Known part of the scores, in the shape of `decision_function`.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    reference : object, default=None
        The class that `params` are relative to. None is the first of `classes_`.

    Returns
    -------
    FirthFit

    Raises
    ------
    ValueError
        If an argument is not as described, or columns are collinear: they are named.
    TypeError
        If `offset` is sparse.
    RuntimeError
        If the maximum is not found.

    See Also
    --------
    separation : Whether the maximum-likelihood estimates are finite.

    Notes
    -----
    Three or more classes that are separated completely may have several maxima, of nearly the same
    height. The one returned is that to which a climb from zero leads, as in R's brglm2.

    References
    ----------
    Firth (1993), "Bias reduction of maximum likelihood estimates", Biometrika 80, 27-38. Heinze and
    Schemper (2002), "A solution to the problem of separation in logistic regression", Statistics in
    Medicine 21, 2409-2419. Bull, Mak and Greenwood (2002), "A modified score function estimator for
    multinomial logistic regression in small samples", Computational Statistics & Data Analysis 39,
    57-74. Kosmidis and Firth (2011), "Multinomial logit bias reduction via the Poisson log-linear
    model", Biometrika 98, 755-759.

    Examples
    --------
    The length of its petals tells setosa from the other species, and yet all is finite:

    >>> from sklearn.datasets import load_iris
    >>> from softreg.inference import firth
    >>> X, y = load_iris(return_X_y=True)
    >>> fit = firth(X[:, [2]], y)
    >>> fit.params.round(1)
                  1     2
    x0          4.0  12.0
    intercept -10.6 -49.5
    >>> fit.predict_proba([[1.4]]).round(3)
    array([[0.993, 0.007, 0.   ]])
    """
    if has_columns(y):
        raise ValueError(
            f"y has shape {np.shape(y)}, and firth takes one class a row: of labels pass one "
            "column at a time, of class probabilities a row for each class, with sample_weight."
        )
    intercept = validation.check_flag("fit_intercept", fit_intercept)
    estimator = SoftmaxRegression(C=np.inf, fit_intercept=intercept)
    sample, features = read_sample(estimator, X, y, sample_weight, offset)
    classes = sample.encoding.classes
    base = _checked_reference(reference, classes)
    likelihood, L = _posed(sample, intercept, features)
    best, K, d = maximum(likelihood, intercept), len(classes), sample.data.shape[1]
    U = np.vstack([np.zeros(len(L)), best.theta.reshape(K - 1, -1) @ L.T])
    U = U[1:] if K == 2 else U - U.mean(axis=0)
    attributes = prediction_attributes(sample.encoding, U[:, :d].T, U[:, d:].sum(axis=1))
    return FirthFit(
        estimator=estimator._with_attributes(features | attributes),
        reference=base,
        llf=likelihood.log_likelihood(best.theta),
        penalised_llf=float(best.value - (K - 1) * np.log(np.diag(L)).sum()),
        _likelihood=likelihood,
        _best=best,
        _in_users_units=L,
    )


def _checked_reference(reference: Any, classes: NDArray) -> Any:
    """Return the class that others are compared with, the first of `classes` (K,) for None."""
    if reference is None:
        return listed(classes)[0]
    is_name = isinstance(reference, Hashable)  # an array is none
    code = codes_in(classes, column_of([reference]))[0] if is_name else -1
    if code < 0:
        raise ValueError(
            f"reference={validation.shown(reference)} must be one of the classes {listed(classes)}."
        )
    return listed(classes)[code]


def _posed(
    sample: Any, intercept: bool, features: dict[str, Any]
) -> tuple[JeffreysLikelihood, NDArray[np.float64]]:
    """Return the likelihood of a sample in standardised columns, and L (w, w).

    L takes a class's coefficients in these columns to those in the units of X.
    """
    (y, given), classes, data = sample.answers, sample.encoding.classes, sample.data
    X = (sample.data.toarray() if sparse.issparse(data) else data).astype(np.float64, copy=False)
    weight = (np.ones(len(X)) if given is None else given) * sample.weight_unit
    share = weight / weight.sum()
    centre = share @ X if intercept else np.zeros(X.shape[1])
    deviation = np.hypot.reduce(np.sqrt(share)[:, None] * (X - centre), axis=0)
    varies = np.ptp(X[weight > 0], axis=0) > 0 if intercept else deviation > 0
    scale = np.where(varies, deviation, 1.0)
    _check_range(scale, features)
    x = np.hstack([(X - centre) / scale, np.ones((len(X), int(intercept)))])
    _check_independent(np.sqrt(share)[:, None] * x, features)
    L = np.diag(np.append(1 / scale, np.ones(int(intercept))))
    if intercept:
        L[-1, :-1] = -centre / scale
    offset = np.zeros((len(X), len(classes)))
    if sample.offset is not None:
        offset[:, -sample.offset.shape[1] :] = sample.offset
    return JeffreysLikelihood(x, codes_in(classes, y), weight, offset), L


def _check_range(scale: NDArray, features: dict[str, Any]) -> None:
    """Raise a ValueError if columns of some scale (d,) have coefficients of no finite variance."""
    is_lost = np.abs(np.log(scale)) > _LARGEST_LOG
    if is_lost.any():
        names = features.get("feature_names_in_", range(len(scale)))
        lost = [name for name, is_one in zip(names, is_lost, strict=True) if is_one]
        raise ValueError(
            f"The variances of the coefficients of {validation.shown(lost)} are beyond the "
            "range of numbers: bring these columns into another unit."
        )


def _check_independent(x: NDArray, features: dict[str, Any]) -> None:
    """Raise a ValueError if weighted columns (n, w) are collinear; it names those left over."""
    R, order = qr(x, mode="r", pivoting=True)[:2]
    size = np.abs(np.diag(R))
    n_independent = np.count_nonzero(size > _COLLINEAR * size[0])
    if n_independent < x.shape[1]:
        names = [*features.get("feature_names_in_", range(features["n_features_in_"])), "intercept"]
        left = [names[j] for j in np.sort(order[n_independent:])]
        raise ValueError(
            f"X has columns that are linear combinations of others, {validation.shown(left)}: "
            "their coefficients have no estimates; leave them out."
        )
