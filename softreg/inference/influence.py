"""Influence: how much a fit depends on each row, and how well it predicts the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from softreg._encoding import validation
from softreg._estimators.base import LinearClassifier, prediction_slices
from softreg._estimators.optimum import posed
from softreg._estimators.posing import threads_of
from softreg._model.block_kernels import BasisKernel
from softreg._model.objective import Objective
from softreg._selection.leave_one_out import curvature_times, left_out_residuals, quadratic_forms
from softreg._selection.manifold import Run
from softreg._selection.refits import rows_in_memory
from softreg.inference.infer import inferences
from softreg.inference.result import Inference
from softreg.inference.standard_errors.covariances import Design
from softreg.inference.standard_errors.fit import Fit, check_targets_and_weights

_COLUMNS = ["leverage", "cooks_distance", "pearson", "deviance"]


@dataclass(frozen=True, eq=False)
class Influence:
    """What each row does to a fit, rows that matter most first.

    Attributes
    ----------
    rows : DataFrame of shape (n_samples, 4), sorted by Cook's distance, with the columns

        - `leverage`: how much the fit depends on the row, the trace of its hat matrix;
        - `cooks_distance`: how far the coefficients move without it;
        - `pearson`, `deviance`: its standardised residuals.
    dfbetas : DataFrame of shape (n_samples, n_coefficients), in the same order
        By how many standard errors each coefficient, (class, feature), falls without the row.
    """

    rows: pd.DataFrame
    dfbetas: pd.DataFrame


def influence(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    *,
    reference: Any = None,
) -> Influence | dict[Any, Influence]:
    r"""Return how much a fit depends on each of its rows, and how well it predicts them.

    Without row i, of weight s, residual :math:`e = y - p` and curvature
    :math:`h = \operatorname{diag}(p) - p p^\top`, the coefficients are one Newton step away: they
    fall by

    .. math:: d_i = H^{-1} (I \otimes x_i) v_i, \quad v_i = (I - s h A_i)^{-1} s e,
              \quad A_i = (I \otimes x_i)^\top H^{-1} (I \otimes x_i),

    with the Hessian H of all rows, and of the penalty. Of p parameters (under a penalty the
    effective number of them),

    - `leverage` is the trace of :math:`s h A_i`; all leverages add up to p;
    - `cooks_distance` is :math:`d_i^\top H d_i / p`;
    - `pearson` is the root of :math:`e^\top h^- v_i`, which is :math:`e^\top h^- e\, s` over what
      leverage leaves of it;
    - `deviance` is the root of twice the row's log loss, standardised by the same factor;
    - `dfbetas` are the contrasts of :math:`d_i` over their standard errors, as `infer` has them
      (with `class_weight`, those of the sandwich).

    Residuals of two classes have the sign of :math:`e`; of more classes they are the sizes of
    residuals in K - 1 dimensions. With two classes all are statsmodels'
    ``GLM(...).fit().get_influence()``: its `hat_diag`, `cooks_d`, `standard_resid` and `dfb_`.

    Rows of weight 0 have not been fitted: they have neither leverage nor influence, and the
    residuals of a row of weight 1. Unknown answers of a label have no residuals (NaN).

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, SigmoidRegression, or either with CV
        With ``l1_ratio=0`` and no label smoothing.
    X, y, sample_weight, offset : as they were passed to its `fit`
    reference : class, or "sum-to-zero", default=None
        What the coefficients of `dfbetas` are contrasts to, as in `infer`: by default the first
        class.

    Returns
    -------
    Influence, or a dict from label to Influence for several labels
        Frames have the index of X, if X is a DataFrame. What the data do not identify is NaN.

    Raises
    ------
    NotFittedError
        Before `fit`.
    ValueError
        Whenever `infer` has no standard errors; if `reference` is no class.
    TypeError
        If `estimator` is not one of softreg.

    References
    ----------
    Pregibon (1981), "Logistic regression diagnostics", Annals of Statistics 9, 705-724. Lesaffre
    and Albert (1989), "Multiple-group logistic regression diagnostics", Applied Statistics 38,
    425-440.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import influence
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> X = X[["sepal width (cm)"]]
    >>> found = influence(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> int(found.rows.index[0]) == int(found.rows["cooks_distance"].idxmax())
    True
    >>> round(float(found.rows["leverage"].sum()), 6), found.dfbetas.shape
    (4.0, (150, 4))
    """
    validation.check_estimator(
        "influence", "a fitted estimator of softreg", estimator, LinearClassifier
    )
    weights = "frequency" if estimator.class_weight is None else "probability"
    design = Design.from_arguments("hessian", weights)
    check_targets_and_weights(estimator, design.weights_are_counts)
    with threads_of(estimator) as threads:
        objective = posed(estimator, X, y, sample_weight, offset, threads)
        fit = Fit.from_estimator(estimator, objective)
        results = inferences(estimator, fit, design, reference)
        to_user = _matrix_to_users_units(objective)
        values = _row_values(fit, to_user, list(results.values()))
    index = X.index if isinstance(X, pd.DataFrame) else pd.RangeIndex(len(values))
    found = {
        label: _influence(values[:, b], result, index)
        for b, (label, result) in enumerate(results.items())
    }
    return found.get(None, found)


def _influence(values: NDArray, result: Inference, index: pd.Index) -> Influence:
    """Return the frames of values (n, 4 + c) of rows: `_COLUMNS`, and dfbetas."""
    order = np.argsort(-values[:, 1], kind="stable")
    values, index = values[order], index[order]
    axis = result.covariance.columns
    rows = pd.DataFrame(values[:, : len(_COLUMNS)], index, _COLUMNS)
    return Influence(rows, pd.DataFrame(values[:, len(_COLUMNS) :], index, axis))


def _row_values(fit: Fit, to_user: NDArray, results: list[Inference]) -> NDArray[np.float64]:
    """Return `_COLUMNS` and dfbetas of each row and problem, (n, B, 4 + c).

    `results` are the problems' standard errors, `to_user` (u, width) makes W over b of T.
    """
    inverses, basis = fit.information.inverse_in_basis, fit.information.basis
    to_user = to_user if basis is None else to_user @ basis
    pairs = zip(inverses, results, strict=True)
    effects = np.array([_effects(inverse, to_user, result) for inverse, result in pairs])
    rows = rows_in_memory(fit.objective)
    U, unit = rows.block_coefficients(fit.T), rows.totals.weight_unit
    kernel = _RowInfluence(fit.objective.link, U, inverses, effects, unit, basis=basis)
    values: NDArray = rows.map_rows(kernel).reshape(rows.n, len(results), -1)
    values[:, :, 1] /= [result.n_params for result in results]
    return values


def _matrix_to_users_units(objective: Objective) -> NDArray[np.float64]:
    """Return the matrix (u, width) that makes W over b in the user's units of T."""
    coordinates = objective.rows.coordinates
    W, b = coordinates.coefficients(np.eye(coordinates.width))
    for space in objective.spaces:
        W, b = space.coefficients(W, b)
    return np.vstack([W, b])[: len(W) + coordinates.intercept]


def _effects(inverse: NDArray, to_user: NDArray, result: Inference) -> NDArray[np.float64]:
    """Return what a gradient adds to each shown coefficient over its error, (p, c).

    `inverse` (p, p) is that of the information, score after score.
    """
    u, width = to_user.shape
    by_class = result.contrasts[::u, ::u].toarray()  # of the shown classes, (K - 1, K)
    if len(inverse) == width:  # one score, by which class 1 is above class 0
        by_class = by_class @ [[-0.5], [0.5]]
    per_score = inverse.reshape(len(inverse), -1, width) @ to_user.T  # (p, q, u)
    shown = np.einsum("pqu,cq->pcu", per_score, by_class).reshape(len(inverse), -1)
    with np.errstate(divide="ignore", invalid="ignore"):  # coefficients that are not identified
        return shown / result.bse.to_numpy().T.ravel()


@dataclass(frozen=True, eq=False)
class _RowInfluence(BasisKernel):
    """Kernel: `_COLUMNS` and dfbetas of a block's m rows, (m, B (4 + c)), problem after problem.

    Cook's distances are not divided by the number of parameters yet.

    Attributes
    ----------
    inverses : ndarray (B, p, p), of the information in the basis, score after score
    effects : ndarray (B, p, c), as `_effects` returns them
    weight_unit : float, by which the rows' weights are multiplied
    """

    inverses: NDArray
    effects: NDArray
    weight_unit: float

    def __call__(self, block: Any) -> NDArray:
        """Return the values of a block's rows, whatever they weigh."""
        (B, p, c), X = self.effects.shape, self.features(block)
        P = self.probabilities(block)
        E, slopes, deviance = self._residuals(block, P)
        weights = np.broadcast_to(block.weights(), (B, len(X))) * self.weight_unit
        out = np.empty((len(X), B, len(_COLUMNS) + c))
        for cut in prediction_slices(len(X), len(X) * max(p, len(P) ** 2 // B)):
            s = weights[:, cut]
            # 1. Without the row.
            A, M = self._hat_matrices(X[cut], P[:, cut], s)
            unit = np.where(s > 0, s, 1.0)[:, None]  # rows that are not fitted count once
            e = E[:, :, cut] * unit
            v = left_out_residuals(M, e)
            out[cut, :, 0] = np.maximum(np.einsum("bmkk->mb", M), 0)
            out[cut, :, 1] = np.einsum("bmk,bmkl,bml->mb", v, A, v)
            gradients = (v * (s > 0)[..., None])[..., None] * X[cut][:, None]
            moves = gradients.reshape(B, -1, p) @ self.effects
            out[cut, :, len(_COLUMNS) :] = moves.swapaxes(0, 1)
            # 2. The residuals, of two classes with their sign.
            squared = np.einsum("bkm,bmk->mb", slopes[:, :, cut], v)
            plain = np.einsum("bkm,bkm->mb", slopes[:, :, cut], e)
            finite = (plain > 0) & np.isfinite(plain)  # elsewhere there is no leverage
            stretch = np.divide(squared, plain, out=np.ones_like(plain), where=finite)
            sign = np.sign(e[:, 0]).T if e.shape[1] == 1 else 1.0
            out[cut, :, 2] = sign * np.sqrt(np.maximum(squared, 0))
            out[cut, :, 3] = sign * np.sqrt((deviance[:, cut] * unit[:, 0]).T * stretch)
        if (known := block.Y.loss_weights()) is not None:
            out[:, :, 2:4][known.T == 0] = np.nan
        return out.reshape(len(X), -1)

    def _residuals(self, block: Any, P: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return e = y - p and h^- e, (B, q, m), and deviances (B, m), of rows that weigh one.

        Of the generalised inverses of h any will do, as v adds up to zero over classes.
        """
        R, Y = block.scores(self.U), np.zeros(P.shape)
        loss = self.link.loss_and_residual_inplace(R, block.Y)
        block.Y.subtract_targets_inplace(Y)
        Y = -Y
        slopes, entropy = _ratio(Y, P), xlogy(Y, Y)
        if not self.link.exclusive:
            slopes -= _ratio(1 - Y, 1 - P)
            entropy += xlogy(1 - Y, 1 - Y)
        by_problem = len(loss), -1, P.shape[1]
        deviance = 2 * np.maximum(loss + entropy.reshape(by_problem).sum(axis=1), 0)
        return -R.reshape(by_problem), slopes.reshape(by_problem), deviance

    def _hat_matrices(self, X: NDArray, P: NDArray, s: NDArray) -> tuple[NDArray, NDArray]:
        """Return A and s h A of rows, (B, m, q, q); zero for those that are not fitted."""
        runs = (Run(slice(None), 0, len(P) // len(s)),)
        with np.errstate(over="ignore", invalid="ignore"):  # of rows that weigh nothing
            A = quadratic_forms(X, self.inverses, runs)
        A[s == 0] = 0
        return A, s[..., None, None] * curvature_times(self.link, P, A)


def _ratio(Y: NDArray, P: NDArray) -> NDArray[np.float64]:
    """Return y / p, 0 where y is, whatever p; inf where p has underflown."""
    with np.errstate(divide="ignore"):
        return np.divide(Y, P, out=np.zeros_like(P), where=Y > 0)
