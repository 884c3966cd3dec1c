"""Arrays of other libraries, their equality, and new processes: shared by tests of devices."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from parts import HAS_DISPATCH

from softreg._rows.devices.arrays import Device

if not HAS_DISPATCH:
    pytest.skip("SciPy is too old for arrays of other libraries", allow_module_level=True)
strict = pytest.importorskip("array_api_strict")

# Two fits that are proven to tol = 1e-9 of F differ by less in F, and by its root in probabilities.
SAME = {"rtol": 0, "atol": 1e-4}


def array_of(library, values):
    return import_module(library).asarray(values)


def is_of(library, array):
    return type(array).__module__.partition(".")[0] == library


def on_host(array):
    """An array of any library and device as numpy's."""
    return Device.of(array).fetch(array)


def assert_same(found, expected, library, tolerance=SAME):
    """Equal numbers in an array of the library, of the same dtype; texts in one of numpy's."""
    if expected.dtype.kind in "UO":
        assert is_of("numpy", found)
        np.testing.assert_array_equal(found, expected)
        return
    assert is_of(library, found)
    found = on_host(found)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, **tolerance)


def run(code, **environment):
    """The words that a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
