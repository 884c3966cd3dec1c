"""The lasso's quadratic problem, exactly: w'Hw / 2 - b'w + sum l1 |w|, by active sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Places
from softreg.solvers.linalg.factors import refined_solution

# Violations of the optimality conditions below this share of a strength are rounding.
_ROUNDING = 1e-10
# And those below this share of b, where strengths are next to nothing.
GRADIENT_ROUNDING = 1e-15
# Steps of the search for the active set.
_MOST_SEARCHES = 1000


def lasso_minimiser(H: NDArray, b: NDArray, l1: NDArray, start: NDArray) -> NDArray:
    """Return argmin_w w'Hw / 2 - b'w + sum_j l1_j |w_j|, (q,), from `start` (q,).

    Each guess of which w_j are not zero, and of their signs, comes from a gradient step at the
    minimiser for the guess before (primal-dual active sets: Hintermueller, Ito and Kunisch 2002,
    SIAM Journal on Optimization 13, 865-888): a few guesses as a rule, but they may cycle. So once
    no more coefficients are right than by the guess before, the set is searched for with an
    objective that always falls (Lee and others 2007, "Efficient sparse coding algorithms", Advances
    in Neural Information Processing Systems 19, algorithm 1).
    """
    h, w, most_right, allowed = H.diagonal(), start, -1, _allowed(b, l1)
    r = b - H @ w
    while True:
        moved = h * w + r
        active = np.flatnonzero(np.abs(moved) > l1)
        signs = np.sign(moved[active])
        w = np.zeros_like(start)
        w[active] = refined_solution(H[active[:, None], active], b[active] - l1[active] * signs)
        r = b - H @ w
        r[active] = signs * l1[active]
        is_right = np.abs(r) <= allowed
        is_right[active] = w[active] * signs > 0
        n_right = int(np.count_nonzero(is_right))
        if n_right == len(w):
            return w
        if n_right <= most_right:
            return _searched(H, b, l1, start)
        most_right = n_right


def _allowed(b: NDArray, l1: NDArray) -> NDArray:
    """Return the gradients that keep a zero, (q,): up to their strength, but for rounding."""
    return l1 * (1 + _ROUNDING) + GRADIENT_ROUNDING * np.abs(b).max(initial=0)


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
    H_active, old, strengths = H[active[:, None], active], w[active], l1[active]
    target = refined_solution(H_active, b[active] - strengths * signs)
    step, slopes = target - old, H_active @ old - b[active]
    with np.errstate(divide="ignore", invalid="ignore"):
        zeros = -old / step
    crossings = np.unique(zeros[(zeros > 0) & (zeros < 1)])
    t = np.append(crossings, 1.0)[:, None]
    sizes = np.abs(old + t * step) @ strengths - np.abs(old) @ strengths
    gains = t[:, 0] * (step @ slopes) + np.square(t[:, 0]) * (step @ H_active @ step) / 2 + sizes
    best = int(np.argmin(gains))
    end = np.where(zeros == t[best], 0.0, old + t[best] * step)
    # Or all of the way, without what went past its zero.
    kept = np.where(target * signs > 0, target, 0.0)
    change = kept - old
    gain = change @ (slopes + H_active @ change / 2) + (np.abs(kept) - np.abs(old)) @ strengths
    if gain < gains[best]:
        end = kept
    elif gains[best] >= 0:
        return w, True
    new = w.copy()
    new[active] = end
    return new, not crossings.size
