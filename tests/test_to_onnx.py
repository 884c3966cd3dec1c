"""ONNX models predict as softreg does; skl2onnx converts pipelines that hold its estimators."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from exported import FRAME, LABELS, MODELS, NAMES, X, dense, fitted, with_coefficients, y
from skl2onnx import to_onnx as skl2onnx_to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import softreg.export.onnx  # noqa: F401 - registers the converters
from softreg import SigmoidRegression, SoftmaxRegression
from softreg.export import to_onnx


def outputs(model, X):
    """Return the outputs of an ONNX model, computed by onnxruntime."""
    onnx_file = model.SerializeToString()
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    inputs = [node.name for node in session.get_inputs()]
    columns = [X] if len(inputs) == 1 else [X[:, [j]] for j in range(X.shape[1])]
    return session.run(None, dict(zip(inputs, columns, strict=True)))


def as_labels(predictions):
    """Return predictions as ONNX has them: texts as objects, all numbers as int64."""
    array = np.asarray(dense(predictions))
    return array.astype(object if array.dtype.kind == "U" else np.int64)


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_predicts_as_softreg_does(name):
    """Labels, and probabilities to 1e-12 in double precision."""
    model, rows = fitted(name)
    label, P = outputs(to_onnx(model), np.asarray(rows))
    np.testing.assert_array_equal(label, as_labels(model.predict(rows)))
    np.testing.assert_allclose(P, model.predict_proba(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_single_precision_loses_what_rounding_of_the_columns_loses(name):
    """Probabilities are those of the same float32 rows, to their own rounding."""
    model, rows = fitted(name)
    single = rows.astype(np.float32)
    label, P = outputs(to_onnx(model, dtype=np.float32), np.asarray(single))
    assert P.dtype == np.float32
    expected = model.predict_proba(single.astype(float))
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(label, as_labels(model.predict(single.astype(float))))


@pytest.mark.parametrize("C", [1, 1e4])
def test_raw_columns_in_single_precision_are_right_to_a_hundred_thousandth(C):
    """Beside doubles: wine's columns as they are."""
    model = SoftmaxRegression(C=C).fit(X, y)
    _, P = outputs(to_onnx(model, dtype="float32"), X.astype(np.float32))
    np.testing.assert_allclose(P, model.predict_proba(X), rtol=0, atol=1e-5)


def test_two_classes_have_the_sigmoid_of_their_score():
    """Not the softmax of it, which is next to 1/2 where the sigmoid is not."""
    model = with_coefficients([[1.0]], [0.0], ["no", "yes"])
    z = np.array([[-800.0], [-2], [0], [2], [800]])
    label, P = outputs(to_onnx(model), z)
    np.testing.assert_allclose(P[:, 1], 1 / (1 + np.exp(np.minimum(-z[:, 0], 700))), atol=1e-15)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-15)
    assert label.tolist() == ["no", "no", "no", "yes", "yes"]


def test_scores_beyond_the_range_of_exp_have_probabilities():
    """Softmax and one-vs-rest are finite wherever the scores are."""
    W, rows = np.eye(3) * 1e4, np.array([[1.0, -1, 0], [-3, -2, -3]])
    for kind in (SoftmaxRegression, SigmoidRegression):
        model = with_coefficients(W, [0, 0, 0], [0, 1, 2], kind)
        label, P = outputs(to_onnx(model), rows)
        if kind is SoftmaxRegression:
            np.testing.assert_allclose(P, [[1, 0, 0], [0, 1, 0]], atol=1e-300)
        np.testing.assert_allclose(P, model.predict_proba(rows), atol=1e-15)
        assert label.tolist() == [0, 1]


def test_a_class_that_cannot_be_has_no_probability():
    """An intercept of minus infinity: probability 0, the others share 1."""
    for kind in (SoftmaxRegression, SigmoidRegression):
        model = with_coefficients(np.zeros((3, 1)), [0, -np.inf, 0], [0, 1, 2], kind)
        label, P = outputs(to_onnx(model), np.array([[7.0]]))
        np.testing.assert_allclose(P, [[0.5, 0, 0.5]], atol=1e-15)
        assert label.tolist() == [0]


def test_a_thousand_classes():
    """The label is that of the greatest score, the probabilities sum to 1."""
    rng = np.random.default_rng(0)
    model = with_coefficients(rng.normal(size=(1000, 5)), rng.normal(size=1000), range(1000))
    rows = rng.normal(size=(50, 5))
    label, P = outputs(to_onnx(model), rows)
    np.testing.assert_array_equal(label, model.decision_function(rows).argmax(axis=1))
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ([False, True], [0, 1]),
        (np.array([3, 250], dtype=np.uint8), [3, 250]),
        (np.array(["a", "b"], dtype=object), ["a", "b"]),
        (np.array([1, 2], dtype=object), [1, 2]),
    ],
    ids=["bool", "uint8", "texts as objects", "integers as objects"],
)
def test_labels_are_texts_or_integers(classes, labels):
    """Whatever type of either the classes are of."""
    label, _ = outputs(to_onnx(with_coefficients([[1.0]], [0], classes)), np.array([[-1.0], [1]]))
    assert label.tolist() == labels


@pytest.mark.parametrize(
    "classes",
    [
        np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]"),
        np.array(["a", 2], dtype=object),
        np.array([(1, 2), (3, 4), None], dtype=object)[:2],
        np.array([0.5, 1]),
        np.array([0, 2**63], dtype=np.uint64),
    ],
    ids=str,
)
def test_classes_that_onnx_has_not_are_refused(classes):
    """Dates, texts among numbers, tuples: the message shows them and says what to fit."""
    with pytest.raises(ValueError, match=r"classes_=\[.*fit y\.astype\(str\)"):
        to_onnx(with_coefficients([[1.0]], [0], classes))


@pytest.mark.parametrize("names", [["a", 1], [0.5, 1.5], [("a", 1), ("b", 2)]], ids=str)
def test_labels_may_have_any_names(names):
    """Their values are 0 and 1, whatever their columns are called."""
    indicators = pd.DataFrame(LABELS[:, :2], columns=pd.Index(names, tupleize_cols=False))
    model = SigmoidRegression().fit(X, indicators)
    label, P = outputs(to_onnx(model), X)
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_allclose(P, model.predict_proba(X), atol=1e-12)


def test_names_of_columns_and_classes_are_in_the_file():
    """As JSON, in the order of the input's and the probabilities' columns."""
    onnx_model = to_onnx(fitted("softmax-texts")[0])
    described = {entry.key: json.loads(entry.value) for entry in onnx_model.metadata_props}
    assert described == {"classes": sorted(set(NAMES)), "feature_names": list(FRAME)}


@pytest.mark.parametrize("name", ["softmax", "softmax-two", "labels", "one-vs-rest-thresholds"])
def test_pipelines_are_converted_by_skl2onnx(name):
    """A scaler and each kind of model; probabilities as an array, or by class where asked for."""
    model, rows = fitted(name)
    rows = np.asarray(rows)
    pipeline = make_pipeline(StandardScaler(), model.__class__(**model.get_params()))
    pipeline.fit(rows, LABELS if name == "labels" else model.predict(rows))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        some = rows[:20].astype(dtype)
        arrays = skl2onnx_to_onnx(pipeline, some[:1], options={"zipmap": False})
        label, P = outputs(arrays, some)
        np.testing.assert_array_equal(label, as_labels(pipeline.predict(rows[:20])))
        np.testing.assert_allclose(P, pipeline.predict_proba(rows[:20]), atol=tolerance)
    _, by_class = outputs(skl2onnx_to_onnx(pipeline, some[:1]), some)
    np.testing.assert_allclose([list(row.values()) for row in by_class], P, atol=1e-7)
    assert list(by_class[0]) == list(pipeline[-1].classes_)


def test_skl2onnx_converts_frames_with_an_input_for_each_column():
    """As for its own models: the columns are put side by side."""
    model, rows = fitted("softmax-texts")
    frame = rows.set_axis(list("abcd"), axis=1)
    renamed = SoftmaxRegression().fit(frame, NAMES)
    onnx_model = skl2onnx_to_onnx(renamed, frame[:1], options={"zipmap": False})
    label, P = outputs(onnx_model, frame.to_numpy())
    np.testing.assert_allclose(P, model.predict_proba(rows), atol=1e-12)
    np.testing.assert_array_equal(label, model.predict(rows))


def test_a_calibrated_model_is_converted_by_skl2onnx():
    """Its converter asks for the scores of the one inside."""
    for answers in (y, y == 1):
        calibrated = CalibratedClassifierCV(SoftmaxRegression()).fit(X, answers)
        onnx_model = skl2onnx_to_onnx(calibrated, X[:1], options={"zipmap": False})
        P = outputs(onnx_model, X)[1]
        np.testing.assert_allclose(P, calibrated.predict_proba(X), atol=1e-6)


def test_the_raw_scores_of_a_model_can_be_asked_for():
    """The option of skl2onnx's own classifiers: two classes have -z and z."""
    for name in ("softmax", "softmax-two"):
        model, rows = fitted(name)
        options = {id(model): {"zipmap": False, "raw_scores": True}}
        Z = outputs(skl2onnx_to_onnx(model, rows[:1], options=options), rows)[1]
        scores = model.decision_function(rows)
        expected = scores if scores.ndim == 2 else np.column_stack([-scores, scores])
        np.testing.assert_allclose(Z, expected, rtol=1e-9, atol=1e-9)


def test_missing_values_stay_missing():
    """Rows with NaN have NaN probabilities, and no others."""
    model, rows = fitted("softmax")
    with_nan = np.where(np.arange(13) == 4, [[np.nan], [1]], rows[:2])
    P = outputs(to_onnx(model), with_nan)[1]
    assert np.isnan(P[0]).all() and np.isfinite(P[1]).all()


def test_wrong_arguments_are_refused_by_name():
    """Types that are not single or double, estimators that are not softreg's or not fitted."""
    for dtype in (np.int64, "float16", "nonsense", 3, None):
        with pytest.raises((ValueError, TypeError), match="dtype="):
            to_onnx(fitted("softmax")[0], dtype=dtype)
    with pytest.raises(NotFittedError):
        to_onnx(SoftmaxRegression())
    with pytest.raises(TypeError, match="to_onnx needs a fitted estimator of softreg"):
        to_onnx(make_pipeline(SoftmaxRegression()))


def printed(code):
    """Return what another Python process prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_softreg_imports_no_onnx():
    """The package and `softreg.export` work without the extra; `to_onnx` alone needs it.

    One message names the extra, whether that or the module asks for it.
    """
    code = """
import sys, softreg.export
print({"onnx", "skl2onnx", "onnxruntime"} & sys.modules.keys())
sys.modules["skl2onnx"] = None
for function in (lambda: softreg.export.to_onnx(None), lambda: __import__("softreg.export.onnx")):
    try:
        function()
    except ImportError as error:
        print(error)
"""
    imported, *messages = printed(code).splitlines()
    assert imported == "set()" and len(messages) == 2
    assert all("skl2onnx (the extra softreg[onnx])" in message for message in messages)
