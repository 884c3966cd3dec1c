"""The lasso's quadratic problem, exactly: w'Hw / 2 - b'w + sum l1 |w|, by active sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Places
from softreg.solvers.linalg.factors import cholesky, solved

# Violations of the optimality conditions below this share of a strength are rounding.
_ROUNDING = 1e-10
# And those below this share of b, where strengths are next to nothing.
GRADIENT_ROUNDING = 1e-15
# Guesses of the active set as a whole, before it is searched for; searches that follow.
_MOST_GUESSES, _MOST_SEARCHES = 12, 1000


def lasso_minimiser(H: NDArray, b: NDArray, l1: NDArray, start: NDArray) -> NDArray:
    """Return argmin_w w'Hw / 2 - b'w + sum_j l1_j |w_j|, (q,), from `start` (q,).

    Each guess of which w_j are not zero, and of their signs, comes from a gradient step at the
    minimiser for the guess before (primal-dual active sets: Hintermueller, Ito and Kunisch 2002,
    SIAM Journal on Optimization 13, 865-888): a few guesses as a rule, but they may cycle. Then the
    set is searched for with an objective that always falls (Lee and others 2007, "Efficient sparse
    coding algorithms", Advances in Neural Information Processing Systems 19, algorithm 1).
    """
    h, w, guesses, allowed = H.diagonal(), start, set(), _allowed(b, l1)
    r = b - H @ w
    for _ in range(_MOST_GUESSES):
        moved = h * w + r
        active = np.flatnonzero(np.abs(moved) > l1)
        signs = np.sign(moved[active])
        guess = active.tobytes() + signs.tobytes()
        if guess in guesses:
            break
        guesses.add(guess)
        w = np.zeros_like(start)
        w[active] = _stationary(H, b, l1, active, signs)
        r = b - H @ w
        r[active] = signs * l1[active]
        if (w[active] * signs > 0).all() and (np.abs(r) <= allowed).all():
            return w
    return _searched(H, b, l1, start)


def _allowed(b: NDArray, l1: NDArray) -> NDArray:
    """Return the gradients that keep a zero, (q,): up to their strength, but for rounding."""
    return l1 * (1 + _ROUNDING) + GRADIENT_ROUNDING * np.abs(b).max(initial=0)


def _stationary(H: NDArray, b: NDArray, l1: NDArray, active: Places, signs: NDArray) -> NDArray:
    """Return the active w_j where the gradient of w'Hw / 2 - b'w + sum l1 sign w is zero."""
    if not active.size:
        return np.zeros(0)
    factor = cholesky(H[active[:, None], active])
    return solved(factor, solved(factor, b[active] - l1[active] * signs), transposed=True)


def _searched(H: NDArray, b: NDArray, l1: NDArray, start: NDArray) -> NDArray:
    """Return the minimiser, from `start`, by steps each of which lowers the objective."""
    w, limit, allowed = start.copy(), len(start), _allowed(b, l1)
    for _ in range(_MOST_SEARCHES):
        # 1. The best point on the way to the stationary one, until signs stay as they are.
        active = np.flatnonzero(w)
        w, is_stationary = _on_the_way(H, b, l1, w, active, np.sign(w[active]))
        if not is_stationary:
            continue
        # 2. Those that should not be zero join: all, or only the worst where that has not helped.
        r = b - H @ w
        with np.errstate(over="ignore"):  # of strengths that are next to nothing
            excess = np.where((w == 0) & (np.abs(r) > allowed), np.abs(r) / l1 - 1, -1.0)
        worst = np.argsort(-excess)[:limit]
        joining = worst[excess[worst] > 0]
        if not joining.size:
            break
        active = np.union1d(np.flatnonzero(w), joining)
        signs = np.where(w[active] != 0, np.sign(w[active]), np.sign(r[active]))
        before = w
        w, _ = _on_the_way(H, b, l1, w, active, signs)
        if (w == before).all():
            if limit == 1:
                break
            limit = max(1, joining.size // 4)
    return w


def _on_the_way(
    H: NDArray, b: NDArray, l1: NDArray, w: NDArray, active: Places, signs: NDArray
) -> tuple[NDArray, bool]:
    """Return the best point between w and the stationary one, and whether that is the latter.

    The objective along the way is quadratic between the points at which a w_j is zero.
    """
    if not active.size:
        return w, True
    target = _stationary(H, b, l1, active, signs)
    old, strengths = w[active], l1[active]
    step = target - old
    with np.errstate(divide="ignore", invalid="ignore"):
        zeros = -old / step
    crossings = np.unique(zeros[(zeros > 0) & (zeros < 1)])
    t = np.append(crossings, 1.0)[:, None]
    slope = step @ (H[active] @ w - b[active])
    curvature = step @ (H[active[:, None], active] @ step)
    sizes = np.abs(old + t * step) @ strengths - np.abs(old) @ strengths
    gains = t[:, 0] * slope + np.square(t[:, 0]) * curvature / 2 + sizes
    best = int(np.argmin(gains))
    if gains[best] >= 0:
        return w, True
    new = w.copy()
    new[active] = old + t[best] * step
    new[active[zeros == t[best]]] = 0
    return new, best == len(crossings) and not crossings.size
