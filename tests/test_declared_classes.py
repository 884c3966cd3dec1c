"""The classes that a stream declares: two or more, each once, told apart and in an order."""

import numpy as np
import pandas as pd
import pytest

from softreg import SigmoidRegression, SoftmaxRegression

X = np.random.default_rng(0).normal(size=(6, 2))
y = np.arange(6) % 3
MODELS = pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])

WRONG = {
    "a number": 3,
    "a text": "012",
    "a set": {0, 1, 2},
    "none": [],
    "one": [0],
    "one, twice": [1, 1],
    "one of three twice": [0, 1, 2, 2],
    "two dimensions": [[0, 1, 2]],
    "ragged": [[0, 1], [2]],
    "NaN": [0, 1, 2, np.nan],
    "NaN among texts": ["a", "b", np.nan],
    "NaN among objects": np.array(["a", "b", np.nan], dtype=object),
    "None": [0, 1, None],
    "NA": [0, 1, pd.NA],
    "no time": np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
    "numbers and texts": [0, 1, "2"],
    "objects without order": [0, 1, object()],
}


@MODELS
@pytest.mark.parametrize("name", WRONG)
def test_wrong_classes_are_refused_by_name(kind, name):
    """The message says what classes must be; the estimator learns nothing."""
    model = kind(random_state=0)
    with pytest.raises(ValueError, match=r"(?s)classes=.*each once.*np\.unique\(y\)"):
        model.partial_fit(X, y, classes=WRONG[name])
    assert not hasattr(model, "classes_")


@MODELS
@pytest.mark.parametrize(
    "classes",
    [[2, 0, 1], range(3), (0, 1, 2), np.arange(3.0), pd.Index([0, 1, 2]), pd.Series([1, 0, 2])],
    ids=repr,
)
def test_classes_may_come_in_any_order_and_container(kind, classes):
    """They are sorted."""
    model = kind(random_state=0).partial_fit(X, y, classes=classes)
    assert model.classes_.tolist() == [0, 1, 2]


@MODELS
@pytest.mark.parametrize("dtype", [str, object])
def test_classes_may_be_texts_of_any_dtype(kind, dtype):
    """A name longer than those of the first chunk is whole."""
    names = np.array(["a", "b", "a long name"], dtype=dtype)
    model = kind(random_state=0).partial_fit(X[:2], names[:2], classes=names)
    model.partial_fit(X, names[y])
    np.testing.assert_array_equal(model.classes_, np.unique(names))


@MODELS
def test_declared_classes_are_no_measurements(kind):
    """Numbers that are no integers are refused, as in `fit`."""
    with pytest.raises(ValueError, match="continuous"):
        kind().partial_fit(X, y + 0.25, classes=[0.25, 1.25, 2.25])
