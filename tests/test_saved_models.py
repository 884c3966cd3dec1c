"""Models that JSON and skops hold are read back to the bit, and files of the past still load."""

import copy
import datetime
import decimal
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skops.io
from exported import FEW, LABELS, MODELS, X, dense, fitted, with_coefficients, y
from sklearn.model_selection import StratifiedKFold

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)
from softreg.export import TRUSTED_TYPES, from_dict, to_dict
from softreg.solvers import LBFGS, MiniBatch, Newton

SAVED = Path(__file__).parent / "data"


def through_json(model):
    """Return a model after a way through strict JSON."""
    return from_dict(json.loads(json.dumps(to_dict(model), allow_nan=False)))


def through_skops(model):
    data = skops.io.dumps(model)
    return skops.io.loads(data, trusted=TRUSTED_TYPES)


WAYS = pytest.mark.parametrize("way", [through_json, through_skops])


@WAYS
@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_the_same_bits(name, way):
    """Those of all four estimators, and scores, names of columns and parameters too."""
    model, rows = fitted(name)
    read = way(model)
    assert type(read) is type(model) and repr(read) == repr(model)
    np.testing.assert_array_equal(read._dense_coef, model._dense_coef)
    for method in ("predict_proba", "decision_function"):
        # Sums of sparse coefficients are in another order.
        tolerance = 1e-12 if name == "softmax-lasso" else 0
        found, expected = getattr(read, method)(rows), getattr(model, method)(rows)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    found, expected = read.predict(rows), model.predict(rows)
    assert type(found) is type(expected) and found.dtype == expected.dtype
    np.testing.assert_array_equal(dense(found), dense(expected))


@WAYS
def test_what_the_fit_says_of_itself_is_kept(way):
    """The certificate, the loss curve, and what cross-validation chose."""
    for name, names in (
        ("softmax", ["objective_", "optimality_gap_", "converged_", "proven_", "loss_curve_"]),
        ("softmax-cv", ["C_", "l1_ratio_", "n_iter_", "n_samples_seen_"]),
        ("labels-cv", ["C_", "label_objective_", "label_optimality_gap_", "label_proven_"]),
    ):
        model = fitted(name)[0]
        read = way(model)
        for attribute in names:
            found, expected = getattr(read, attribute), getattr(model, attribute)
            assert type(found) is type(expected)
            np.testing.assert_array_equal(found, expected)


def test_a_model_that_was_read_can_be_fitted_again_and_learn_on():
    """To the same optimum, from where it is, and in chunks."""
    model = fitted("softmax")[0]
    again = through_json(model).fit(X, y)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    warm = through_json(model).set_params(warm_start=True).fit(X, y)
    assert warm.n_iter_[0] <= 1 < model.n_iter_[0]
    learned = through_json(model).set_params(random_state=0).partial_fit(X, y)
    assert learned.n_samples_seen_ == 2 * len(y)


CLASSES = {
    "bool": np.array([False, True]),
    "int8": np.array([-1, 1], dtype=np.int8),
    "uint64": np.array([0, 2**64 - 1], dtype=np.uint64),
    "floats": np.array([0.1, 1 / 3]),
    "texts": np.array(["", 'é"\\\x00a\n\u2028']),
    "days": np.array(["2020-02-29", "1969-12-31"], dtype="M8[D]"),
    "nanoseconds": np.array(["2020-02-29T00:00:00.000000001", "1969-12-31"], dtype="M8[ns]"),
    "durations": np.array([1, -5], dtype="m8[25s]"),
    "objects": np.array(["a", 2, 0.1, False], dtype=object),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_keep_their_values_and_types(name):
    """Texts of any characters, all numbers, dates and durations, and mixtures of them."""
    classes = CLASSES[name]
    n_rows = 1 if len(classes) == 2 else len(classes)
    read = through_json(with_coefficients(np.ones((n_rows, 1)), np.zeros(n_rows), classes))
    assert read.classes_.dtype == classes.dtype and read.classes_.tolist() == classes.tolist()
    assert list(map(type, read.classes_)) == list(map(type, classes))


@pytest.mark.parametrize(
    "values", [[1e-323, -0.0, 1 / 3, 1.7976931348623157e308], [2.0**-1074, 0.1 + 0.2, 1e22, 5e-5]]
)
def test_numbers_are_exact(values):
    """Subnormal numbers, minus zero, and an intercept of minus infinity."""
    model = with_coefficients([values] * 3, [-math.inf, 0.1, 0], [0, 1, 2])
    read = through_json(model)
    assert read.coef_.tobytes() == model.coef_.tobytes()
    assert read.intercept_.tobytes() == model.intercept_.tobytes()


PARAMETERS = {
    "no penalty": {"C": np.inf},
    "a NumPy number": {"C": np.float64(0.1)},
    "weights by class": {"class_weight": {0: 2.0, 1: 0.5, 2: 1}},
    "factors": {"penalty_factor": np.array([1, 2, 0.5])},
    "a list": {"penalty_factor": [1, 2, 0.5]},
    "declared classes": {"classes": [2, 1, 0]},
    "groups": {"l1_groups": ["a", "a", "b"], "l1_ratio": 1.0},
    "a solver": {"solver": MiniBatch(n_epochs=3, learning_rate=0.25)},
    "another solver": {"solver": LBFGS(history=7)},
    "the default of one": {"solver": Newton()},
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_kept(name):
    """Numbers, infinity, dicts by class, arrays, and solvers with their options."""
    model = SoftmaxRegression().fit(FEW, y).set_params(**PARAMETERS[name])
    read = through_json(model)
    (parameter, *_) = PARAMETERS[name]
    assert repr(getattr(read, parameter)) == repr(getattr(model, parameter)).replace(
        "np.float64(0.1)", "0.1"
    )


def test_series_become_dicts_of_the_same_meaning():
    """Factors by column name: the same fit."""
    frame = pd.DataFrame(FEW, columns=list("abc"))
    model = SoftmaxRegression(penalty_factor=pd.Series({"c": 5.0, "a": 0.1})).fit(frame, y)
    read = through_json(model)
    assert read.penalty_factor == {"c": 5.0, "a": 0.1}
    np.testing.assert_array_equal(read.fit(frame, y).coef_, model.coef_)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("C", pd.Series([0.1, 1, 10], index=["u", "v", "w"])),
        ("penalty_factor", pd.Series([1.0, 5, 0.1])),
        ("l1_groups", pd.Series(["a", "b", "a"])),
        ("threshold", pd.Series([0.1, 0.5, 0.4], index=["u", "v", "w"])),
    ],
)
def test_series_in_the_order_of_columns_or_labels_stay_in_it(parameter, value):
    """Where the index is no column name, it does not count: the same fit and predictions."""
    model = SigmoidRegression(l1_ratio=0.5, **{parameter: value}).fit(FEW, LABELS)
    read = through_json(model)
    np.testing.assert_array_equal(getattr(read, parameter), value)
    np.testing.assert_array_equal(read.predict(FEW), model.predict(FEW))
    np.testing.assert_array_equal(read.fit(FEW, LABELS).coef_, model.coef_)


def test_columns_of_labels_may_have_any_name():
    """Also none: the model comes back with them."""
    model = SigmoidRegression().fit(FEW, pd.DataFrame({None: y == 0, "b": y == 1}).astype(float))
    np.testing.assert_array_equal(through_json(model).predict(FEW), model.predict(FEW))


def test_declared_classes_of_a_series_stay_in_their_order():
    """Whatever its index says: the same fit."""
    classes = pd.Series([2, 0, 1], index=[5, 1, 5])
    model = SoftmaxRegression(classes=classes).fit(FEW, y)
    read = through_json(model)
    np.testing.assert_array_equal(read.classes, [2, 0, 1])
    np.testing.assert_array_equal(read.fit(FEW, y).coef_, model.coef_)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("cv", StratifiedKFold(3)),
        ("scoring", len),
        ("class_weight", {decimal.Decimal(1): 2}),
        ("classes", [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)]),
        ("Cs", np.array([1j, 2])),
    ],
)
def test_what_is_no_value_is_refused_by_name(parameter, value):
    """Functions, splitters and other objects: JSON holds no code; the remedy holds."""
    model = copy.copy(fitted("softmax-cv")[0])
    with pytest.raises(TypeError, match=rf"{parameter} holds .*set_params\({parameter}="):
        to_dict(model.set_params(**{parameter: value}))
    default = getattr(SoftmaxRegressionCV(), parameter)
    assert from_dict(to_dict(model.set_params(**{parameter: default}))).C_ == model.C_


def test_classes_of_other_types_are_refused():
    """Decimals, say; the message tells what to fit."""
    classes = np.array([decimal.Decimal(1), decimal.Decimal(2)])
    with pytest.raises(TypeError, match=r"classes_ holds Decimal.*fit y\.astype\(str\)"):
        to_dict(with_coefficients([[1.0]], [0], classes))


def test_derived_classes_are_refused():
    """What they change is code."""

    class Derived(SoftmaxRegression):
        pass

    with pytest.raises(TypeError, match="Derived is derived"):
        to_dict(Derived().fit(FEW, y))


def changed(place="", **changes):
    """Return a saved model with entries replaced, or without those that are `...`."""
    saved = json.loads(json.dumps(to_dict(fitted("softmax")[0])))
    entries = saved[place] if place else saved
    for name, value in changes.items():
        entries[name] = value
        if value is ...:
            del entries[name]
    return saved


def of_fit(**changes):
    return changed("fitted", **changes)


def of_parameters(**changes):
    return changed("parameters", **changes)


def array(items, dtype="float64"):
    return {"array": items, "dtype": dtype}


def sparse_classes():
    saved = to_dict(fitted("one-vs-rest")[0])
    return saved | {"fitted": saved["fitted"] | {"sparse_output_": True}}


def nested(depth):
    """Return lists in lists, more than Python reads by recursion if there are 1,000."""
    value = 1
    for _ in range(depth):
        value = [value]
    return value


WRONG = {
    "is no model of softreg": [{}, [], None, "text", changed(format="sklearn")],
    r"version 2, .*install a newer": [changed(version=2)],
    "version '1'": [changed(version="1")],
    "version None": [changed(version=...)],
    "version True": [changed(version=True)],
    r"saved lacks \['parameters'\]": [changed(parameters=...)],
    r"has \['code'\]": [changed(code="import os")],
    "estimator 'os.system'": [changed(estimator="os.system")],
    r"estimator \['SoftmaxRegression'\]": [changed(estimator=["SoftmaxRegression"])],
    r"parameters lacks \[\], and has \['depth'\]": [of_parameters(depth=3)],
    "parameters must be a dict": [changed(parameters=[])],
    r"fitted lacks \['coef_'\]": [of_fit(coef_=...)],
    r"has \['predict'\]": [of_fit(predict="x")],
    r"has \['__class__'\]": [of_fit(__class__="x")],
    r"coef_ must have shape \(3, 13\)": [
        of_fit(coef_=array([[1.0] * 13])),
        of_fit(coef_=array([1.0])),
        of_fit(coef_=array([[1.0] * 12] * 3)),
    ],
    "coef_ must be": [
        of_fit(coef_=1.5),
        of_fit(coef_=array([["a"] * 13] * 3, "str")),
        of_fit(coef_=array([["nan"] * 13] * 3)),
        of_fit(coef_=array([[{"solver": "Newton", "options": {}}] * 13] * 3, "object")),
    ],
    "coef_ is no value": [
        of_fit(coef_=array([[1.0], [1.0, 2.0]])),
        of_fit(coef_=array([["a"] * 13] * 3)),
        of_fit(coef_=array([1.0], "V8")),
        of_fit(coef_=array([1.0], "U999999999999")),
        of_fit(coef_=array([1.0], "O")),
        of_fit(coef_={"array": [1.0]}),
    ],
    "intercept_ must have shape": [of_fit(intercept_=array([0.0]))],
    "classes_ must": [
        of_fit(classes_="abc"),
        of_fit(classes_=["a", "b", "c"]),
        of_fit(classes_=array([["a", "b", "c"]], "str")),
    ],
    r"classes_=\[0, 0, 1\] must be different": [of_fit(classes_=array([0, 0, 1], "int64"))],
    "classes_=.*none missing": [
        of_fit(classes_=array([0, 1, "nan"])),
        of_fit(classes_=array([0, 1, None], "object")),
    ],
    "one class in each row, got {}": [of_fit(classes_=array([0, 1, {"dict": []}], "object"))],
    "coef_ must be finite": [of_fit(coef_=array([["inf"] * 13] * 3))],
    "sparse_output_=True needs multilabel_=True": [sparse_classes()],
    "n_features_in_": [
        of_fit(n_features_in_="13"),
        of_fit(n_features_in_=0),
        of_fit(n_features_in_=array(13, "timedelta64[D]")),
    ],
    "feature_names_in_=.*must be texts": [
        of_fit(feature_names_in_=array([*"abcdefghijkl", None], "object")),
        of_fit(feature_names_in_=array([*range(13)])),
    ],
    "feature_names_in_ must have shape": [of_fit(feature_names_in_=array(["a"], "str"))],
    "C is no value": [
        of_parameters(C={"float": "os"}),
        of_parameters(C={"py/object": "os.system"}),
        of_parameters(C={"solver": "Popen", "options": {"args": "ls"}}),
        of_parameters(C={"solver": "Newton", "options": {"args": "ls"}}),
        of_parameters(C={"dict": [1, 2]}),
        of_parameters(C={"dict": [[[1], 2]]}),
        of_parameters(C={"tuple": 3}),
        of_parameters(C={"solver": "Newton", "options": [1]}),
        of_parameters(C={"solver": "Newton", "options": None}),
        of_parameters(C=nested(5000)),
        of_parameters(C={"tuple": nested(5000)}),
    ],
}


@pytest.mark.parametrize(
    ("message", "saved"), [(message, saved) for message in WRONG for saved in WRONG[message]]
)
def test_what_to_dict_has_not_written_is_refused(message, saved):
    """By name, before anything is made of it: what is missing, unknown, or does not fit."""
    with pytest.raises(ValueError, match=message):
        from_dict(saved)


def with_parameter(name, parameter, value):
    """Return a saved model with another value of a parameter, as JSON has it."""
    saved = to_dict(fitted(name)[0])
    return saved | {"parameters": saved["parameters"] | {parameter: value}}


ESTIMATORS = {
    "softmax": SoftmaxRegression,
    "softmax-cv": SoftmaxRegressionCV,
    "labels": SigmoidRegression,
    "labels-cv": SigmoidRegressionCV,
}


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        (name, parameter)
        for name, kind in ESTIMATORS.items()
        for parameter in kind().get_params(deep=False)
    ],
)
def test_no_parameter_is_read_that_no_fit_takes(name, parameter):
    """Each is refused by name where it is read, and where it would be written."""
    wrong = 3 if parameter == "scoring" else "no"  # names of scorers are scikit-learn's
    with pytest.raises(ValueError, match=f"the parameter {parameter} is none that fit takes"):
        from_dict(with_parameter(name, parameter, wrong))
    model = copy.copy(fitted(name)[0]).set_params(**{parameter: wrong})
    with pytest.raises(ValueError, match=f"the parameter {parameter} is none that fit takes"):
        to_dict(model)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("labels", "threshold", 1.5),
        ("labels", "threshold", [0.5, 0.5]),
        ("one-vs-rest", "threshold", [0.5, 0.5, 0.0]),
        ("softmax", "C", -1),
        ("softmax", "C", [1.0, 2.0, 3.0]),
        ("labels", "C", [1.0, 2.0]),
        ("softmax", "classes", []),
        ("softmax", "classes", [0, 1]),
        ("labels", "classes", ["a", "b"]),
        ("softmax-texts", "class_weight", {"dict": [["it", 2.0]]}),
        ("softmax", "penalty_factor", [1.0, 2.0]),
        ("softmax", "l1_groups", {"dict": [["x0", 1]]}),
        ("softmax", "random_state", -1),
        ("softmax", "solver", {"solver": "MiniBatch", "options": {"n_epochs": 0}}),
        ("softmax", "solver", {"solver": "LBFGS", "options": {"history": 0}}),
        ("softmax-cv", "cv", 1),
    ],
)
def test_parameters_that_do_not_fit_the_model_are_refused(name, parameter, value):
    """Numbers out of range, and lengths and names that are not those of its columns or classes."""
    with pytest.raises(ValueError, match=f"the parameter {parameter} is none that fit takes"):
        from_dict(with_parameter(name, parameter, value))


def test_scorers_of_other_versions_of_scikit_learn_are_read():
    """A model predicts whether or not this one knows its scorer."""
    read = from_dict(with_parameter("softmax-cv", "scoring", "of_the_future"))
    np.testing.assert_array_equal(read.predict(FEW), fitted("softmax-cv")[0].predict(FEW))


def test_parameters_that_came_later_have_their_defaults():
    """A file of an earlier version lacks what it did not know."""
    read = from_dict(of_parameters(tol=..., l1_groups=...))
    assert read.tol == SoftmaxRegression().tol and read.l1_groups is None


def test_the_trusted_types_are_those_in_the_files():
    """Each is asked for by some file of skops, and no file asks for another."""
    streamed = SoftmaxRegression(random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    others = [SoftmaxRegression(solver=name).fit(FEW, y) for name in ("lbfgs", "newton")]
    models = [streamed, *others, *(fitted(name)[0] for name in MODELS)]
    asked = [skops.io.get_untrusted_types(data=skops.io.dumps(model)) for model in models]
    assert set().union(*asked) == set(TRUSTED_TYPES)


def test_files_of_skops_ask_for_trust():
    """Without the list nothing is loaded."""
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException):
        skops.io.loads(skops.io.dumps(fitted("softmax")[0]))


# ---- Files of earlier versions -----------------------------------------------------------------

FOLDERS = sorted(SAVED.glob("v*"))
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.json"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_of_every_version_predict_what_they_did(path):
    """JSON, skops and ONNX, with the rows and probabilities that were written beside them."""
    file = json.loads(path.read_text(encoding="utf-8"))
    rows, P = np.array(file["rows"]), np.array(file["probabilities"])
    predictions = np.array(file["predictions"])
    as_skops = skops.io.load(path.with_suffix(".skops"), trusted=TRUSTED_TYPES)
    for model in (from_dict(file["model"]), as_skops):
        named = pd.DataFrame(rows, columns=getattr(model, "feature_names_in_", None))
        given = named if hasattr(model, "feature_names_in_") else rows
        np.testing.assert_allclose(model.predict_proba(given), P, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(dense(model.predict(given)), predictions)
    session = onnxruntime.InferenceSession(path.with_suffix(".onnx").read_bytes())
    label, of_onnx = session.run(None, {"X": rows})
    np.testing.assert_allclose(of_onnx, P, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(label, predictions)


def test_there_are_files_of_this_version():
    """Each release adds a folder of its own: python tests/save_models.py."""
    assert {path.stem for path in FILES if path.parent.name == "v0.2.0"} >= {"softmax", "labels"}
