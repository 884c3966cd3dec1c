"""Arrays that estimators cannot fit on devices, and what new processes and forked ones do."""

import re
import sys
import warnings

import numpy as np
import pytest
from devices import array_of, assert_same, is_of, on_host, run, strict
from parts import LIBRARIES
from problems import overlapping
from sklearn import config_context

from softreg import SoftmaxRegression
from softreg._model.block_kernels import LossAndGradient
from softreg._rows.devices.rows import DeviceColumns

pytestmark = pytest.mark.usefixtures("dispatch")
X4, y4 = overlapping()
WEIGHT = np.random.default_rng(0).uniform(0.1, 3, 120)


@pytest.fixture
def torch():
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch")


@pytest.mark.parametrize("method", ["fit", "predict", "score"])
def test_tensors_with_gradients_are_refused(torch, method):
    """Also in predictions, with the remedy, which works."""
    X = torch.asarray(X4, requires_grad=True)
    model = SoftmaxRegression().fit(X.detach(), y4)
    with pytest.raises(ValueError, match=r"X requires gradients.*X\.detach\(\)"):
        getattr(model, method)(X, *([] if method == "predict" else [y4]))


@pytest.mark.parametrize("name", ["y", "sample_weight", "offset"])
def test_what_lies_beside_X_must_be_plain_too(torch, name):
    """No gradients, nothing sparse: errors name the argument, and their remedies work."""
    X, one = torch.asarray(X4), torch.ones(120, dtype=torch.float64)
    plain = {"y": torch.asarray(y4), "sample_weight": one, "offset": torch.zeros(120, 3)}
    expected = SoftmaxRegression().fit(X, **plain)
    of_gradients = plain[name].double().clone().requires_grad_()
    sparse = plain[name].to_sparse()
    for wrong, remedy, kind in [
        (of_gradients, "detach", ValueError),
        (sparse, "to_dense", TypeError),
    ]:
        with pytest.raises(kind, match=rf"^{name} .*{name}\.{remedy}\(\)"):
            SoftmaxRegression().fit(X, **plain | {name: wrong})
        model = SoftmaxRegression().fit(X, **plain | {name: getattr(wrong, remedy)()})
        np.testing.assert_array_equal(on_host(model.coef_), on_host(expected.coef_))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_beside_X_are_taken(torch, name):
    """As classes, weights and offsets: NumPy knows nothing of bfloat16."""
    half = getattr(torch, name)
    y, weight, offset = (torch.asarray(of) for of in (y4, y4 + 1, np.eye(3)[y4]))
    halves = [of.to(half) for of in (y, weight, offset)]
    model, expected = (
        SoftmaxRegression().fit(torch.asarray(X4), *terms)
        for terms in (halves, (y, weight, offset))
    )
    assert model.objective_ == pytest.approx(expected.objective_, rel=1e-8)


@pytest.mark.parametrize("library", LIBRARIES)
def test_complex_numbers_are_refused(library):
    """With columns and remedy; PyTorch's conversion leaves imaginary parts out."""
    model = SoftmaxRegression().fit(X4, y4)
    for call in (lambda X: model.fit(X, y4), model.predict):
        with pytest.raises(
            ValueError, match="X holds complex numbers in columns 0 .*a column each"
        ):
            call(array_of(library, X4 + 1j))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("is_on", [True, False])
def test_columns_at_fault_are_named(library, is_on):
    """As of numpy's arrays, whether they stay where they are or not."""
    X = X4.copy()
    X[7, 1] = np.nan
    wanted = r"X holds missing values in column 1 \(nan in row 7; 1 of 120 rows\)"
    with config_context(array_api_dispatch=is_on), pytest.raises(ValueError, match=wanted):
        SoftmaxRegression().fit(array_of(library, X), y4)


def test_coefficients_that_overflow_without_double_precision_are_refused():
    """Those of a column in units of 1e-40 are of the order 1e40 under `standardize`."""
    X = strict.asarray((X4 * 1e-40).astype(np.float32), device=strict.Device("no_float64"))
    with pytest.raises(ValueError, match="coef_ overflows in single precision.*other units"):
        SoftmaxRegression(standardize=True).fit(X, y4)
    assert SoftmaxRegression(standardize=True).fit(on_host(X), y4).converged_


@pytest.mark.parametrize("layout", ["to_sparse_coo", "to_sparse_csr"])
def test_sparse_tensors_are_refused(torch, layout):
    """CSR on a device is out: the error says what to pass."""
    with (
        warnings.catch_warnings(),
        pytest.raises(TypeError, match=r"X is a sparse Tensor.*X\.to_dense\(\)"),
    ):
        warnings.simplefilter("ignore")  # PyTorch's CSR is in beta
        SoftmaxRegression().fit(getattr(torch.asarray(X4), layout)(), y4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_integers_are_fitted_in_double_precision(library):
    """As numpy's are: the optimum of the same numbers, booleans among them."""
    for X in (X4.round().astype(int), X4.round().astype(np.int8), X4 > 0):
        model, host = (
            SoftmaxRegression().fit(array_of(library, X), y4),
            SoftmaxRegression().fit(X, y4),
        )
        assert model.objective_ == pytest.approx(host.objective_, rel=1e-8)
        assert_same(model.predict_proba(array_of(library, X)), host.predict_proba(X), library)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_become_single_precision(torch, name):
    """Exactly: a fit of them is that of the same numbers in float32."""
    X = torch.asarray(X4).to(getattr(torch, name))
    half, single = (SoftmaxRegression().fit(of, y4) for of in (X, X.float()))
    P = half.predict_proba(X)
    assert P.dtype == torch.float32
    np.testing.assert_array_equal(on_host(half.coef_), on_host(single.coef_))
    np.testing.assert_array_equal(on_host(P), on_host(single.predict_proba(X.float())))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("value", "error"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_values_that_are_no_numbers_are_refused(library, value, error):
    """In X, in fits and predictions; in weights, too."""
    X = X4.copy()
    X[7, 1] = value
    model = SoftmaxRegression().fit(array_of(library, X4), y4)
    for call in (lambda X: model.fit(X, y4), model.predict):
        with pytest.raises(ValueError, match=error):
            call(array_of(library, X))
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(array_of(library, X4), y4, sample_weight=array_of(library, X[:, 1]))


@pytest.mark.parametrize("library", LIBRARIES)
def test_arrays_of_other_shapes_are_refused(library):
    """Of one axis, without rows, with fewer columns than the fit had or fewer rows than y."""
    X = array_of(library, X4)
    model = SoftmaxRegression().fit(X, y4)
    for call, error in [
        (lambda: model.predict(X[:, :3]), "3 features"),
        (lambda: model.fit(X[:, 0], y4), "2D array"),
        (lambda: model.fit(X[:0, :], y4[:0]), "0 sample"),
        (lambda: model.fit(X[:50, :], y4), "120"),
        (lambda: model.fit(X, array_of(library, y4[:50])), "50"),
    ]:
        with pytest.raises(ValueError, match=error):
            call()


def test_arrays_whose_values_cannot_be_replaced_are_refused(monkeypatch):
    """As JAX's: the remedy is numpy's copy."""
    import array_api_compat

    monkeypatch.setattr(array_api_compat, "is_writeable_array", lambda array: False)
    with pytest.raises(TypeError, match=r"X is a Array .* numpy\.asarray\(X\)"):
        SoftmaxRegression().fit(strict.asarray(X4), y4)


@pytest.mark.parametrize("pass_over_X", [(LossAndGradient, "__call__"), (DeviceColumns, "_sums")])
@pytest.mark.parametrize("name", ["OutOfMemoryError", "SomethingElseError"])
def test_a_full_memory_is_named_in_bytes(monkeypatch, name, pass_over_X):
    """Of X and of its copy, with the way out: fits in chunks. Other errors stay what they are."""
    error = type(name, (RuntimeError,), {})

    def full(*args):
        raise error("no memory")

    monkeypatch.setattr(*pass_over_X, full)
    with pytest.raises(MemoryError if name == "OutOfMemoryError" else error) as raised:
        SoftmaxRegression().fit(strict.asarray(X4.astype(np.float32)), y4)
    if name == "OutOfMemoryError":
        message = r"CPU_DEVICE.* is full: X takes 1,920 bytes there.*copy [\d,]+\..*fit_chunks"
        assert re.search(message, str(raised.value))
        assert type(raised.value.__cause__) is error


def test_dispatch_without_array_api_compat_says_what_to_install(monkeypatch):
    """The extra; numpy's arrays need none."""
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    with pytest.raises(ImportError, match=r"softreg\[array-api\]"):
        SoftmaxRegression().fit(strict.asarray(X4), y4)
    assert SoftmaxRegression().fit(X4, y4).proven_


@pytest.mark.parametrize("library", LIBRARIES)
def test_without_dispatch_numpys_arrays_come_back(library):
    """As in scikit-learn: arrays of the processor are converted."""
    X = array_of(library, X4)
    with config_context(array_api_dispatch=False):
        model = SoftmaxRegression().fit(X, array_of(library, y4), array_of(library, WEIGHT))
        expected = SoftmaxRegression().fit(X4, y4, WEIGHT)
        for found in (model.coef_, model.predict(X), model.predict_proba(X)):
            assert is_of("numpy", found)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X4))


# ---- Processes ----------------------------------------------------------------------------------


def test_importing_softreg_imports_no_other_library():
    """Neither libraries of arrays nor what is needed beside them, also by a fit of numpy's."""
    code = """
import sys
import softreg
from sklearn.datasets import load_iris
softreg.SoftmaxRegression().fit(*load_iris(return_X_y=True))
print(sorted({"torch", "cupy", "jax", "array_api_compat", "array_api_strict"} & set(sys.modules)))
"""
    assert run(code, SCIPY_ARRAY_API="0") == ["[]"]


def test_dispatch_in_the_environment_changes_no_fit_of_numpys_arrays():
    """With SciPy's variable set before it is imported: beside fits of a library's arrays."""
    code = """
import array_api_strict, numpy as np, sklearn, softreg
from sklearn.datasets import load_iris
from softreg import *
X, y = load_iris(return_X_y=True)
kinds = [SoftmaxRegression, SigmoidRegression, SoftmaxRegressionCV, SigmoidRegressionCV]
for kind in kinds:
    terms = {"Cs": [0.1, 1.0], "cv": 3} if "CV" in kind.__name__ else {}
    with sklearn.config_context(array_api_dispatch=True):
        there = array_api_strict.asarray(X)
        model = kind(**terms).fit(there, array_api_strict.asarray(y))
        P = np.asarray(model.predict_proba(there))
        here = kind(**terms).fit(X, y)
        assert type(here.coef_) is np.ndarray and type(here.predict_proba(X)) is np.ndarray
    off = kind(**terms).fit(X, y)
    assert (off.coef_ == here.coef_).all()
    assert abs(off.objective_ - model.objective_) < 1e-8 * off.objective_
    assert abs(off.predict_proba(X) - P).max() < 1e-4
    assert off.score(X, y) == here.score(X, y)
print("fitted")
"""
    assert run(code, SCIPY_ARRAY_API="1") == ["fitted"]


def test_a_forked_process_fits_after_its_parent(torch):
    """Of tensors and numpy's arrays, more than once, with one thread.

    PyTorch's several threads, OpenMP's, hang in the forked processes of a program that used them.
    """
    code = """
import multiprocessing, sys, numpy as np, sklearn, torch
from softreg import SoftmaxRegression
rng = np.random.default_rng(0)
X, y = rng.normal(size=(20_000, 8)), rng.integers(3, size=20_000)
sklearn.set_config(array_api_dispatch=True)

def fit():
    models = [SoftmaxRegression(n_jobs=2).fit(of, y) for of in (torch.asarray(X), X)]
    return [float(model.objective_) for model in models]

def send(pipe):
    pipe.send(fit())

expected = fit()
for _ in range(2):
    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=send, args=(there,), daemon=True)
    process.start()
    assert here.poll(60), "the forked process hangs"
    np.testing.assert_allclose(here.recv(), expected, rtol=1e-9)
    process.join()
    np.testing.assert_allclose(fit(), expected, rtol=1e-9)
print("fitted")
"""
    assert run(code, SCIPY_ARRAY_API="1", OMP_NUM_THREADS="1") == ["fitted"]
