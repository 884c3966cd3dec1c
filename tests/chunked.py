"""Data in chunks, and the law that fits of them obey: shared by the tests of chunks."""

import numpy as np
import pytest
from problems import overlapping

X, y = overlapping(n=150, K=3)
X = X.round(3)  # older releases of pandas round the last digit of what they read from a text
NAMES = np.array(["ash", "birch", "cedar"])
WEIGHT = np.random.default_rng(3).uniform(0.1, 3, 150).round(3)


def parts(*arrays, rows=40, order=None):
    """The arrays in chunks of so many rows: a function that makes an iterator of tuples."""
    cuts = [slice(start, start + rows) for start in range(0, arrays[0].shape[0], rows)]
    cuts = cuts if order is None else [cuts[i] for i in order]
    return lambda: (tuple(getattr(a, "iloc", a)[cut] for a in arrays) for cut in cuts)


def labels(seed=0):
    """A matrix of three labels that depend on X, and overlap."""
    rng = np.random.default_rng(seed)
    return (X @ rng.normal(size=(4, 3)) + rng.logistic(size=(150, 3)) > 0.5) * 1.0


def assert_same_fit(one, other):
    """The same optimum to 1e-8, and every attribute of the same kind."""
    assert one.objective_ == pytest.approx(other.objective_, rel=1e-8)
    assert one.converged_ and other.converged_
    fitted = [{k for k in vars(of) if k.endswith("_") and k[0] != "_"} for of in (one, other)]
    assert fitted[0] == fitted[1]
    for name in ("classes_", "feature_names_in_"):
        np.testing.assert_array_equal(getattr(one, name, None), getattr(other, name, None))
    assert one.coef_.dtype == other.coef_.dtype
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-3)
    np.testing.assert_allclose(one.intercept_, other.intercept_, atol=1e-3)
