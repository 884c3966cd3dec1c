"""Covariances of coefficients: inverse information, sandwiches and the bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._encoding import validation
from softreg._encoding.class_values import column_of, distinct_with_codes, listed, missing
from softreg._model.covariance import group_sandwich, row_sandwich, rows_by_group, user_weight
from softreg._model.objective import Objective
from softreg._selection.bootstrap import bootstrap_coefficients, resampled_counts
from softreg._selection.refits import rows_in_memory
from softreg.inference.standard_errors.fit import Fit

# More than any counts add up to; NumPy draws fewer than 2^63.
_MOST_DRAWN = 2.0**62


@dataclass(frozen=True, eq=False)
class Design:
    """How rows were drawn, and which covariance allows for it.

    Attributes
    ----------
    covariance : str, a key of `COVARIANCES`
    weights_are_counts : bool, or they say how rarely a row's kind was drawn
    groups : array (n,) or None
    n_resamples, random_state : as in `infer`
    """

    covariance: str
    weights_are_counts: bool
    groups: Any
    n_resamples: int
    random_state: Any

    @classmethod
    def from_arguments(
        cls,
        covariance: str,
        weights: str,
        groups: Any = None,
        n_resamples: int = 1000,
        random_state: Any = None,
    ) -> Design:
        """Return the design of `infer`'s arguments; ValueError if they are not as described."""
        _check_choice("covariance", covariance, list(COVARIANCES))
        _check_choice("weights", weights, ["frequency", "probability"])
        if covariance == "cluster" and groups is None:
            raise ValueError('covariance="cluster" needs groups, the cluster of each row.')
        if groups is not None and covariance not in ("cluster", "bootstrap"):
            raise ValueError(
                f"groups are not used by covariance={covariance!r}; choose "
                '"cluster" or "bootstrap".'
            )
        weights_are_counts = weights == "frequency"
        if covariance == "hessian" and not weights_are_counts:
            covariance = "sandwich"
        n_resamples = validation.check_integer("n_resamples", n_resamples, 2)
        return cls(covariance, weights_are_counts, groups, n_resamples, random_state)

    def n_samples(self, fit: Fit) -> NDArray[np.float64]:
        """Return the number of rows of each problem, (B,), or of those that weights stand for."""
        if self.weights_are_counts:
            return user_weight(fit.objective).astype(np.float64)
        one_group = np.broadcast_to(np.intp(0), fit.objective.rows.n)
        return rows_by_group(fit.objective, one_group)[:, 0].astype(np.float64)

    def grouped(self, objective: Objective) -> tuple[Objective, NDArray[np.intp], NDArray[np.intp]]:
        """Return the objective of the n rows that have weight, their groups' numbers, and how many.

        Numbers are (n,), from 0; how many groups each problem has, (B,). ValueError if there are no
        two groups.
        """
        rows, column = _in_memory(objective, "groups"), column_of(self.groups)
        validation.check_shape("groups", column, rows.n, meaning=", one group for each row of X")
        if missing(column).size:
            raise ValueError(f"groups has no value in row {missing(column)[0]}: give each row one.")
        places = rows.places
        if len(places) < rows.n:
            objective = replace(objective, rows=rows.take_rows(places))
        found, codes = distinct_with_codes(column[places])
        if len(found) < 2:
            raise ValueError(
                f"groups has one value, {listed(found)[0]!r}: clusters must be two or more."
            )
        return objective, codes, np.count_nonzero(rows_by_group(objective, codes), axis=1)


class Spread(NamedTuple):
    """How the coefficients vary about what they estimate.

    Attributes
    ----------
    covariances : ndarray (B, p, p), as `Objective.covariance` returns them
    n_groups : ndarray (B,) or None, number of clusters
    n_resamples : ndarray (B,) or None, number of bootstrap fits that have an optimum
    """

    covariances: NDArray[np.float64]
    n_groups: NDArray[np.intp] | None = None
    n_resamples: NDArray[np.intp] | None = None


def _hessian(fit: Fit, design: Design) -> Spread:
    """Return the inverse information: the covariance if the model holds."""
    return Spread(fit.objective.covariance(fit.information.inverse, with_prior=True))


def _sandwich(fit: Fit, design: Design) -> Spread:
    """Return the covariance of independent rows, whatever their distribution."""
    power = 1 if design.weights_are_counts else 2
    V = row_sandwich(fit.objective, fit.T, fit.information, power)
    return Spread(fit.objective.covariance(V, with_prior=False))


def _cluster(fit: Fit, design: Design) -> Spread:
    """Return the covariance of rows that depend on each other within groups."""
    objective, codes, count = design.grouped(fit.objective)
    n = design.n_samples(fit)
    _check_enough(count, n, fit.n_params)
    factor = count / (count - 1) * (n - 1) / (n - fit.n_params)
    V = group_sandwich(objective, fit.T, fit.information, codes) * factor[:, None, None]
    return Spread(objective.covariance(V, with_prior=False), count)


def _bootstrap(fit: Fit, design: Design) -> Spread:
    """Return the covariance of the fits to resampled rows that have an optimum."""
    # 1. How often each row, or its group, is drawn.
    objective, codes, n_groups = fit.objective, None, None
    if objective.unseen_scores.any():
        raise ValueError(
            'covariance="bootstrap" needs rows of each class, as resamples have none of a class '
            'that the data lack, too: fit without it, or choose covariance="sandwich".'
        )
    if design.groups is not None:
        objective, codes, n_groups = design.grouped(objective)
    random = validation.generator_maker(design.random_state)()
    rows = _in_memory(objective, 'covariance="bootstrap"')
    unit = float(rows.totals.weight_unit)
    if design.weights_are_counts and codes is None:
        _check_drawable(float(rows.weights.sum()) * unit)
    weights = rows.weights * unit
    counts = resampled_counts(weights, random, codes, weights_are_counts=design.weights_are_counts)
    # 2. The fits.
    fits = bootstrap_coefficients(objective, fit.T, islice(counts, design.n_resamples))
    T, B = objective.centred(fits.coefficients), objective.problems.count
    by_problem = T.swapaxes(1, 2).reshape(len(T), B, -1)
    # 3. Their covariance.
    found = fits.converged.sum(axis=0)
    if (found < 2).any():
        raise ValueError(
            f"Only {found.min()} of {design.n_resamples} resamples have an optimum: in the others "
            "a class is missing or separated, or columns are collinear. Choose "
            'covariance="hessian", or see inference.separation.'
        )
    V = np.array([np.cov(by_problem[fits.converged[:, b], b].T, ddof=1) for b in range(B)])
    return Spread(objective.covariance(V, with_prior=False), n_groups, found)


# How the coefficients vary, by the name that users give.
COVARIANCES: dict[str, Callable[[Fit, Design], Spread]] = {
    "hessian": _hessian,
    "sandwich": _sandwich,
    "cluster": _cluster,
    "bootstrap": _bootstrap,
}


def _in_memory(objective: Objective, asked: str) -> Any:
    """Return the rows; ValueError if they are elsewhere, where what was `asked` for is not."""
    if not objective.rows.in_memory:
        raise ValueError(
            f"{asked} needs all rows in memory, not in chunks or on a cluster: pass X and y as "
            "arrays or frames."
        )
    return rows_in_memory(objective)


def _check_choice(name: str, value: Any, choices: list[str]) -> None:
    """Raise a ValueError unless a value is one of some texts."""
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{name} must be one of {choices}, got {validation.shown(value)}.")


def _check_drawable(n: float) -> None:
    """Raise a ValueError if so many rows, the sum of weights, are too few or many to draw."""
    if not 2 <= n < _MOST_DRAWN:
        raise ValueError(
            f'sample_weight counts {n:.4g} rows, of which covariance="bootstrap" can draw no '
            'resamples: if weights do not count rows, pass weights="probability".'
        )


def _check_enough(n_groups: NDArray, n_samples: NDArray, n_params: NDArray) -> None:
    """Raise a ValueError if some problem has fewer clusters or rows than parameters, (B,) each."""
    for G, n, p in zip(n_groups, n_samples, n_params, strict=True):
        if max(p, 2) > G:
            raise ValueError(
                f"groups holds {G} clusters, fewer than the {p:.4g} parameters of the fit, or than "
                "two: their covariance says nothing of some of these. Choose smaller clusters or "
                "fewer columns."
            )
        if n <= p:
            raise ValueError(
                f"sample_weight counts {n:.4g} rows, no more than the {p:.4g} parameters of the "
                'fit: if weights do not count rows, pass weights="probability".'
            )
