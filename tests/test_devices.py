"""Estimators on devices: the fits of the host, in arrays of X's library."""

import copy
import pickle
import warnings
import weakref

import numpy as np
import pytest
from devices import SAME, array_of, assert_same, is_of, on_host, strict
from parts import LIBRARIES
from problems import PROBLEMS, objective, overlapping, solved
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    regularization_path,
)
from softreg._encoding.chunk_survey import checksum
from softreg._rows.devices.arrays import Device, DeviceArray
from softreg.calibration import decide, prediction_sets, prior_shift, tune_thresholds
from softreg.display import CoefficientPathDisplay, ProbabilityDisplay
from softreg.export import from_dict, to_dict, to_sklearn
from softreg.inference import average_probabilities, infer, margins, score_test, separation
from softreg.solvers import MiniBatch

pytestmark = pytest.mark.usefixtures("dispatch")

# ---- The same optimum ---------------------------------------------------------------------------

DENSE = [name for name in PROBLEMS if name != "sparse counts"]


@pytest.mark.factor("solver", ["auto", "lbfgs", "newton", "proximal-newton"])
@pytest.mark.factor("library", LIBRARIES)
@pytest.mark.factor("name", DENSE)
def test_fits_on_devices_reach_the_optimum(name, library, solver):
    """F is within 1e-8 of the least, and proven to be, and the coefficients are X's library's."""
    X, y, Y, least = solved(name, 1.0)
    model = SoftmaxRegression(solver=solver).fit(array_of(library, X), y)
    W, b = map(on_host, (model.coef_, model.intercept_))
    assert objective(W, b, X, Y) <= least * (1 + 1e-8)
    assert model.objective_ == pytest.approx(least, rel=1e-8)
    assert model.converged_ and model.proven_
    assert is_of(library, model.coef_) and is_of(library, model.intercept_)
    assert W.dtype == b.dtype == np.float64


@pytest.mark.factor("device", ["CPU_DEVICE", "device1", "no_float64"])
@pytest.mark.factor("name", DENSE)
def test_single_precision_is_proven_in_double(name, device):
    """Of float32 columns: by a device, or by the host where the device has no double precision."""
    X, y = PROBLEMS[name]()
    X = X.astype(np.float32)
    tensor = strict.asarray(X, device=strict.Device(device))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The coefficients of the columns", UserWarning)
        model = SoftmaxRegression(tol=1e-12).fit(tensor, y)
        expected = SoftmaxRegression(tol=1e-12).fit(X.astype(float), y)
    assert model.converged_ and model.proven_
    found = model.predict_proba(tensor)
    assert found.dtype == strict.float32 and found.device == model.coef_.device == tensor.device
    # Coefficients in single precision alone, from which scores are then made in double.
    terms = np.abs(X) @ np.abs(expected.coef_.T) + np.abs(expected.intercept_)
    atol = max(1e-5, 2**-24 * terms.max() * (device == "no_float64"))
    P = expected.predict_proba(X.astype(float))
    np.testing.assert_allclose(on_host(found), P, rtol=0, atol=atol)
    saved = from_dict(to_dict(model))
    assert saved.coef_.dtype == np.float64
    np.testing.assert_array_equal(saved.predict_proba(X), on_host(model.predict_proba(tensor)))


# ---- The same attributes and predictions --------------------------------------------------------

random = np.random.default_rng(5)
IRIS, WINE, CANCER = (load(return_X_y=True) for load in (load_iris, load_wine, load_breast_cancer))
DIGITS = tuple(of[:300] for of in load_digits(return_X_y=True))
X4, y4 = overlapping()
LABELS = (X4 @ random.normal(size=(4, 3)) + random.logistic(size=(120, 3)) > 0.5) * 1.0
WEIGHT = random.uniform(0.1, 3, 120) * (random.random(120) < 0.8)
OFFSET = random.normal(size=(120, 3))
UNKNOWN = np.where(random.random(LABELS.shape) < 0.2, np.nan, LABELS)
NAMES = np.array(["setosa", "versicolor", "virginica"])
STRONG = {"Cs": [0.01, 0.1], "cv": 3}
# Estimators, X, y, and what fit takes beside them.
FITS = {
    "weights and offset": (SoftmaxRegression(), X4, y4, WEIGHT, OFFSET),
    "no penalty": (SoftmaxRegression(np.inf), X4, y4, WEIGHT, OFFSET),
    "names of classes": (SoftmaxRegression(), IRIS[0], NAMES[IRIS[1]]),
    "soft targets": (SoftmaxRegression(), X4, random.dirichlet(np.ones(3), size=120), WEIGHT),
    "label smoothing": (SoftmaxRegression(label_smoothing=0.1), *WINE),
    "class weights": (SoftmaxRegression(class_weight={0: 2, 1: 0.5}), *IRIS),
    "balanced": (SoftmaxRegression(class_weight="balanced"), X4, y4, WEIGHT),
    "two classes": (SoftmaxRegression(), *CANCER),
    "two classes, offset": (SoftmaxRegression(), X4, y4 > 0, WEIGHT, OFFSET[:, 0]),
    "standardised": (SoftmaxRegression(standardize=True), *WINE),
    "penalty factors": (SoftmaxRegression(penalty_factor=[0, 1, 2, 5]), X4, y4),
    "no intercept": (SoftmaxRegression(fit_intercept=False), X4, y4, WEIGHT, OFFSET),
    "digits": (SoftmaxRegression(0.01), *DIGITS),
    "lasso": (SoftmaxRegression(0.05, 1.0, standardize=True), *WINE),
    "elastic net, weights": (SoftmaxRegression(0.05, 0.5), X4, y4, WEIGHT, OFFSET),
    "groups": (SoftmaxRegression(0.05, 0.8, l1_groups=[0, 0, 1, 1]), X4, y4),
    "groups of features": (SoftmaxRegression(0.05, 0.8, l1_groups="feature"), X4, y4),
    "more columns than rows": (SoftmaxRegression(), random.normal(size=(30, 50)), y4[:30]),
    "one against the rest": (SigmoidRegression(), *IRIS),
    "labels": (SigmoidRegression([0.1, 1, 10], threshold=[0.3, 0.5, 0.7]), X4, LABELS, WEIGHT),
    "unknown labels": (SigmoidRegression(), X4, UNKNOWN, WEIGHT, OFFSET),
    "lasso of labels": (SigmoidRegression(0.1, 1.0), X4, LABELS),
    "weights of labels": (SigmoidRegression(), X4, LABELS, random.uniform(size=(120, 3))),
    "batches": (SoftmaxRegression(solver=MiniBatch(n_epochs=3), random_state=0), X4, y4, WEIGHT),
    "cross-validation": (SoftmaxRegressionCV(**STRONG), X4, y4, WEIGHT, OFFSET),
    "leave one out": (SoftmaxRegressionCV(Cs=[0.01, 1], cv="loo"), X4, y4),
    "accuracy of folds": (SoftmaxRegressionCV(**STRONG, scoring="accuracy"), *WINE),
    "sparse paths": (SoftmaxRegressionCV([0.01, 0.05], [0.5, 1.0], cv=3), X4, y4, WEIGHT),
    "cross-validated labels": (SigmoidRegressionCV(**STRONG), X4, UNKNOWN, WEIGHT),
    "strengths of labels": (SigmoidRegressionCV(**STRONG, per_label=True), X4, LABELS),
}


def fitted(name, place):
    """The fit of a name, of which X, weights and offset are placed, and numeric y."""
    estimator, X, y, *others = FITS[name]
    weight, offset = (*others, None, None)[:2]
    terms = {"sample_weight": weight, "offset": offset}
    terms = {term: place(values) for term, values in terms.items() if values is not None}
    y = y if y.dtype.kind == "U" else place(y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The coefficients of the columns", UserWarning)
        return clone(estimator).fit(place(X), y, **terms), place(X), y, terms


@pytest.mark.factor("library", LIBRARIES)
@pytest.mark.factor("name", FITS)
def test_estimators_fit_and_predict_as_on_the_host(name, library):
    """F to 1e-8, all attributes, and predictions, in the library; y and weights are there, too."""
    (model, X, y, terms), (host, *there) = (
        fitted(name, place) for place in (lambda values: array_of(library, values), np.asarray)
    )
    assert vars(model).keys() == vars(host).keys()
    assert model.objective_ == pytest.approx(host.objective_, rel=1e-8)
    assert model.converged_ == host.converged_
    for attribute in vars(host):
        found, expected = getattr(model, attribute), getattr(host, attribute)
        if attribute in COEFFICIENTS:
            assert_same(found, expected, library, {"rtol": 1e-3, "atol": 1e-3})
        else:
            assert type(found) is type(expected)
    np.testing.assert_array_equal(model.classes_, host.classes_)
    offset, of_host = ({"offset": t["offset"]} if "offset" in t else {} for t in (terms, there[2]))
    for method in ("decision_function", "predict_proba", "predict_log_proba", "predict"):
        expected = getattr(host, method)(there[0], **of_host)
        assert_same(getattr(model, method)(X, **offset), expected, library)
    top = model.predict_top_k(X, 2, **offset)
    assert_same(top, host.predict_top_k(there[0], 2, **of_host), library)
    if host.classes_.ndim == there[1].ndim or hasattr(host, "multilabel_"):
        found, expected = model.score(X, y, **terms), host.score(*there[:2], **there[2])
        assert type(found) is float and found == pytest.approx(expected, abs=1e-4)


COEFFICIENTS = {"coef_", "intercept_", "coef_path_", "intercept_path_"}


# ---- Where things are ---------------------------------------------------------------------------


def array_at(device, values):
    return strict.asarray(values, device=strict.Device(device))


def test_y_weights_and_offsets_may_lie_elsewhere():
    """On another device than X or as numpy's: the fit is the same, where X is."""
    X = array_at("device1", X4)
    terms = {"sample_weight": WEIGHT, "offset": OFFSET}
    places = [np.asarray, lambda v: array_at("CPU_DEVICE", v), lambda v: array_at("device2", v)]
    fits = []
    for place in places:
        placed = {name: place(values) for name, values in terms.items()}
        model = SoftmaxRegression().fit(X, place(y4), **placed)
        P = model.predict_proba(X, offset=place(OFFSET))
        assert model.coef_.device == P.device == model.predict(X, OFFSET).device == X.device
        assert model.score(X, place(y4), **placed) == model.score(X, y4, **terms)
        fits.append((on_host(model.coef_), on_host(P)))
    for coef, P in fits[1:]:
        np.testing.assert_array_equal(coef, fits[0][0])
        np.testing.assert_array_equal(P, fits[0][1])


PLACES = {
    "numpy": np.asarray,
    "strict": lambda values: array_at("CPU_DEVICE", values),
    "another device": lambda values: array_at("device2", values),
    **({"torch": lambda values: array_of("torch", values)} if "torch" in LIBRARIES else {}),
}


@pytest.mark.factor("of_X", PLACES)
@pytest.mark.factor("of_fit", PLACES)
@pytest.mark.factor("kind", [SoftmaxRegression, SigmoidRegression, SoftmaxRegressionCV])
def test_a_model_predicts_for_an_X_of_any_library(kind, of_fit, of_X):
    """Wherever it was fitted: what comes back is where X is."""
    place = PLACES[of_X]
    strengths = {"Cs": [0.1], "cv": 2} if kind is SoftmaxRegressionCV else {}
    model = kind(**strengths).fit(PLACES[of_fit](X4), y4)
    expected = kind(**strengths).fit(X4, y4)
    for method in ("predict", "predict_proba", "decision_function"):
        found, like = getattr(model, method)(place(X4)), place(X4)
        assert type(found) is type(like) and found.device == like.device
        np.testing.assert_allclose(on_host(found), getattr(expected, method)(X4), **SAME)
    assert model.score(place(X4), y4) == pytest.approx(expected.score(X4, y4), abs=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_sparsified_models_predict(kind, library):
    """Coefficients in CSR, of which scikit-learn's sparsify leaves the others, and dense again."""
    X = array_of(library, X4)
    model = kind(0.05, 1.0).fit(X, y4)
    expected = on_host(model.predict_proba(X))
    there = kind(0.05, 1.0).fit(array_at("device1", X4), y4)
    for changed in (model.sparsify(), model.densify(), there.sparsify(), there.densify()):
        np.testing.assert_allclose(on_host(changed.predict_proba(X)), expected, rtol=1e-12)


@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
def test_parameters_may_be_arrays_on_devices(device):
    """As numpy's: classes, strengths, thresholds, penalty factors, groups."""

    def place(values):
        return array_at(device, np.array(values))

    fits = [
        lambda of: SoftmaxRegression(classes=of([0, 1, 2, 3])).fit(of(X4), y4),
        lambda of: SoftmaxRegression(penalty_factor=of([0.0, 1, 2, 3])).fit(of(X4), y4),
        lambda of: SoftmaxRegression(0.05, 0.5, l1_groups=of([0, 0, 1, 1])).fit(of(X4), y4),
        lambda of: SoftmaxRegressionCV(Cs=of([0.1, 1.0]), cv=2).fit(of(X4), y4),
        lambda of: SigmoidRegression(of([1.0, 2, 3]), threshold=of([0.2, 0.5, 0.8])).fit(
            of(X4), y4
        ),
    ]
    for fit in fits:
        expected = fit(np.array)
        np.testing.assert_allclose(fit(place).predict_proba(X4), expected.predict_proba(X4), **SAME)
        np.testing.assert_array_equal(fit(place).predict(X4), expected.predict(X4))


@pytest.mark.parametrize("library", LIBRARIES)
def test_classes_of_dtypes_that_a_library_lacks_are_predicted_as_numpys(library):
    """Numbers of more than double precision, as texts are."""
    classes = y4.astype(np.longdouble)
    model = SoftmaxRegression().fit(array_of(library, X4), classes)
    found = model.predict(array_of(library, X4))
    assert is_of("numpy", found) and found.dtype == np.longdouble
    np.testing.assert_array_equal(found, SoftmaxRegression().fit(X4, classes).predict(X4))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_model_predicts_and_goes_on_without_dispatch(library):
    """For numpy's arrays, where its coefficients are still in the library."""
    model = SoftmaxRegression(warm_start=True).fit(array_of(library, X4), y4)
    expected = on_host(model.predict_proba(array_of(library, X4)))
    with config_context(array_api_dispatch=False):
        np.testing.assert_allclose(model.predict_proba(X4), expected, rtol=1e-12)
        assert model.score(X4, y4) == np.mean(expected.argmax(axis=1) == y4)
        model.fit(X4, y4)
    assert is_of("numpy", model.coef_) and model.n_iter_ <= 1


@pytest.mark.parametrize("place", [of for of in PLACES if of != "numpy"])
def test_what_is_made_of_models_is_that_of_the_host(place):
    """Files, exports, corrected priors, inference, decisions, thresholds and pictures."""
    given = X4, y4, LABELS, WEIGHT, 1 - np.eye(3)
    there = list(map(PLACES[place], given))
    made = []
    for X, y, Y, weight, costs in (there, given):
        model, free = (SoftmaxRegression(C, tol=1e-13).fit(X, y) for C in (1.0, np.inf))
        two = SoftmaxRegression(np.inf, tol=1e-13).fit(X[:, :2], y)
        labels = SigmoidRegression(tol=1e-13).fit(X, Y)
        path = SoftmaxRegressionCV([0.1, 1.0], cv=2, tol=1e-13).fit(X, y)
        shifted = prior_shift(model, [0.2, 0.3, 0.5])
        result = infer(free, X, y)
        made.append(
            [
                from_dict(to_dict(model)).predict_proba(X4),
                to_sklearn(model).predict_proba(X4),
                on_host(shifted.predict_proba(X)),
                on_host(prior_shift(model, X_new=X).class_prior_),
                result.bse.to_numpy(),
                np.asarray(margins(result, X, sample_weight=weight).effects),
                average_probabilities(result, X, by=y)["probability"].to_numpy(),
                score_test(two, X[:, :2], y, X[:, 2:])["statistic"].to_numpy(),
                separation(X, y, weight).rows,
                np.asarray(decide(model, X, costs)),
                on_host(prediction_sets(model, X, y).predict(X)),
                ProbabilityDisplay.from_estimator(model, X, 1).probabilities,
                on_host(regularization_path(X, y, [0.1, 1.0]).predict_proba(X, 0.1)),
                tune_thresholds(labels, X, Y, cv=2),
                CoefficientPathDisplay.from_estimator(path).coef_path,
            ]
        )
    for found, expected in zip(*made, strict=True):
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_callbacks_see_the_library_of_X(library):
    """A monitor of scores, which predicts for the rows of the fit, logs those of the model."""
    callback = pytest.importorskip("sklearn.callback")
    X, monitor = array_of(library, X4), callback.ScoringMonitor(scoring="accuracy")
    model = SoftmaxRegression().set_callbacks(monitor).fit(X, array_of(library, y4))
    scores = [row["accuracy"] for row in monitor.get_logs().data if len(row["task_id_path"]) > 1]
    assert scores[-1] == pytest.approx(model.score(X, y4))


def test_models_are_copied_pickled_and_cloned():
    """With coefficients of the library; a copy goes on where the model stood."""
    X = strict.asarray(X4)
    model = SoftmaxRegression(warm_start=True).fit(X, y4)
    expected = on_host(model.predict_proba(X))
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(on_host(twin.predict_proba(X)), expected)
        assert twin.fit(X, y4).n_iter_ <= 1
    assert not hasattr(clone(model), "coef_")


@pytest.mark.parametrize("library", LIBRARIES)
def test_chunks_of_a_library_are_the_rows_of_one_array(library):
    """fit_chunks reaches the optimum of all rows; coefficients are in the library."""
    X, y, Y, least = solved("wine", 1.0)
    cuts = [slice(start, start + 50) for start in range(0, len(X), 50)]
    chunks = [(array_of(library, X[cut]), array_of(library, y[cut])) for cut in cuts]
    model = SoftmaxRegression().fit_chunks(chunks)
    assert is_of(library, model.coef_) and model.proven_
    assert objective(*map(on_host, (model.coef_, model.intercept_)), X, Y) <= least * (1 + 1e-8)


@pytest.mark.parametrize("library", [*LIBRARIES, "numpy"])
def test_no_chunk_is_kept_from_pass_to_pass(library):
    """When the second pass begins, all chunks of the first are gone, and so is their memory."""
    X, y = IRIS
    chunks, alive = [], []

    def read():
        alive.append(sum(chunk() is not None for chunk in chunks))
        for start in range(5):
            array = X[start::5].copy()
            chunks.append(weakref.ref(array))
            yield array_of(library, array), y[start::5]
            del array

    SoftmaxRegression().fit_chunks(read)
    assert len(alive) > 2 and alive[1] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_chunk_in_another_place_of_memory_is_the_same_data(library, dtype):
    """Whatever its order and alignment, also in extreme units; another value or order is not."""
    rng = np.random.default_rng(0)
    for n, d, unit in [(1, 1, 1.0), (50, 3, 1e-30), (30_001, 7, 1.0), (997, 2, 0.0), (80, 2, 1e30)]:
        X = (rng.normal(size=(n, d)) * unit + (unit == 1e30)).astype(dtype)
        shifted = np.empty(n * d + 3, dtype)[3:].reshape(n, d)
        shifted[:] = X
        same = {checksum(on_device_of(library, of)) for of in (X, np.asfortranarray(X), shifted)}
        assert len(same) == 1
        shifted[n // 2, d // 2] += 0.01 * (unit or 1)
        assert checksum(on_device_of(library, shifted)) not in same
        assert n == 1 or unit == 0 or checksum(on_device_of(library, X[::-1].copy())) not in same


def on_device_of(library, values):
    array = array_of(library, values)
    return DeviceArray(array, Device.of(array))


def test_chunks_may_lie_in_different_places():
    """Some as numpy's, some on devices: coefficients are where the first one is."""
    X, y, Y, least = solved("iris", 1.0)
    order = np.random.default_rng(0).permutation(150)
    places = [PLACES["another device"], np.asarray, PLACES["strict"]]
    parts = zip(places, np.split(order, 3), strict=True)
    model = SoftmaxRegression().fit_chunks([(place(X[part]), y[part]) for place, part in parts])
    assert model.coef_.device == strict.Device("device2")
    assert objective(*map(on_host, (model.coef_, model.intercept_)), X, Y) <= least * (1 + 1e-8)


@pytest.mark.parametrize("library", LIBRARIES)
def test_batches_of_a_library_are_learned_as_numpys(library):
    """partial_fit of the same batches, in the library, with its coefficients."""
    X, y = IRIS
    model, host = (SoftmaxRegression(random_state=0) for _ in range(2))
    for batch in np.split(np.random.default_rng(1).permutation(150), 5):
        model.partial_fit(
            array_of(library, X[batch]), array_of(library, y[batch]), classes=[0, 1, 2]
        )
        host.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
    assert_same(model.coef_, host.coef_, library, {"rtol": 1e-9})
    assert_same(model.predict_proba(array_of(library, X)), host.predict_proba(X), library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_pipelines_and_searches_of_scikit_learn_take_arrays_of_a_library(library):
    """As far as its own steps do: a scaler before the fit, and a grid of strengths."""
    X, y = (array_of(library, of) for of in WINE)
    pipeline = make_pipeline(MinMaxScaler(), SoftmaxRegression()).fit(X, y)
    expected = make_pipeline(MinMaxScaler(), SoftmaxRegression()).fit(*WINE)
    assert_same(pipeline.predict_proba(X), expected.predict_proba(WINE[0]), library)
    search, on_numpy = (
        GridSearchCV(SoftmaxRegression(), {"C": [1e-4, 1.0]}, cv=3).fit(*data)
        for data in [(X, y), WINE]
    )
    assert search.best_params_ == on_numpy.best_params_
    assert search.best_score_ == pytest.approx(on_numpy.best_score_)
