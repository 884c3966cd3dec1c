"""The likelihood of a softmax regression times Jeffreys' prior: its maximum, and its profiles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.special import log_softmax

# Squared distances to the maximum, in standard errors as the step has them, at which a climb ends:
# estimates have ten digits of a standard error. A profile's value is as near as the square.
_DECREMENT, _DECREMENT_OF_PROFILES = 1e-20, 1e-11
# Where rounding keeps a climb from these, as an ill-conditioned information does, it ends nearer
# than this after so many steps that bring it no nearer.
_NEAR, _STALLED = 1e-5, 10
# Bounds of intervals have as many digits of a standard error.
_OFF_TARGET = 1e-8
# Rounding of a sum of log-likelihoods, relative: a step that loses no more is no step back.
_ROUNDING = 1e-13
# The hardest of the data sets tried, separated ones, took a tenth.
_MOST_ITERATIONS, _MOST_HALVINGS = 1000, 40
# As many steps as L-BFGS looks back to.
_MOST_PAIRS = 20


class Place(NamedTuple):
    """The penalised likelihood at some coefficients.

    Attributes
    ----------
    theta : ndarray (m,), the coefficients (K - 1, w), class after class
    value : float, the penalised log-likelihood; -inf where the information is singular
    score : ndarray (m,), its gradient
    covariance : ndarray (m, m), the inverse of the information
    """

    theta: NDArray[np.float64]
    value: float
    score: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JeffreysLikelihood:
    """l(theta) + log det I(theta) / 2, with scores z_i = theta x_i + o_i of all classes but one.

    The score of the first class is its offset alone, and its coefficients zero.

    Attributes
    ----------
    x : ndarray (n, w), an intercept is a column of ones
    codes : ndarray (n,), the class of each row
    weight : ndarray (n,), how often it counts
    offset : ndarray (n, K)
    """

    x: NDArray[np.float64]
    codes: NDArray[np.intp]
    weight: NDArray[np.float64]
    offset: NDArray[np.float64]

    def log_probabilities(self, theta: NDArray) -> NDArray[np.float64]:
        """Return the logarithms of the probabilities, (n, K)."""
        Z = self.offset.copy()
        Z[:, 1:] += self.x @ theta.reshape(Z.shape[1] - 1, -1).T
        return log_softmax(Z, axis=1)

    def log_likelihood(self, theta: NDArray) -> float:
        """Return the log-likelihood, without the penalty."""
        log_P = self.log_probabilities(theta)
        return float(self.weight @ log_P[np.arange(len(log_P)), self.codes])

    def at(self, theta: NDArray) -> Place:
        """Return the value, score and covariance at some coefficients."""
        P = np.exp(self.log_probabilities(theta)[:, 1:])
        try:
            root = cholesky(self._information(P), lower=True)
        except LinAlgError:
            return Place(theta, -np.inf, np.zeros_like(theta), np.eye(len(theta)))
        value = self.log_likelihood(theta) + np.log(np.diag(root)).sum()
        covariance = cho_solve((root, True), np.eye(len(theta)))
        residuals = (self.codes[:, None] == np.arange(1, P.shape[1] + 1)) - P
        residuals += self._penalty_residuals(P, covariance)
        score = (residuals * self.weight[:, None]).T @ self.x
        return Place(theta, value, score.ravel(), covariance)

    def _information(self, P: NDArray) -> NDArray[np.float64]:
        """Return sum_i s_i (diag(p) - p p') x x', (m, m), of probabilities P (n, K - 1)."""
        k, w = P.shape[1], self.x.shape[1]
        information = np.empty((k, w, k, w))
        for a, b in combinations_with_replacement(range(k), 2):
            curvature = self.weight * P[:, a] * ((a == b) - P[:, b])
            information[a, :, b] = (self.x * curvature[:, None]).T @ self.x
            information[b, :, a] = information[a, :, b].T
        return information.reshape(k * w, k * w)

    def _penalty_residuals(self, P: NDArray, covariance: NDArray) -> NDArray[np.float64]:
        """Return the gradient of log det I / 2 in the scores of a row that counts once, (n, K - 1).

        With H = (I x x_i)' V (I x x_i) it is tr(H d(diag(p) - p p') / dz_k) / 2
        = p_k (H_kk - p . diag(H) - 2 (H p)_k + 2 p' H p) / 2.
        """
        k, w = P.shape[1], self.x.shape[1]
        V = covariance.reshape(k, w, k, w)
        diagonal, product = np.empty_like(P), np.zeros_like(P)
        for a, b in combinations_with_replacement(range(k), 2):
            H = np.einsum("nw,nw->n", self.x @ V[a, :, b], self.x)
            product[:, a] += H * P[:, b]
            if a == b:
                diagonal[:, a] = H
            else:
                product[:, b] += H * P[:, a]
        mean = (P * (2 * product - diagonal)).sum(axis=1, keepdims=True)
        return P * (diagonal - 2 * product + mean) / 2


def maximum(likelihood: JeffreysLikelihood, intercept: bool) -> Place:
    """Return the place of the maximum; RuntimeError if it is not found.

    `intercept` says whether the last column is ones: intercepts then start by taking the mean
    offsets off, far from which probabilities are 0 and 1, and tell of no way up.
    """
    offset, share = likelihood.offset, likelihood.weight / likelihood.weight.sum()
    start = np.zeros((offset.shape[1] - 1, likelihood.x.shape[1]))
    if intercept:
        start[:, -1] = -share @ (offset[:, 1:] - offset[:, :1])
    place = likelihood.at(start.ravel())
    return _climbed(likelihood, place, np.zeros(start.size), _DECREMENT)


def profile_bound(
    likelihood: JeffreysLikelihood, best: Place, contrast: NDArray, drop: float, side: int
) -> float:
    """Return where the profile of contrast' theta, (m,), has fallen by `drop` from its maximum.

    On one side of the estimate, -1 or 1; RuntimeError if it is not found. The profile at a distance
    from the estimate is the maximum of all places there. The root of twice its fall is nearly
    linear in the distance: Newton's method brings it to the root of twice the drop.
    """
    target, estimate = np.sqrt(2 * drop), float(contrast @ best.theta)
    distance = target * np.sqrt(contrast @ best.covariance @ contrast) / 2
    near, inner, outer = best, 0.0, np.inf
    for _ in range(_MOST_ITERATIONS):
        # 1. From the farthest place inside, move along the profile's tangent, and climb to it.
        along = near.covariance @ contrast
        step = side * (distance - inner) / (contrast @ along) * along
        place = likelihood.at(near.theta + step)
        place = _climbed(likelihood, place, contrast, _DECREMENT_OF_PROFILES)
        fall = np.sqrt(max(2 * (best.value - place.value), 0.0))
        if abs(fall - target) <= _OFF_TARGET * target:
            return estimate + side * distance
        # 2. The bound lies between distances with less and more of a fall.
        if fall < target:
            near, inner = place, distance
        else:
            outer = distance
        if inner >= (1 - _OFF_TARGET) * outer:  # rounding makes the fall jump
            return estimate + side * inner
        # 3. Take Newton's step if it lies there, else go halfway, or half as far again.
        along = place.covariance @ contrast
        slope = -side * (along @ place.score) / (contrast @ along)
        newton = distance + (target - fall) * fall / slope if slope > 0 else np.inf
        halfway = (inner + outer) / 2 if outer < np.inf else 1.5 * inner
        is_inside = max(inner, distance / 2) < newton < min(outer, 2 * distance)
        distance = newton if is_inside else halfway
    raise RuntimeError(
        f"A profile was not found in {_MOST_ITERATIONS} iterations; take conf_int(method='wald')."
    )


def _climbed(
    likelihood: JeffreysLikelihood, place: Place, fixed: NDArray, decrement: float
) -> Place:
    """Return the place of the maximum of all that have the same fixed' theta; (m,), 0 for all.

    1. Take Fisher's scoring, the step by the inverse information (Firth 1993), for a metric.
    2. Correct it by what the last steps have shown of the curvature, the penalty's, too: L-BFGS.
    3. Halve the step until the penalised likelihood does not fall.
    """
    pairs: list[tuple[NDArray, NDArray]] = []
    rest, least, n_since = _beside(fixed, place, place.score), np.inf, 0
    for _ in range(_MOST_ITERATIONS):
        if place.value == -np.inf:  # no row tells of a way up
            break
        distance = float(rest @ place.covariance @ rest)
        n_since = 0 if distance < least else n_since + 1
        least = min(distance, least)
        if distance <= decrement or (n_since > _STALLED and least < _NEAR):
            return place
        moved = _moved(likelihood, place, _corrected(place, fixed, rest, pairs))
        if moved is place and not pairs:
            break
        rest_then = _beside(fixed, moved, moved.score)
        move, bend = moved.theta - place.theta, rest - rest_then
        pairs = [*pairs[1 - _MOST_PAIRS :], (move, bend)] if move @ bend > 0 else []
        place, rest = moved, rest_then
    if least < _NEAR:
        return place
    raise RuntimeError(
        f"No maximum of the penalised likelihood was found in {_MOST_ITERATIONS} iterations; leave "
        "out columns that are nearly collinear, and let offset be of the size of scores."
    )


def _beside(fixed: NDArray, place: Place, score: NDArray) -> NDArray[np.float64]:
    """Return the part of a score (m,) whose step, by the covariance, leaves fixed' theta."""
    along = place.covariance @ fixed
    return score - (along @ score) / (fixed @ along) * fixed if fixed.any() else score


def _corrected(
    place: Place, fixed: NDArray, rest: NDArray, pairs: list[tuple[NDArray, NDArray]]
) -> NDArray[np.float64]:
    """Return the step of L-BFGS by its two loops, from the inverse information as a metric."""
    shares = []
    for move, bend in reversed(pairs):
        shares.append(move @ rest / (move @ bend))
        rest = rest - shares[-1] * bend
    step = place.covariance @ _beside(fixed, place, rest)
    for (move, bend), share in zip(pairs, reversed(shares), strict=True):
        step = step + (share - bend @ step / (move @ bend)) * move
    along = place.covariance @ fixed
    return step - (fixed @ step) / (fixed @ along) * along if fixed.any() else step


def _moved(likelihood: JeffreysLikelihood, place: Place, step: NDArray) -> Place:
    """Return the place after a step, halved until the value is no less; if it stays so, `place`."""
    least = place.value - _ROUNDING * (abs(place.value) + likelihood.weight.sum())
    for halvings in range(_MOST_HALVINGS):
        moved = likelihood.at(place.theta + step / 2**halvings)
        if moved.value >= least:
            return moved
    return place
