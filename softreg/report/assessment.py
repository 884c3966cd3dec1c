"""Assessment: predictions of rows not seen, beside class frequencies, and coefficients' errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from softreg.inference import infer
from softreg.report.preparation import Folds, feature_names
from softreg.report.target import Target

# As in sklearn.metrics.log_loss: probabilities below count as this much.
_LEAST_PROBABILITY = np.finfo(np.float64).eps
# Far below standard errors over folds; texts take a third of the time of the default.
_TOL = 1e-6
# Standard errors take a Hessian of all coefficients: in some ten seconds these many, by these rows.
_MOST_COEFFICIENTS, _MOST_WORK = 2000, 2e11


@dataclass(frozen=True, eq=False)
class Assessment:
    """Predictions of held-out rows, and losses by fold; T is 1 for classes, L for labels.

    Attributes
    ----------
    P : ndarray of shape (n, K), probabilities of each row by the fold that held it out
    fold : ndarray of shape (n,), the number of that fold
    loss, null_loss : ndarray of shape (n_folds, T)
        Mean log loss of the model, and of the frequencies in the rows that it was fitted to.
    Cs : list of float, (n_folds,), the C that each fold has chosen
    """

    P: NDArray
    fold: NDArray[np.intp]
    loss: NDArray
    null_loss: NDArray
    Cs: list[float]

    def summary(self, target: Target) -> pd.DataFrame:
        """Return means and standard errors over the folds: a row for all, then one a label."""
        names = ["all"] + target.names * target.has_labels
        rows = {}
        for place, name in enumerate(names):
            take = slice(None) if place == 0 else [place - 1]
            model, null = (x[:, take].mean(axis=1) for x in (self.loss, self.null_loss))
            saved = null - model
            rows[name] = [*_mean_se(model), *_mean_se(null), *_mean_se(saved)]
        names = ["model", "model se", "null", "null se", "saved", "saved se"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=names)

    def predicted(self, target: Target) -> NDArray[np.intp]:
        """Return the predicted class of each row (n,), or indicators (n, L) of labels."""
        return (self.P > 0.5).astype(int) if target.has_labels else self.P.argmax(axis=1)


def assess(
    model: Pipeline, typed: pd.DataFrame, target: Target, progress: Callable[[str], None]
) -> Assessment:
    """Return the nested cross-validation of a model of typed columns: each fold chooses its C."""
    n, key = len(target.Y), target.Y if target.has_labels else target.codes
    P, fold = np.zeros(target.Y.shape), np.zeros(n, dtype=int)
    losses, null_losses, Cs = [], [], []
    folds, nearly = Folds(), clone(model).set_params(regression__tol=_TOL)
    for number, (train, test) in enumerate(folds.split(typed, key)):
        progress(f"Held-out rows: fold {number + 1} of {folds.n_folds}")
        fitted = clone(nearly).fit(typed.iloc[train], target.y[train])
        P[test], fold[test] = fitted.predict_proba(typed.iloc[test]), number
        shares = np.broadcast_to(target.Y[train].mean(axis=0), P[test].shape)
        losses.append(log_losses(target, test, P[test]).mean(axis=0))
        null_losses.append(log_losses(target, test, shares).mean(axis=0))
        Cs.append(float(fitted["regression"].C_))
    return Assessment(P, fold, np.array(losses), np.array(null_losses), Cs)


def coefficient_table(
    model: Pipeline, typed: pd.DataFrame, target: Target
) -> tuple[pd.DataFrame, str]:
    """Return coef, lower and upper of each (class, feature), and in words what they are.

    Of two classes that is the second against the first, of several each against their mean.
    """
    regression, X = model["regression"], model["prepared"].transform(typed)
    features = [*feature_names(model), "intercept"]
    K = len(regression.coef_)
    meaning = {1: f"{target.names[1]!r} against {target.names[0]!r}"} if K == 1 else {}
    what = "each label" if target.has_labels else meaning.get(K, "each class against their mean")
    names = target.names if K > 1 or target.has_labels else target.names[1:]
    index = pd.MultiIndex.from_product([names, features])
    n_coefficients = K * X.shape[1]
    if n_coefficients > _MOST_COEFFICIENTS or len(typed) * n_coefficients**2 > _MOST_WORK:
        reason = f"{n_coefficients:,} coefficients are too many for standard errors in a report"
    else:
        reference = None if K == 1 or target.has_labels else "sum-to-zero"
        try:
            result = infer(regression, X, target.y, reference=reference).to_frame()
            table = result.set_axis(index)[["coef", "[0.025", "0.975]"]]
            table.columns = ["coef", "lower", "upper"]
            kind = "95 % confidence" if np.isinf(regression.C_) else "95 % posterior credible"
            return table, f"{what}, with {kind} intervals"
        except ValueError as error:
            reason = f"standard errors do not exist here ({error})"
    values = np.column_stack([regression.coef_, regression.intercept_]).ravel()
    table = pd.DataFrame({"coef": values, "lower": np.nan, "upper": np.nan}, index)
    return table, f"{what}, without intervals: {reason}"


def log_losses(target: Target, rows: NDArray, P: NDArray) -> NDArray[np.float64]:
    """Return -log P(y) of some rows (m,) and their probabilities (m, K): (m, 1), or (m, L)."""
    Y, P = target.Y[rows], np.clip(P, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    of_classes = Y * np.log(P)
    if target.has_labels:
        return -(of_classes + (1 - Y) * np.log1p(-P))
    return -of_classes.sum(axis=1, keepdims=True)


def _mean_se(values: NDArray) -> tuple[float, float]:
    """Return the mean of values of folds, (n_folds,), and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
