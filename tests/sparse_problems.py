"""F of sparse penalties and its optimality conditions, written a second time in plain numpy.

    F(W, b) = (1/S) sum_i s_i loss(z_i, y_i) + (1/(C S)) [ (1-a)/2 sum_kj f_j W_kj^2
                                                           + a sum_g f_g ||W_g|| ]

Nothing here comes from softreg. W is (K, d), or (1, d) of two classes; `groups` (K, d) numbers the
groups of its entries, by default each entry by itself.
"""

import numpy as np
from problems import scores
from scipy.special import log_softmax, logsumexp


def by_feature(K, d):
    """Groups of one feature's coefficients in all classes."""
    return np.tile(np.arange(d), (K, 1))


def by_label(labels, K, *, over_classes=True):
    """Groups of features with the same label, in all classes or within each."""
    numbers = np.unique(labels, return_inverse=True)[1]
    return np.add.outer(np.arange(K) * (0 if over_classes else numbers.max() + 1), numbers)


def lengths(W, groups=None):
    """The length of each entry's group, in the shape of W."""
    if groups is None:
        return np.abs(W)
    return np.sqrt(np.bincount(groups.ravel(), np.square(W).ravel()))[groups]


def _terms(X, Y, C, sample_weight, penalty_factor):
    s = np.ones(len(Y)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    f = np.ones(X.shape[1]) if penalty_factor is None else np.asarray(penalty_factor, dtype=float)
    return s / s.sum(), f / (C * s.sum())


def objective(
    W,
    b,
    X,
    Y,
    C,
    l1_ratio,
    groups=None,
    *,
    sample_weight=None,
    offset=None,
    penalty_factor=None,
):
    """F(W, b)."""
    s, strength = _terms(X, Y, C, sample_weight, penalty_factor)
    Z = scores(X, W, b, offset)
    size = lengths(W, groups)
    sparse = np.divide(np.square(W), size, out=np.zeros_like(W), where=size > 0)
    penalty = strength * ((1 - l1_ratio) / 2 * np.square(W) + l1_ratio * sparse)
    return s @ (logsumexp(Z, axis=1) - (Y * Z).sum(axis=1)) + penalty.sum()


def violation(
    W,
    b,
    X,
    Y,
    C,
    l1_ratio,
    groups=None,
    *,
    sample_weight=None,
    offset=None,
    penalty_factor=None,
):
    """How far (W, b) is from the conditions of an optimum, and how far zeros are inside theirs.

    Returns (worst, slack): the largest distance of zero from a subdifferential, as a share of the
    strength there, intercepts included; and for each entry that is zero how much smaller than its
    strength the group's gradient is, as a share, inf elsewhere, (K, d).
    """
    s, strength = _terms(X, Y, C, sample_weight, penalty_factor)
    rows = len(W)
    P = np.exp(log_softmax(scores(X, W, b, offset), axis=1))
    R = s[:, None] * (P - Y)[:, -rows:]
    G = np.asarray(R.T @ X) + strength * (1 - l1_ratio) * W
    size, l1 = lengths(W, groups), l1_ratio * strength * np.ones_like(W)
    pull = np.divide(l1, size, out=np.zeros_like(W), where=size > 0)
    unit = np.where(l1 > 0, l1, strength.max())
    rest = lengths(G + pull * W, groups) / unit
    distance = np.where(size > 0, rest, np.maximum(rest - (l1 > 0), 0))
    of_intercepts = np.abs(R.sum(axis=0)).max() / (unit.min() * max(1, np.abs(X).max()))
    return max(distance.max(), of_intercepts), np.where(size > 0, np.inf, 1 - rest)
