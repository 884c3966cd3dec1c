"""The choice among models by the mean scores of held-out rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._encoding import validation
from softreg._selection.scoring.scores import Scored, quotient, weighted_mean
from softreg.solvers.base import Result

# Mean scores that differ by no more than this share are equal: sums over folds are rounded, and
# fits of one optimum end at most so far from it.
_EQUAL = 1e-9


class ScoredPath(NamedTuple):
    """The fits to all rows with one l1_ratio, and their held-out scores.

    Attributes
    ----------
    Cs : ndarray (n_Cs,), ascending
    results : list of Result, at each C
    scored : Scored (count, n_Cs), or (count, n_Cs, L), of as many folds or rows
    constant : ndarray (B,) of bool, problems whose fit is the same at any C
    """

    Cs: NDArray[np.float64]
    results: list[Result]
    scored: Scored
    constant: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The fits to all rows, with every l1_ratio and C, among which held-out scores choose.

    An index is a place among all, ratio by ratio, or (L,) where each label chooses by itself.

    Attributes
    ----------
    l1_ratios : ndarray (n_ratios,)
    paths : list of ScoredPath, one for each
    """

    l1_ratios: NDArray[np.float64]
    paths: list[ScoredPath]

    @cached_property
    def results(self) -> list[Result]:
        """The fits, ratio by ratio."""
        return [result for path in self.paths for result in path.results]

    @cached_property
    def Cs(self) -> NDArray[np.float64]:
        """Their C, (n_ratios * n_Cs,)."""
        return np.concatenate([path.Cs for path in self.paths])

    @cached_property
    def _ratios(self) -> NDArray[np.float64]:
        """Their l1_ratio, (n_ratios * n_Cs,)."""
        return self.l1_ratios.repeat(len(self.Cs) // len(self.paths))

    @cached_property
    def scored(self) -> Scored:
        """Their scores, (count, n_ratios * n_Cs), or (count, n_ratios * n_Cs, L)."""
        values, weights, reasons = zip(*(path.scored for path in self.paths), strict=True)
        reason = next(filter(None, reasons), "")
        return Scored(np.concatenate(values, axis=1), np.concatenate(weights, axis=1), reason)

    @property
    def _are_per_label(self) -> bool:
        """Whether each label chooses by itself."""
        return self.scored.values.ndim > 2

    @property
    def indifferent(self) -> Any:
        """Whether any fit will do, or for which labels, (L,): then no score need exist."""
        constant = self.paths[0].constant
        return constant if self._are_per_label else constant.all()

    @cached_property
    def mean_and_error(self) -> tuple[NDArray, NDArray]:
        """The mean scores and their standard errors, (n_ratios * n_Cs,), or (..., L)."""
        return summary(self.scored)

    @cached_property
    def n_features(self) -> NDArray[np.intp]:
        """The numbers of features with a coefficient that is not zero, in the same shape."""
        is_in = np.stack([result.coef != 0 for result in self.results])
        return (is_in if self._are_per_label else is_in.any(axis=2)).sum(axis=1)

    def index_by(self, select: str) -> NDArray[np.intp]:
        """Return the index of the best mean score, or by "1se" of the simplest one near it."""
        mean, error = self.mean_and_error
        if select == "best":
            return best_index(mean)
        return one_standard_error_index(mean, error, self.n_features, self.Cs)

    def result_at(self, index: NDArray[np.intp]) -> Result:
        """Return the result at an index: of labels by themselves one that joins theirs."""
        if not index.ndim:
            return self.results[index]
        return _of_labels(self.results, index, self.results[index[self.Cs[index].argmax()]])

    def attributes(self, index: NDArray[np.intp]) -> dict[str, Any]:
        """Return the fitted attributes that tell of all fits, and of the choice of an index."""
        n_ratios, (mean, error) = len(self.paths), self.mean_and_error

        def on_grid(values: list[Any] | NDArray) -> NDArray:
            array = np.asarray(values)
            return array.reshape(n_ratios, -1, *array.shape[1:])

        C, l1_ratio = self.Cs[index], self._ratios[index]
        scores = self.scored.values
        return {
            "C_": C if index.ndim else float(C),
            "l1_ratio_": l1_ratio if index.ndim else float(l1_ratio),
            "Cs_": on_grid(self.Cs) if n_ratios > 1 else self.Cs,
            "l1_ratios_": self.l1_ratios,
            "scores_": scores.reshape(len(scores), n_ratios, -1, *scores.shape[2:]),
            "mean_score_": on_grid(mean),
            "se_score_": on_grid(error),
            "n_features_path_": on_grid(self.n_features),
            "coef_path_": on_grid([result.coef.T for result in self.results]),
            "intercept_path_": on_grid([result.intercept for result in self.results]),
            "n_iter_": on_grid([result.n_iter for result in self.results]),
        }

    @property
    def unconverged_message(self) -> str:
        """Where fits did not converge, and why the first did not, or ""."""
        unconverged = [not result.converged.all() for result in self.results]
        if not any(unconverged):
            return ""
        ratios = self._ratios[unconverged].tolist()
        at_ratios = f" with l1_ratio={ratios}" if self.l1_ratios.any() else ""
        first = self.results[unconverged.index(True)]
        return (
            f"did not converge at C={self.Cs[unconverged].tolist()}{at_ratios}, for what was not "
            f"chosen there: {first.message}."
        )


def check_finite(scoring: Any, place: str, scored: Scored) -> None:
    """Raise a ValueError if a score that has a weight is infinite; `place` says of which fits."""
    wrong = np.isinf(scored.values) & (scored.weights > 0)
    if wrong.any():
        fold, *label = (int(index) for index in np.argwhere(wrong)[0])
        of_label = f", label {label[0]}" if label else ""
        raise ValueError(
            f"scoring={validation.shown(scoring)} returned {scored.values[fold, *label]} for fold "
            f"{fold}{of_label}, at {place}. Choose a scorer whose scores are finite, such as "
            '"neg_log_loss".'
        )


def missing_scores_warning(scoring: Any, scored: Scored, indifferent: Any) -> str:
    """Return what to warn of where some scores (count, n_Cs, ...) do not exist, else "".

    ValueError if none exists to choose a C by, unless any C will do: `indifferent`, a bool or, for
    labels, (L,), says where.
    """
    missing = np.isnan(scored.values) & (scored.weights > 0)
    if not missing.any():
        return ""
    without = missing.any(axis=(0, 1)) & np.isnan(scored.values).all(axis=(0, 1))
    undecided = without & np.logical_not(indifferent)
    if undecided.any():
        of_labels = f" of label {np.argmax(undecided)}" if undecided.ndim else ""
        raise ValueError(
            f"scoring={validation.shown(scoring)} returned NaN for every fold{of_labels}, at "
            f"every C ({scored.reason}). Choose a scorer whose scores exist, such as "
            '"neg_log_loss", or folds on which it is defined, such as stratified ones or fewer.'
        )
    folds = np.unique(np.argwhere(missing)[:, 0])
    return (
        f"scoring={validation.shown(scoring)} has no score for {len(folds)} of {len(missing)} "
        f"folds, fold {folds[0]} first ({scored.reason}). C is chosen by the other scores; these "
        "are NaN in scores_."
    )


def summary(scored: Scored) -> tuple[NDArray, NDArray]:
    """Return the weighted mean of scores (count, ...) over the first axis, and its standard error.

    Scores that do not exist are left out; the error is NaN where fewer than two have weight.
    """
    scores = scored.values
    weights = np.where(np.isnan(scores), 0, scored.weights)
    mean = weighted_mean(scores, weights)
    variance = weighted_mean(np.square(scores - mean), weights)
    return mean, np.sqrt(quotient(variance, np.count_nonzero(weights, axis=0) - 1))


def best_index(mean: NDArray) -> NDArray[np.intp]:
    """Return the index of the best mean score, (m,) or (m, L): of equals the first."""
    known = np.where(np.isnan(mean), -np.inf, mean)
    best = known.max(axis=0)
    return np.argmax(known >= best - _EQUAL * np.abs(best), axis=0)


def one_standard_error_index(
    mean: NDArray, error: NDArray, n_features: NDArray, C: NDArray
) -> NDArray[np.intp]:
    """Return the index of the simplest model whose mean score is near the best one, () or (L,).

    Near is within the best one's standard error; where that is not known (NaN), only its equals
    are. The simplest has the fewest features, (m,) or (m, L), then the smallest C, (m,).
    """
    best = np.expand_dims(best_index(mean), 0)
    least = np.take_along_axis(mean - np.nan_to_num(error) - _EQUAL * np.abs(mean), best, 0)
    by_C = np.argsort(C, kind="stable")
    fewest = np.where(mean >= least, n_features, np.inf)[by_C]
    return by_C[np.argmin(fewest, axis=0)]


def _of_labels(results: list[Result], index: NDArray[np.intp], last: Result) -> Result:
    """Return the result of labels each at its own index, (L,), the rest from `last`."""
    labels = np.arange(len(index))
    of_labels = [results[i] for i in index]

    def joined(values: list[NDArray]) -> NDArray:
        return np.stack(values)[index, ..., labels].T

    unconverged = [of_labels[label] for label in labels if not of_labels[label].converged[label]]
    return replace(
        last,
        coef=joined([result.coef for result in results]),
        intercept=joined([result.intercept for result in results]),
        objective=joined([result.objective for result in results]),
        gap=joined([result.gap for result in results]),
        converged=joined([result.converged for result in results]),
        proven=joined([result.proven for result in results]),
        diverging=tuple(k for k, result in enumerate(of_labels) if k in result.diverging),
        unidentified=max((result.unidentified for result in of_labels), key=len),
        message=unconverged[0].message if unconverged else last.message,
    )
