"""Where SciPy has array API support, what is made of arrays on a device stays there.

SciPy reads the variable when it is imported, hence a process of its own.
"""

import pytest
from devices import run

SETTING = """
import array_api_strict as xp
import numpy as np
import sklearn

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._model import kernels
from softreg._rows.devices.arrays import Device, DeviceArray

sklearn.set_config(array_api_dispatch=True)
n = 500
X = np.random.default_rng(0).normal(size=(n, 3))
k = (X @ np.eye(3) > 0).sum(axis=1)
two, labels = SoftmaxRegression().fit(X, k > 1), SigmoidRegression().fit(X, X > 0.1)
X = xp.asarray(X)
on, fetch = Device.of(X), Device.fetch
P = on.put(np.abs(np.linspace(-1, 1, 3 * n).reshape(3, n)))
moves = on.put(np.zeros((3, n)))


def fetch_sums(on, array):
    assert n not in array.shape, array.shape
    return fetch(on, array)


Device.fetch = fetch_sums
"""


@pytest.mark.parametrize(
    "made",
    [
        "two.predict_proba(X)",
        "two.predict_log_proba(X)",
        "labels.predict_proba(X)",
        "kernels.softmax_dual_along(P[None], moves[None], moves[None])[1].array",
        "kernels.sigmoid_dual_along(P, moves, moves)[1].array",
    ],
)
def test_values_of_rows_are_not_brought_to_the_host(made):
    """No array with a value for each row is fetched, and what is made has one."""
    code = f"{SETTING}\nmade = {made}\nassert type(made) is type(X) and n in made.shape\n"
    run(code, SCIPY_ARRAY_API="1")
