"""Comparisons of each row's class with the others, and linear programs of directions over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import null_space, qr
from scipy.optimize import linprog

from softreg._estimators.base import prediction_slices

# Rows have length one in scaled columns. There a comparison is a tie within this distance, far
# above rounding, and HiGHS's tolerance is the least that it takes.
TIE = 1e-9
_FEASIBLE = 1e-10
# Seconds, as its interior-point method may go on for ever where its simplex method has failed.
_LAST_TRY = {"time_limit": 60.0}
# Singular values and entries of a direction are rounding below this share of the largest; what ties
# leave free is less accurate.
ROUNDING, _NOTHING = 1e-9, 1e-7
# Columns are collinear that are combinations of others within this share: such are intensities that
# a file has with six digits. HiGHS's simplex method fails where they are not left out.
_COLLINEAR = 1e-6
# The first program has so many comparisons for each coefficient, and each round adds as many at
# most: the time of programs grows with the square of their number.
_COMPARISONS = 3
# A direction becomes sparse in so many rounds, in which coefficients weigh by the inverse of their
# size before and this share of the largest (Candes, Wakin and Boyd 2008, equation 9).
_ROUNDS, _SHARE = 4, 0.1


@dataclass(frozen=True, eq=False)
class Comparisons:
    """The margin of each row's class over each other class k, x_i (t_yi - t_k), by directions T.

    Rows x_i are of scaled columns, with a trailing 1 if there is an intercept, and have length one;
    margins (n, K) are inf where k is the row's own class. Directions T are (w, K).

    Attributes
    ----------
    data : ndarray or CSR (n, d), in the user's units
    codes : ndarray (n,), the class of each row
    n_classes : int, K
    centre, scale : ndarray (d,)
    intercept : bool
    columns : ndarray (w,), the scaled columns that x consists of
    """

    data: Any
    codes: NDArray[np.intp]
    n_classes: int
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    intercept: bool
    columns: NDArray[np.intp]

    @classmethod
    def of_rows(
        cls, data: Any, codes: NDArray[np.intp], n_classes: int, intercept: bool
    ) -> Comparisons:
        """Return the comparisons of rows of classes that are numbered.

        Columns are centred at their medians, if there is an intercept, and divided by the root mean
        square of what is not zero then. So dummies have values 0 and 1 or -1, mostly 0: programs
        of sparse columns take a fraction of the time, and their ties are exact.
        """
        n, d = data.shape
        centre = _medians(data) if intercept else np.zeros(d)
        lengths, counts = np.zeros(d), np.zeros(d)
        for rows in prediction_slices(n, n * d):
            deviation = _dense(data[rows]) - centre
            lengths = np.hypot(lengths, np.hypot.reduce(deviation, axis=0))  # no square overflows
            counts += (deviation != 0).sum(axis=0)
        scale = lengths / np.sqrt(np.maximum(counts, 1))
        scale = np.exp2(np.rint(np.log2(np.where(scale > 0, scale, 1.0))))
        return cls(data, codes, n_classes, centre, scale, intercept, np.arange(d + intercept))

    @property
    def per_pair(self) -> int:
        """How many comparisons of two classes a program starts with."""
        return -(-_COMPARISONS * len(self.columns) // (self.n_classes - 1))

    def scaled(self, rows: NDArray | slice) -> NDArray:
        """Return all scaled columns of some rows, (m, width)."""
        Z = (_dense(self.data[rows]) - self.centre) / self.scale
        return np.hstack([Z, np.ones((len(Z), int(self.intercept)))])

    def unit_rows(self, rows: NDArray | slice) -> NDArray:
        """Return some rows x, (m, w)."""
        return self.scaled(rows)[:, self.columns] / self.lengths[rows, None]

    @cached_property
    def lengths(self) -> NDArray:
        """The lengths of rows of all scaled columns, (n,); 1 for a row of zeros."""
        lengths = [np.linalg.norm(self.scaled(rows), axis=1) for rows in self.blocks()]
        return np.concatenate([np.where(length > 0, length, 1.0) for length in lengths])

    def blocks(self) -> list[slice]:
        """Return slices of the rows."""
        n = len(self.codes)
        return prediction_slices(n, n * max(len(self.scale) + 1, self.n_classes))

    def of_independent_columns(self) -> Comparisons:
        """Return the comparisons by columns that span all others, none of them collinear."""
        R = np.empty((0, len(self.columns)))
        for rows in self.blocks():
            stacked = np.vstack([R, self.unit_rows(rows)])
            R = qr(stacked, mode="r")[0][: stacked.shape[1]]
        pivoted, order = qr(R, mode="r", pivoting=True)[:2]
        size = np.abs(np.diag(pivoted))
        kept = np.sort(order[: np.count_nonzero(size > _COLLINEAR * size[0])])
        return replace(self, columns=self.columns[kept])

    def working(self, W: NDArray, b: NDArray) -> NDArray:
        """Return the direction T (width, K) of coefficients W (d, K) and b (K,)."""
        T = W * self.scale[:, None]
        return np.vstack([T, b + self.centre @ W]) if self.intercept else T

    def raw(self, T: NDArray) -> NDArray:
        """Return a direction T (width, K) in the user's units, the intercept's rounding zero."""
        if not self.intercept:
            return T / self.scale[:, None]
        W = T[:-1] / self.scale[:, None]
        b = T[-1] - self.centre @ W
        is_rounding = np.abs(b) <= ROUNDING * (np.abs(T[-1]) + np.abs(self.centre) @ np.abs(W))
        return np.vstack([W, np.where(is_rounding, 0.0, b)])

    def margins(self, T: NDArray) -> NDArray:
        """Return the margins of all comparisons, (n, K)."""
        Z = np.concatenate([self.unit_rows(rows) @ T for rows in self.blocks()])
        own = np.arange(len(Z)), self.codes
        margins = Z[own][:, None] - Z
        margins[own] = np.inf
        return margins

    def matrix(self, chosen: NDArray) -> sparse.csr_array:
        """Return the matrix whose product with T, class after class, is the margins of some.

        `chosen` is a mask (n, K) of m comparisons; the matrix is (m, K w).
        """
        rows, others = chosen.nonzero()
        x, places, w = self.unit_rows(rows), np.arange(len(rows)), len(self.columns)
        columns = np.stack([self.codes[rows], others], axis=1)[..., None] * w + np.arange(w)
        values = np.stack([x, -x], axis=1).ravel()
        index = np.repeat(places, 2 * w), columns.ravel()
        A = sparse.csr_array((values, index), shape=(len(rows), self.n_classes * w))
        A.eliminate_zeros()
        return A

    def smallest(self, values: NDArray, among: NDArray) -> NDArray:
        """Return a mask (n, K) of the `per_pair` smallest values of each two classes, of some."""
        found = np.zeros_like(among)
        for j in range(self.n_classes):
            of_class = np.flatnonzero(self.codes == j)
            for k in range(self.n_classes):
                rows = of_class[among[of_class, k]]
                order = np.argsort(values[rows, k], kind="stable")
                found[rows[order[: self.per_pair]], k] = True
        return found

    def changed_by(self, free: NDArray, among: NDArray) -> NDArray:
        """Return how far directions `free` (w, K, r) can move margins of some comparisons, (n, K).

        Zero where `among`, a mask (n, K), is False.
        """
        changes = np.zeros(among.shape)
        for j in range(self.n_classes):
            rows = np.flatnonzero((self.codes == j) & among.any(axis=1))
            x = self.unit_rows(rows)
            for k in range(self.n_classes):
                changes[rows, k] = np.linalg.norm(x @ (free[:, j] - free[:, k]), axis=1)
        return np.where(among, changes, 0.0)


def separated_comparisons(comparisons: Comparisons, margins: NDArray) -> NDArray:
    """Return which comparisons some direction puts above zero, none being below, (n, K).

    `margins` (n, K) are those of any direction: the program starts with comparisons that have
    small ones.
    """
    reduced = comparisons.of_independent_columns()
    chosen = reduced.smallest(margins, np.isfinite(margins))
    while True:
        # 1. Separate as many of the chosen comparisons as can be.
        margins = reduced.margins(_widest(reduced, chosen))
        # 2. The others are ties in all directions that separate, and so is all that they span.
        ties = chosen & (margins < 0.5)
        free = _directions_of_ties(reduced, ties)
        # 3. Add comparisons that the direction violates, or else some that need not be ties.
        new = reduced.smallest(margins, (margins < -TIE) & ~chosen)
        if not new.any():
            undecided = (np.abs(margins) <= TIE) & ~chosen
            changes = reduced.changed_by(free, undecided)
            new = reduced.smallest(-changes, changes > _NOTHING)
        if not new.any():
            return (margins > TIE) & ~ties & np.isfinite(margins)
        chosen |= new


def _widest(comparisons: Comparisons, chosen: NDArray) -> NDArray:
    """Return the T (w, K) with the largest sum of min(margin, 1) of chosen ones, none negative.

    The coefficients of the first class are zero.
    """
    w = len(comparisons.columns)
    A = comparisons.matrix(chosen)[:, w:]
    m, size = A.shape
    program = {
        "c": np.concatenate([np.zeros(size), -np.ones(m)]),
        "A_ub": sparse.hstack([-A, sparse.csr_array(sparse.eye(m))], format="csr"),
        "b_ub": np.zeros(m),
        "bounds": [(None, None)] * size + [(0, 1)] * m,
    }
    return np.concatenate([np.zeros(w), _solution(program)[:size]]).reshape(-1, w).T


def sparse_direction(comparisons: Comparisons, separated: NDArray, margins: NDArray) -> NDArray:
    """Return a T (width, K) that separates what can be, with a small sum of absolute values.

    `separated` (n, K) are the comparisons that can be, and `margins` (n, K) those of any direction.
    Those of T are at least one in the user's rows, of any length; of two classes the first is zero.
    """
    wide = len(comparisons.columns) > len(comparisons.codes)
    comparisons = comparisons.of_independent_columns() if wide else comparisons
    chosen = comparisons.smallest(margins, np.isfinite(margins))
    T = np.zeros((len(comparisons.columns), comparisons.n_classes))
    for _ in range(_ROUNDS):
        size = np.abs(T) + _SHARE * np.abs(T).max() if T.any() else np.ones_like(T)
        T, chosen = _least(comparisons, separated, 1 / size, chosen)
    gain = (comparisons.margins(T) * comparisons.lengths[:, None])[separated].min()
    all_columns = np.zeros((len(comparisons.scale) + comparisons.intercept, T.shape[1]))
    all_columns[comparisons.columns] = (T - T[:, :1] if T.shape[1] == 2 else T) / gain
    return all_columns


def _least(
    comparisons: Comparisons, separated: NDArray, cost: NDArray, chosen: NDArray
) -> tuple[NDArray, NDArray]:
    """Return the T (width, K) of least absolute values at a cost (width, K), and `chosen`.

    Of the comparisons in `separated`, (n, K), those chosen have margins of one or more, and all
    have some; no others are below zero. Comparisons that had to be are chosen, too.
    """
    while True:
        A = comparisons.matrix(chosen)
        program = {
            "c": np.tile(cost.T.ravel(), 2),
            "A_ub": sparse.hstack([-A, A], format="csr"),
            "b_ub": -separated[chosen].astype(float),
            "bounds": (0, None),
        }
        up, down = np.split(_solution(program), 2)
        T = (up - down).reshape(comparisons.n_classes, -1).T
        T = np.where(np.abs(T) > ROUNDING * np.abs(T).max(), T, 0.0)
        margins = comparisons.margins(T)
        wrong = (margins < -TIE) | (separated & (margins <= TIE))
        new = comparisons.smallest(margins, wrong & ~chosen)
        if not new.any():
            return T, chosen
        chosen = chosen | new


def _directions_of_ties(comparisons: Comparisons, ties: NDArray) -> NDArray:
    """Return the directions (w, K, r) in which some comparisons, a mask (n, K), are ties.

    They are orthonormal, but for what moves all classes alike, which is left out.
    """
    K, w = comparisons.n_classes, len(comparisons.columns)
    R = np.linalg.qr(comparisons.matrix(ties).toarray(), mode="r")
    free = null_space(R, rcond=ROUNDING) if len(R) else np.eye(K * w)
    free = free.reshape(K, w, -1).swapaxes(0, 1)
    return free - free.mean(axis=1, keepdims=True)


def _solution(program: dict[str, Any]) -> NDArray:
    """Return the solution of a linear program; RuntimeError if HiGHS finds none."""
    tight = {"primal_feasibility_tolerance": _FEASIBLE}
    method: Any
    options: Any
    for method, options in (("highs-ds", tight), ("highs-ds", {}), ("highs-ipm", _LAST_TRY)):
        solved = linprog(**program, method=method, options=options)
        if solved.status == 0:
            return solved.x
    raise RuntimeError(
        f"HiGHS did not solve the linear program of {program['A_ub'].shape[0]} comparisons that "
        f"looks for a separation ({solved.message}); leave out columns that are nearly collinear."
    )


def _dense(rows: Any) -> NDArray[np.float64]:
    """Return rows (m, d), an array or CSR, as an array of doubles."""
    dense: Any = rows
    return (dense.toarray() if sparse.issparse(rows) else dense).astype(np.float64, copy=False)


def _medians(data: Any) -> NDArray[np.float64]:
    """Return the medians of columns, (d,)."""
    if not sparse.issparse(data):
        return np.median(data.astype(np.float64, copy=False), axis=0)
    columns: Any = sparse.csc_array(data)  # type: ignore[call-overload]
    n, d = columns.shape
    medians, often = np.zeros(d), np.flatnonzero(np.diff(columns.indptr) >= n / 2)
    if often.size:
        medians[often] = np.median(columns[:, often].toarray().astype(np.float64), axis=0)
    return medians
