"""Leave-one-out of fitted models: `softreg.inference.loo`."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV
from softreg.inference import loo
from softreg.solvers import MiniBatch

X, Y = load_iris(return_X_y=True)
EXACT = {"solver": "newton-cholesky", "tol": 1e-10}


def log_loss(P, y):
    return -np.log(P[np.arange(len(y)), y])


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_held_out_probabilities_are_those_of_refits(C):
    """Row by row, what scikit-learn predicts of a row after a fit to all others."""
    held_out = loo(SoftmaxRegression(C).fit(X, Y), X, Y)
    brute = cross_val_predict(
        LogisticRegression(C=C, **EXACT), X, Y, cv=LeaveOneOut(), method="predict_proba"
    )
    np.testing.assert_allclose(held_out.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(held_out.probabilities, brute, atol=0.02)
    mean, expected = log_loss(held_out.probabilities, Y).mean(), log_loss(brute, Y).mean()
    assert mean == pytest.approx(expected, rel=0.01)


def test_leverages_add_up_to_the_number_of_parameters_without_a_penalty():
    """The hat matrix of an unpenalised fit has the rank of its Hessian, (K - 1) (d + 1)."""
    y = np.random.default_rng(0).integers(3, size=len(X))  # not separable
    held_out = loo(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    assert held_out.leverage.shape == (150,)
    assert held_out.leverage.sum() == pytest.approx(2 * 5, rel=1e-6)


def test_each_label_has_its_own_leverage():
    """Labels are left out one by one, as binary models are."""
    A, L = make_multilabel_classification(n_samples=80, n_classes=3, n_labels=1, random_state=1)
    held_out = loo(SigmoidRegression(0.1).fit(A, L), A, L)
    assert held_out.probabilities.shape == held_out.leverage.shape == (80, 3)
    for label, y in enumerate(L.T):
        alone = loo(SoftmaxRegression(0.1).fit(A, y), A, y)
        np.testing.assert_allclose(
            held_out.probabilities[:, label], alone.probabilities[:, 1], rtol=1e-4
        )
        np.testing.assert_allclose(held_out.leverage[:, label], alone.leverage, rtol=1e-4)


def test_terms_of_the_fit_are_terms_of_the_leaving_out():
    """Weights and offsets: a row of weight zero keeps its prediction, and has no leverage."""
    rng = np.random.default_rng(2)
    weight, offset = rng.uniform(size=150), rng.normal(size=(150, 3))
    weight[:5] = 0
    model = SoftmaxRegression(0.1).fit(X, Y, weight, offset)
    held_out = loo(model, X, Y, weight, offset)
    kept = model.predict_proba(X[:5], offset[:5])
    np.testing.assert_allclose(held_out.probabilities[:5], kept, rtol=1e-6)
    assert (held_out.leverage[:5] == 0).all() and (held_out.leverage[5:] > 0).all()


def test_the_kind_of_estimator_and_of_X_does_not_matter():
    """A model chosen by cross-validation, sparse and single-precision X: the same predictions."""
    expected = loo(SoftmaxRegression(1.0).fit(X, Y), X, Y).probabilities
    chosen = SoftmaxRegressionCV([1.0]).fit(X, Y)
    np.testing.assert_allclose(loo(chosen, X, Y).probabilities, expected, rtol=1e-5)
    rows = sparse.csr_array(X)
    probabilities = loo(SoftmaxRegression(1.0).fit(rows, Y), rows, Y).probabilities
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)
    single = X.astype(np.float32)
    probabilities = loo(SoftmaxRegression(1.0).fit(single, Y), single, Y).probabilities
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)


def test_what_cannot_be_left_out_is_refused():
    """Models without a fit, fits to other rows or classes, and models off their optimum."""
    with pytest.raises(NotFittedError):
        loo(SoftmaxRegression(), X, Y)
    model = SoftmaxRegression().fit(X, Y)
    with pytest.raises(ValueError, match="not at the optimum of these rows.*that it was fitted to"):
        loo(model, X, Y[::-1])
    with pytest.raises(ValueError, match=r"y holds the classes \[1, 2\].*fitted to \[0, 1, 2\]"):
        loo(model, X[50:], Y[50:])
    labels = SigmoidRegression().fit(X, np.eye(3)[Y][:, :2])
    with pytest.raises(ValueError, match="y must have a column for each label, as it had in fit"):
        loo(labels, X, Y == 1)
    lasso = SoftmaxRegression(l1_ratio=1.0).fit(X, Y)
    with pytest.raises(ValueError, match="not at the optimum of these rows.*that it was fitted to"):
        loo(lasso, X, Y[::-1])
    with pytest.raises(ValueError, match="not at the optimum of these rows"):
        loo(SoftmaxRegression(C=0.001, l1_ratio=1.0).fit(X, Y), X[:120], Y[:120])
    rough = SoftmaxRegression(solver=MiniBatch(n_epochs=1), random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="no model of MiniBatch"):
        loo(rough, X, Y)
