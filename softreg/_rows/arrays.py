"""Names for the shapes of arrays, a few operations on values, and what rows keep between passes.

Throughout: n rows (m in a block), d features, `width` coefficients of a score (d, and the intercept
if there is one), K scores, B problems.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# A product takes as long over a stored value of CSR as over this many dense ones (measured).
STORED_VALUE = 8
# A dense X is converted to CSR if its products then take this share of the time or less.
_MOSTLY_ZEROS = 1 / 3

# X of n rows, (n, d): an ndarray or CSR array.
Features = Any
# A value for each row, such as its weight, (n,).
PerRow = NDArray[np.floating]
# Coefficients, gradients and steps, (width, K).
Coef = NDArray[np.floating]
# Scores, probabilities and residuals of m rows, (K, m), C-contiguous.
Scores = NDArray[np.floating]
# A value for each row and problem, (B, m).
RowLosses = NDArray[np.floating]
# A value for each score, (K,).
PerScore = NDArray[np.floating]
# Numbers of steps, batches or rows: the same for all scores, or one for each, (K,).
Counts = PerScore | float
# A value for each problem, (B,).
PerProblem = NDArray[np.floating]
# Numbers of some rows, scores or problems, ascending.
Places = NDArray[np.integer]
Mask = NDArray[np.bool_]


def csr_rows(X: sparse.csr_array, rows: slice | Places) -> sparse.csr_array:
    """Return some rows of a CSR array: those of a slice without a copy of their entries."""
    if not isinstance(rows, slice):
        return X[rows]
    ends = X.indptr[rows.start : rows.stop + 1]
    inside = slice(ends[0], ends[-1])
    views, shape = (X.data[inside], X.indices[inside], ends - ends[0]), (len(ends) - 1, X.shape[1])
    return sparse.csr_array(views, shape=shape, copy=False)


def stacked(arrays: list[Any]) -> Any:
    """Return the rows of several arrays, all of NumPy's or all CSR, one after another."""
    if len(arrays) == 1:
        return arrays[0]
    if not sparse.issparse(arrays[0]):
        return np.concatenate(arrays)
    return sparse.csr_array(sparse.vstack(arrays, format="csr"))


def mostly_zeros(nonzeros: int, size: int) -> bool:
    """Return whether a dense array of this size is to be converted to CSR."""
    return STORED_VALUE * nonzeros <= _MOSTLY_ZEROS * size


def nonzero_rows(A: Coef | Mask) -> Places:
    """Return which rows of an array (m, K) hold a value that is not zero."""
    # From the places of these, few as a rule: NumPy's `any` along short rows takes five times as
    # long. It finds what is True eight times as fast as numbers that are not zero.
    rows = (A != 0).ravel().nonzero()[0] // A.shape[1]
    is_first = np.ones(len(rows), dtype=bool)
    np.not_equal(rows[1:], rows[:-1], out=is_first[1:])
    return rows[is_first]


def values_at_once(X: Any, on_host: int) -> int:
    """Return how many values of X to work on at a time: as its device says, or so many on hosts."""
    return X.on.block_values if hasattr(X, "on") else on_host


def joined_rows(n: int, parts: Iterable[tuple[slice, NDArray]], dtype: Any = None) -> NDArray:
    """Return n rows, (n, ...), of parts that cover them: beside them one part is held at a time.

    They have the dtype of the first part, or this one.
    """
    joined: Any = None
    for rows, part in parts:
        if joined is None:
            joined = np.empty((n, *part.shape[1:]), dtype or part.dtype, like=part)
        joined[rows] = part
    return joined


def covariance_of_image(V: NDArray, A: NDArray) -> NDArray[np.float64]:
    """Return the covariances of A T (u, q), given those of T (width, q), problem by problem.

    V is (B, p, p), p = width q, score after score; A is (u, width).
    """
    (B, p, _), (u, width) = V.shape, A.shape
    q = p // width
    by_scores = V.reshape(B, q, width, q, width).transpose(0, 1, 3, 2, 4)
    with np.errstate(over="ignore", invalid="ignore"):  # of columns that hardly vary at all
        image = (A @ by_scores @ A.T).transpose(0, 1, 3, 2, 4)
    return image.reshape(B, q * u, q * u)


class PickledByFields:
    """A dataclass that is pickled without what its cached properties made, which stays behind."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


class Store(dict[Hashable, Any]):
    """What is kept from pass to pass, by key; unpickled, in another process, it is empty."""

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the value of a key, which `make` makes when it is first asked for."""
        if key not in self:
            self[key] = make()
        return self[key]

    def __reduce__(self) -> tuple[type[Store], tuple[()]]:
        return type(self), ()


class ScoreStore(Store):
    """What a block keeps of its scores: the latest array (K, m) that was made.

    Attributes
    ----------
    superset : ScoreStore of the same rows and more scores, or None; if it has the first key that is
        asked for, the array is taken from it
    scores : ndarray (K,), the numbers of these scores among those of `superset`
    """

    def __init__(self, superset: ScoreStore | None = None, scores: Places | None = None) -> None:
        super().__init__()
        self.superset, self.scores = superset, scores

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the array of a key, made or taken from `superset` when it is first asked for."""
        if key not in self:
            superset, self.superset = self.superset, None
            self.clear()
            if superset is None or key not in superset:
                self[key] = make()
            else:
                self[key] = superset[key][self.scores]
        return self[key]


def aligned(array: NDArray) -> NDArray:
    """Return an array whose values lie where BLAS takes them, a copy if they did not.

    Those that came from another process may not; NumPy's own loops round otherwise.
    """
    return np.require(array, requirements=["ALIGNED"])


def sent_aligned(kind: type, *fields: Any) -> tuple:
    """Return what `__reduce__` is to return, so that arrays are `aligned` wherever they arrive."""
    # In protocol 5 Dask sends arrays apart, and they lie in its buffers then, wherever it is.
    return _arrived, (kind, pickle.dumps(fields, protocol=4))


def _arrived(kind: type, fields: bytes) -> Any:
    return kind(*pickle.loads(fields))


class ExactSum:
    """The sum of tuples of numbers and arrays, the same bits in whichever order they come.

    Each is held in three doubles that hardly overlap, 159 bits: exact as long as terms are within
    2^90 or so of each other. Shewchuk (1997), "Adaptive precision floating-point arithmetic",
    Discrete and Computational Geometry 18, 305-363, theorem 7 (two-sum) and section 2.3.

    Attributes
    ----------
    terms : list of [high, middle, low], one a number or array; empty: nothing was added
    """

    def __init__(self) -> None:
        self.terms: list[list[NDArray]] = []

    def add(self, values: Iterable) -> None:
        """Add a tuple of numbers and arrays."""
        arrays = [np.asarray(value, dtype=float) for value in values]
        if not self.terms:
            self.terms = [[np.zeros_like(array) for _ in range(3)] for array in arrays]
        with np.errstate(over="ignore", invalid="ignore"):  # inf and nan stay what they are
            for term, carried in zip(self.terms, arrays, strict=True):
                for place in range(3):
                    term[place], carried = _two_sum(term[place], carried)

    def merge(self, other: ExactSum) -> None:
        """Add what another sum holds."""
        for place in range(3 if other.terms else 0):
            self.add([term[place] for term in other.terms])

    def rounded(self) -> tuple:
        """Return the sum in doubles."""
        with np.errstate(over="ignore", invalid="ignore"):
            return tuple(_rounded(*term) for term in self.terms)


def _two_sum(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """Return a + b rounded, and what rounding has lost."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _rounded(high: NDArray, middle: NDArray, low: NDArray) -> NDArray:
    middle, low = _two_sum(middle, low)
    total, middle = _two_sum(high, middle)
    return np.where(np.isfinite(total), total + (middle + low), high)[()]


def plain(value: Any) -> Any:
    """Return a value as messages show it: no scalar of NumPy."""
    if isinstance(value, np.datetime64 | np.timedelta64):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value
