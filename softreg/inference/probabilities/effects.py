"""Effects of features on average probabilities, and their derivatives in the coefficients.

Scores are z = theta x~ + o, theta (K, u), with x~ = (x - centre, 1) where there is an intercept.
What is averaged over rows, with weights whose sum is one, is an array (K, r) for K classes; its
Jacobian is (K, r, K, u).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from softreg.inference.probabilities.scenarios import RowBlock, Scenario


class Average(NamedTuple):
    """An average over rows.

    Attributes
    ----------
    value : ndarray (K, r)
    jacobian : ndarray (K, r, K, u)
    """

    value: NDArray[np.float64]
    jacobian: NDArray[np.float64]

    @classmethod
    def zero(cls, r: int, theta: NDArray) -> Average:
        """Return an average of r things to add to, given coefficients (K, u)."""
        K, u = theta.shape
        return cls(np.zeros((K, r)), np.zeros((K, r, K, u)))


class Effect(NamedTuple):
    """Which effect of a feature x on a probability p is meant.

    Attributes
    ----------
    of_log : bool, whether it is the change of log p, not of p
    per_log : bool, whether it is the change per unit of log x, not of x
    dummies : mapping from the number of a column of 0 and 1 to the numbers of all columns of its
        variable, at most one of which is 1; its effect is the difference between 1 and all 0
    """

    of_log: bool
    per_log: bool
    dummies: Mapping[int, list[int]]

    def average(self, scenario: Scenario, theta: NDArray, d: int) -> Average:
        """Return the average effects of d features over a scenario."""
        total = Average.zero(d, theta)
        slopes = np.setdiff1d(np.arange(d), list(self.dummies))
        for block in scenario.blocks():
            if len(slopes):
                self._add_slopes_inplace(total, block, theta, slopes)
            for j, variable in self.dummies.items():
                self._add_difference_inplace(total, block, theta, j, variable)
        return total

    def _add_slopes_inplace(
        self, total: Average, block: RowBlock, theta: NDArray, features: NDArray
    ) -> None:
        """Add the derivatives in some features, (q,)."""
        # With t_k = d log p_k / dx = theta_k - sum_l p_l theta_l: dp_k / dx = p_k t_k. Derivatives
        # in the scores z_c: of t_k, -p_c t_c; of p_k t_k, -p_k p_c (t_k + t_c) for c != k, whose
        # sum over all c is 0.
        x, P = block.x, block.probabilities(theta)
        weight = np.repeat(block.weight[:, None], len(features), axis=1)
        if self.per_log:
            weight *= x[:, features] + block.centre[features]
        t = theta[:, None, features] - P.T @ theta[:, features]
        if self.of_log:
            _add_log_slopes_inplace(total, x, P, t, weight, features)
            return
        for k, p in enumerate(P):
            total.value[k, features] += np.einsum("i,ij,ij->j", p, t[k], weight)
        for k, c in combinations(range(len(P)), 2):
            product = (P[k] * P[c])[:, None] * weight
            change = (product * (t[k] + t[c])).T @ x
            direct = product.sum(axis=0)
            for a, b in ((k, c), (c, k)):
                total.jacobian[a, features, b] -= change
                total.jacobian[a, features, a] += change
                total.jacobian[a, features, b, features] -= direct
                total.jacobian[a, features, a, features] += direct

    def _add_difference_inplace(
        self, total: Average, block: RowBlock, theta: NDArray, j: int, variable: list[int]
    ) -> None:
        """Add the difference between x_j = 1 and 0, the variable's other columns being 0."""
        for value, sign in ((1.0, 1.0), (0.0, -1.0)):
            x = block.x.copy()
            x[:, variable] = -block.centre[variable]
            x[:, j] += value
            part = block._replace(x=x, weight=sign * block.weight)
            if self.of_log:
                _add_log_probabilities_inplace(total, part, theta, j)
            else:
                _add_probabilities_inplace(total, part, theta, j)


def _add_log_slopes_inplace(
    total: Average, x: NDArray, P: NDArray, t: NDArray, weight: NDArray, features: NDArray
) -> None:
    """Add the derivatives t (K, m, q) of log p in some features (q,), with weights (m, q)."""
    for k, p in enumerate(P):
        total.value[k, features] += (t[k] * weight).sum(axis=0)
        weighted = p[:, None] * weight
        total.jacobian[:, features, k] -= (weighted * t[k]).T @ x
        total.jacobian[:, features, k, features] -= weighted.sum(axis=0)
        total.jacobian[k, features, k, features] += weight.sum(axis=0)


def average_probability(scenario: Scenario, theta: NDArray) -> Average:
    """Return the average probabilities over a scenario, r = 1."""
    total = Average.zero(1, theta)
    for block in scenario.blocks():
        _add_probabilities_inplace(total, block, theta, 0)
    return total


def _add_probabilities_inplace(total: Average, block: RowBlock, theta: NDArray, j: int) -> None:
    """Add the sums of the weighted probabilities of a block to the j-th of the averages."""
    P = block.probabilities(theta)
    weighted = P * block.weight
    total.value[:, j] += weighted.sum(axis=1)
    for k, p in enumerate(P):
        change = -(weighted * p) @ block.x
        change[k] = 0  # the others' sum, negative: of p near 1, p (1 - p) would be rounding
        change[k] = -change.sum(axis=0)
        total.jacobian[k, j] += change


def _add_log_probabilities_inplace(total: Average, block: RowBlock, theta: NDArray, j: int) -> None:
    """Add the sums of the weighted logarithms of the probabilities, likewise."""
    log_P = log_softmax(block.scores(theta), axis=0)
    total.value[:, j] += log_P @ block.weight
    total.jacobian[:, j] -= (np.exp(log_P) * block.weight) @ block.x
    classes = np.arange(len(log_P))
    total.jacobian[classes, j, classes] += block.weight @ block.x
