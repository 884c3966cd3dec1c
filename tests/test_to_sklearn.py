"""scikit-learn's own classifiers with softreg's coefficients predict the same."""

import copy

import numpy as np
import pytest
from exported import FRAME, MODELS, dense, fitted, with_coefficients
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from softreg import SoftmaxRegression
from softreg.export import to_sklearn

WITHOUT_COUNTERPART = ["labels-thresholds", "one-vs-rest-thresholds", "sigmoid-two", "one-label"]
PLAIN = [name for name in MODELS if name not in WITHOUT_COUNTERPART]


@pytest.mark.parametrize("name", PLAIN)
def test_the_classifier_predicts_the_same(name):
    """Classes or labels, and probabilities, to rounding."""
    model, X = fitted(name)
    other = to_sklearn(model)
    one_for_each = name.startswith(("labels", "one-vs-rest"))
    assert type(other) is (OneVsRestClassifier if one_for_each else LogisticRegression)
    np.testing.assert_array_equal(dense(other.predict(X)), dense(model.predict(X)))
    np.testing.assert_allclose(other.predict_proba(X), model.predict_proba(X), atol=1e-13)
    np.testing.assert_array_equal(other.classes_, model.classes_)
    assert sparse.issparse(other.predict(X)) == sparse.issparse(model.predict(X))


def test_two_classes_have_one_row_of_coefficients():
    """The form that converters of LogisticRegression expect: that of the second class."""
    model, _ = fitted("softmax-two")
    other = to_sklearn(model)
    assert other.coef_.shape == (1, 13) and other.intercept_.shape == (1,)


def test_columns_are_checked_by_name():
    """As by any classifier that was fitted to a frame: other columns are refused."""
    for name in ("softmax-texts", "labels"):
        other = to_sklearn(fitted(name)[0])
        assert list(other.feature_names_in_) == list(FRAME) and other.n_features_in_ == 4
        with pytest.raises(ValueError, match="feature names"):
            other.predict(FRAME.rename(columns={"x-y": "z"}))


def test_the_coefficients_are_copies():
    """What happens to one model does not happen to the other."""
    model = copy.deepcopy(fitted("softmax")[0])
    before, other = model.coef_.copy(), to_sklearn(model)
    other.coef_ += 1
    np.testing.assert_array_equal(model.coef_, before)


def test_a_class_that_cannot_be_has_no_probability():
    """An intercept of minus infinity: probability 0, the others share 1."""
    model = with_coefficients(np.eye(3), [0, -np.inf, 0], [0, 1, 2])
    P = to_sklearn(model).predict_proba([[1.0, 5, 1], [0, 900, -900]])
    np.testing.assert_allclose(P, [[0.5, 0, 0.5], [1, 0, 0]], atol=1e-15)


@pytest.mark.parametrize("name", WITHOUT_COUNTERPART)
def test_what_scikit_learn_cannot_express_is_refused(name):
    """Thresholds other than 1/2, and one label of which it would have two columns."""
    with pytest.raises(ValueError, match="one label" if name == "one-label" else "threshold="):
        to_sklearn(fitted(name)[0])


def test_the_remedy_for_a_threshold_holds():
    """At 1/2 the model converts, and its probabilities are compared with the threshold."""
    model, X = fitted("sigmoid-two")
    at_half = to_sklearn(copy.copy(model).set_params(threshold=0.5))
    np.testing.assert_array_equal(at_half.predict_proba(X)[:, 1] > 0.8, model.predict(X))
    assert model.threshold == 0.8


def test_other_estimators_are_refused_by_name():
    """Those that are not fitted, pipelines, and scikit-learn's own."""
    with pytest.raises(NotFittedError):
        to_sklearn(clone(fitted("softmax")[0]))
    for wrong in (LogisticRegression(), make_pipeline(SoftmaxRegression()), SoftmaxRegression, 3):
        with pytest.raises(TypeError, match="to_sklearn needs a fitted estimator of softreg"):
            to_sklearn(wrong)
