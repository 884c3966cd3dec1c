"""What has a value for each row goes to a device, or comes from it, no more often than need be."""

from dataclasses import replace

import numpy as np
import pytest
from devices import strict

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._rows.coordinates import Coordinates
from softreg._rows.devices.arrays import Device, DeviceArray
from softreg._rows.devices.rows import DeviceColumns, DeviceRows, DeviceTargets
from softreg._rows.targets import ClassTargets
from softreg._rows.threads import Threads
from softreg.solvers import LBFGS, Newton, ProximalNewton

N = 1000


@pytest.fixture
def crossed(monkeypatch):
    """The arrays that are put and fetched, in order, as they arrive."""
    arrays = {"put": [], "fetch": []}
    for way, move in (("put", Device.put), ("fetch", Device.fetch)):

        def moved(on, values, way=way, move=move):
            arrays[way].append(move(on, values))
            return arrays[way][-1]

        monkeypatch.setattr(Device, way, moved)
    return arrays


def on_device(values, has_double=True):
    array = strict.asarray(values)
    return DeviceArray(array, replace(Device.of(array), has_double=has_double))


@pytest.mark.parametrize(("K", "nbytes"), [(3, 1), (128, 1), (129, 2), (40_000, 4)])
def test_a_class_takes_the_fewest_bytes(crossed, K, nbytes):
    """Its number goes to the device, and becomes a one among zeros there."""
    codes = np.array([0, K - 1, 1, K - 1])
    on = on_device(np.zeros(1)).on
    Y = DeviceTargets.from_targets(ClassTargets(codes, K), len(codes), on, np.float64).Y
    assert crossed["put"][0].shape == codes.shape
    assert crossed["put"][0].dtype.itemsize == nbytes
    expected = np.zeros((K, len(codes)))
    expected[codes, range(len(codes))] = 1
    np.testing.assert_array_equal(np.asarray(Y), expected)


def test_weights_go_to_the_device_once_for_the_moments(crossed):
    """Both sums, of values and of squares, are made of the same copy."""
    X = np.random.default_rng(0).normal(size=(N, 2))
    columns = DeviceColumns(on_device(X), np.ones(N))
    sums = columns._sums(np.zeros(2), None, slice(0, N))
    np.testing.assert_allclose(sums, [X.sum(axis=0), (X**2).sum(axis=0)], rtol=1e-12)
    assert [array.shape for array in crossed["put"]].count((N,)) == 1


def test_without_double_precision_rows_are_fetched_once_for_the_moments(crossed):
    """Block by block: a block's rows, not all."""
    X = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    rows = DeviceRows(
        on_device(X, has_double=False),
        ClassTargets(np.zeros(N, int), 2),
        None,
        None,
        Coordinates.raw(2, True),
        Threads(1),
        np.dtype(np.float32),
    )
    rows.kept("block_slices", lambda: [slice(0, 600), slice(600, N)])
    with rows.threads:
        deviation = rows.totals.moments.deviation
    np.testing.assert_allclose(deviation, X.astype(float).std(axis=0), rtol=1e-6)
    assert sum(array.shape[0] for array in crossed["fetch"] if array.ndim == 2) == N


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize(
    ("name", "solver"),
    [
        *((name, solver) for name in ("softmax", "labels") for solver in (LBFGS(), Newton())),
        *((name, ProximalNewton()) for name in ("softmax", "labels", "lasso")),
    ],
    ids=str,
)
def test_only_coefficients_and_sums_cross_the_bus(crossed, name, solver):
    """X stays; targets and weights go there once; else nothing is longer than a Hessian."""
    n, d, K = 3000, 5, 3
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n, d)), (rng.random((n, K)) < 0.5) * 1.0
    y = Y if name == "labels" else rng.integers(K, size=n)
    kind = SigmoidRegression if name == "labels" else SoftmaxRegression
    model = kind(0.1, float(name == "lasso"), solver=solver)
    model.fit(strict.asarray(X), y, sample_weight=np.ones(n) + Y[:, 0])
    put, fetched = ([array.size for array in crossed[way]] for way in ("put", "fetch"))
    hessian = (K * (d + 1)) ** 2
    assert 0 < max(fetched) <= hessian < n
    assert sum(size for size in put if size >= n) <= 3 * n * K
    assert max(size for size in put if size < n) <= hessian
