"""Predictions and scores are made in blocks: no n x K matrix is held beside the result."""

import gc
import tracemalloc
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV

# A matrix of all scores takes 92 MB, more than the tests allow.
N, K, MEGABYTE = 40_000, 300, 2**20
RNG = np.random.default_rng(0)
DENSE = RNG.normal(size=(N, 3))
X = {
    "dense": DENSE,
    "float32": DENSE.astype(np.float32),
    "sparse": sp.csr_array(DENSE * (DENSE > 0)),
}
CLASS = np.arange(N) % K
ROW_LABELS = np.sort((np.arange(N)[:, None] + [0, 1, 5]) % K, axis=1)
LABELS = sp.csr_array((np.ones(3 * N), ROW_LABELS.ravel(), 3 * np.arange(N + 1)), shape=(N, K))
FIRST = slice(0, 2 * K)


def streamed(model, y):
    return model.partial_fit(DENSE[FIRST], y[FIRST], classes=np.arange(K))


MODELS = {
    "classes": streamed(SoftmaxRegression(), CLASS),
    "labels": streamed(SigmoidRegression(), LABELS.toarray()),
    "sparse labels": streamed(SigmoidRegression(), LABELS),
}
METHODS = ["predict", "predict_proba", "predict_log_proba", "decision_function"]


def memory_beside_result(call):
    """What a call returns, and the most memory that was held at a time beside it, in MB."""
    gc.collect()
    tracemalloc.start()
    try:
        result = call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    arrays = (result.data, result.indices, result.indptr) if sp.issparse(result) else (result,)
    return result, (peak - sum(np.asarray(array).nbytes for array in arrays)) / MEGABYTE


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", X)
@pytest.mark.parametrize("name", MODELS)
def test_predictions_hold_64_megabytes_beside_the_result(name, form, method):
    """And are those of a few rows by themselves."""
    predict = getattr(MODELS[name], method)
    result, beside = memory_beside_result(lambda: predict(X[form]))
    assert beside < 64
    few, result = predict(X[form][-50:]), result[-50:]
    if sp.issparse(result):
        few, result = few.toarray(), result.toarray()
    np.testing.assert_allclose(result, few, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_offset_is_not_copied(dtype):
    """Neither to check it, nor for another precision, which its scores do not need."""
    offset, model = np.zeros((N, K), dtype), MODELS["classes"]
    offset[:, 7] = 1e3
    result, beside = memory_beside_result(lambda: model.predict(DENSE, offset=offset))
    assert beside < 64 and (result == 7).all()


@cache
def cross_validated(kind):
    """A model whose score is minus the log loss."""
    y = CLASS if kind is SoftmaxRegressionCV else LABELS
    return kind([1e-3], cv=2, tol=0.1).fit(DENSE[FIRST], y[FIRST])


SCORES = {
    "classes": lambda y: MODELS["classes"].score(DENSE, CLASS),
    "one-hot classes": lambda y: MODELS["classes"].score(DENSE, y),
    "labels": lambda y: MODELS["labels"].score(DENSE, LABELS),
    "log loss": lambda y: cross_validated(SoftmaxRegressionCV).score(DENSE, CLASS),
    "log loss of labels": lambda y: cross_validated(SigmoidRegressionCV).score(DENSE, LABELS),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_hold_64_megabytes(name):
    """Of classes, class probabilities and labels, by accuracy and by the log loss."""
    one_hot = np.eye(K)[CLASS]
    SCORES[name](one_hot)  # fits the model
    assert memory_beside_result(lambda: SCORES[name](one_hot))[1] < 64


def test_scores_of_blocks_add_up():
    """The log loss of all rows is the weighted mean of those of two parts; so is the accuracy."""
    cv, weight = cross_validated(SoftmaxRegressionCV), RNG.random(N)
    parts, share = (slice(0, 9_000), slice(9_000, N)), weight[:9_000].sum() / weight.sum()
    uncertain = 0.5 * np.eye(K)[CLASS] + 0.5 / K
    for model, y in ((cv, CLASS), (MODELS["classes"], uncertain), (MODELS["labels"], LABELS)):
        whole = model.score(DENSE, y, weight)
        first, rest = (model.score(DENSE[rows], y[rows], weight[rows]) for rows in parts)
        assert whole == pytest.approx(share * first + (1 - share) * rest)
