"""Laws of arrays on devices: numpy's functions make of them what they make of its own.

Each statement is executed twice, with numpy's arrays and with a library's in their place, and
leaves the same in all of them.
"""

import numpy as np
import pytest
from parts import LIBRARIES, on_device
from scipy import sparse, special

from softreg._rows.devices import functions
from softreg._rows.devices.arrays import Device, DeviceArray
from softreg._rows.devices.rows import DeviceColumns
from softreg._rows.threads import Threads

DTYPES = {np.float64: 1e-13, np.float32: 1e-5}
# Arrays of a library, and those that are numpy's throughout: `h` of floats, `i` and `mask`.
ARRAYS = ["A", "B", "M", "Z", "c", "positive", "is_big", "flags", "counts"]


def arrays(dtype):
    """The arrays that statements name."""
    random = np.random.default_rng(0)
    A, B, M, Z, c = (
        random.normal(size=shape).astype(dtype) for shape in [(5, 4), (5, 4), (4, 3), (2, 5, 4), 4]
    )
    return {
        **{"A": A, "B": B, "M": M, "Z": Z, "c": c, "positive": np.abs(B) + dtype(0.1)},
        **{
            "is_big": A > 0.3,
            "flags": (A > 0.3).astype(dtype),
            "counts": np.array([3, 0, 1, 2, 2]),
        },
        **{
            "h": B[::-1].copy(),
            "i": np.array([2, 0, 3]),
            "csc": sparse.csc_array(M),
            "mask": np.arange(5) % 2 == 0,
        },
        **{"np": np, "special": special, "dtype": dtype, "number": dtype(1.5)},
    }


def executed(statement, names):
    """What names stand for after a statement: arrays as numpy's."""
    exec(statement, names)
    kinds = np.ndarray | np.generic | DeviceArray
    return {name: np.asarray(of) for name, of in names.items() if isinstance(of, kinds)}


def assert_same_of(library, dtype, statement):
    """Both ways a statement leaves the same values, shapes and dtypes; return its result R."""
    here, there = arrays(dtype), arrays(dtype)
    there |= {name: on_device(library, there[name]) for name in ARRAYS}
    expected, found = executed(statement, here), executed(statement, there)
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        assert (found[name].dtype, found[name].shape) == (wanted.dtype, wanted.shape), name
        tolerance = {"rtol": DTYPES[dtype], "atol": DTYPES[dtype]}
        np.testing.assert_allclose(found[name], wanted, **tolerance, err_msg=name)
    return there.get("R")


# What functions of the tables make, and operators.
FUNCTIONS = """
R = np.absolute(A)
R = np.add(A, c)
R = np.divide(A, positive)
R = np.equal(A, A * flags)
R = np.exp(A)
R = np.greater(A, B)
R = np.greater_equal(A, c)
R = np.isfinite(A / (A * flags + 1))
R = np.less(A, B)
R = np.less_equal(A, 0.2)
R = np.log(positive)
R = np.log1p(positive)
R = np.logical_not(is_big)
R = np.matmul(A, M)
R = np.maximum(A, 0)
R = np.minimum(A, B)
R = np.multiply(A[:, :1], B)
R = np.negative(A)
R = np.not_equal(A, B * flags)
R = np.sign(A * flags)
R = np.sqrt(positive)
R = np.square(A)
R = np.floor(A)
R = np.subtract(A, B)
R = np.add.reduce(A)
R = np.add.reduce(Z, axis=2)
R = np.add.reduce(A, axis=None)
R = np.add.reduce(A, axis=1, dtype=float)
R = np.add.reduce(A, axis=1, keepdims=True, initial=2.5)
R = np.maximum.reduce(A)
R = np.maximum.reduce(A, axis=1, initial=1)
R = special.log_expit(np.stack([A, 900 * A]))
R = A + 1
R = 2.5 - A
R = -A / 3
R = abs(A) * number
R = number * A
R = (A > 0) == (B > 0)
R = A @ M
R = Z @ M
R = A @ c
R = c @ A.T
R = A.T @ B
R = A[:, :1] + B[:1]
R = h + A
R = A - h
R = h * A
R = h @ A.T
R = A @ h.T
R = A @ csc
R = h > A
R = np.sum(A)
R = np.sum(A, axis=0)
R = np.sum(Z, axis=(0, 2))
R = np.sum(A, axis=1, keepdims=True)
R = np.sum(A, axis=1, dtype=float)
R = np.sum(A, axis=0, where=is_big)
R = np.sum(A, where=A > h, initial=-1)
R = np.sum(is_big, axis=0)
R = np.sum(counts)
R = A.sum(axis=-1)
R = np.max(A)
R = np.max(A, axis=1, initial=0)
R = np.max(A, axis=0, initial=-5, where=is_big)
R = np.max(A, axis=0, initial=9)
R = np.max(-positive, axis=0, initial=0)
R = np.max(A[:0], axis=0, initial=0)
R = np.max(A[:0], initial=-2)
R = A.max(axis=1, keepdims=True)
R = np.min(A, axis=0)
R = np.min(A, axis=1, initial=1, where=is_big)
R = A.min(initial=-9)
R = np.any(is_big, axis=0)
R = np.any(A > 1, axis=1, keepdims=True)
R = np.any(A > -9, axis=0, where=is_big)
R = is_big.any()
R = np.all(is_big, axis=1)
R = np.all(A > 0.3, axis=0, where=is_big)
R = is_big.all()
R = np.mean(A)
R = np.mean(A, axis=0)
R = A.mean(axis=1, keepdims=True)
R = np.argmax(A)
R = np.argmax(A, axis=1)
R = A.argmax(axis=0)
R = np.where(is_big, A, B)
R = np.where(is_big, A, 0)
R = np.where(is_big, -1.5, A)
R = np.where(A > 0, A, h)
R = np.where(is_big, c, A)
R = np.concatenate([A, B])
R = np.concatenate([A, h, B], axis=1)
R = np.concatenate([A, B], dtype=float)
R = np.concatenate((c, c))
R = np.stack([A, B])
R = np.stack([A, h], axis=1)
R = np.broadcast_to(c, (5, 4))
R = np.clip(A, -0.5, 0.5)
R = np.clip(A, None, 0.2)
R = np.count_nonzero(is_big)
R = np.count_nonzero(A * flags, axis=0)
R = np.reshape(A, (4, -1))
R = A.reshape(2, 10)
R = A.reshape((2, 5, 2))
R = A.reshape(-1)
R = A.ravel()
R = np.dot(A, M)
R = np.take(A, i, axis=1)
R = np.take(A, [[0, 1], [4, 2]], axis=0)
R = np.take(A, i)
R = A.take(counts, axis=0)
R = np.transpose(A)
R = np.transpose(Z, (1, 0, 2))
R = Z.transpose(2, 0, 1)
R = Z.T
R = np.zeros((2, 3), like=A)
R = np.zeros(np.int64(3), np.float32, like=A)
R = np.ones(4, like=A)
R = np.ones((2, 2), bool, like=A)
R = np.empty((2, 3), dtype, like=A); R[...] = 1
R = np.zeros_like(A)
R = np.zeros_like(A, dtype=bool)
R = np.ones_like(A, dtype=np.float32)
R = np.empty_like(A); R[...] = c
R = A.copy()
R = A.copy(order="F")
R = A.astype(np.float32)
R = A.astype(float, copy=False)
R = counts.astype(float)
R = np.stack([row + 1 for row in A])
""".strip().splitlines()

# Parts of arrays, in each way that names them.
PARTS = """
A[1]
A[-1]
A[np.int64(2)]
A[1:3]
A[::2]
A[3:99]
A[-99:-1, :99]
A[:, 2]
A[:, 1:2]
A[..., 0]
A[None]
A[:, None]
A[None, :, None, 1:]
A[2, 3]
Z[0, 1:, None, 2]
Z[..., None, :2]
A[i]
A[[4, 0]]
A[:, i]
A[mask]
A[:, [True, False, True, True]]
A[i, 1:3]
A[-i]
Z[:, i]
Z[:, ::2, i]
A[counts]
A[:0]
A[i[:0]]
""".strip().splitlines()
# Of these numpy's copy is taken: places along several axes, or beside numbers, and backwards.
PARTS_ON_HOST = """
A[i, i]
A[i[:1], i[:1]]
A[i[:, None]]
A[i[:, None], i]
A[np.ix_(i, i)]
Z[0, i]
Z[0, :, i]
Z[..., i]
Z[i[:0], :, 1]
A[::-1]
A[4:1:-1]
Z[0, i[:, None], i]
A[h > 0]
A[is_big]
A[np.array(1)]
""".strip().splitlines()

# What changes arrays in place, those that share its memory, and `out`.
CHANGES = """
A += B
A -= c
A *= 2
A /= positive
A += flags
A -= h
A *= number
c += A[0]
Z[1] *= A
Z[:, 1:3] += A[1:3]
Z.T[...] = 0
R = A.reshape(-1); R *= 2
R = A.reshape(4, 5); R += 1
R = A.T; R -= M[:, :1]
R = A[1:]; R[:, 0] = 7; R = R.T; R /= 2
np.exp(A, out=A)
np.negative(A, out=Z[0])
np.negative(c, out=A)
np.add(c, A[:, :1], out=Z[1])
np.multiply(A, A.T[0, 0], out=Z[0])
np.multiply(A[:, :2].T, c[:2, None], out=Z[0, :, :2].T)
np.subtract(h, A, out=B)
np.divide(A, positive, out=h)
np.exp(A, out=h)
np.matmul(A, M, out=Z[0, :, :3])
np.matmul(h.T, A, out=h[:4])
np.divide(A, B, out=Z[0], where=is_big)
np.divide(A, B, out=h, where=is_big)
np.greater(A, B, out=is_big)
np.multiply(A, 2, out=A[::1], casting="same_kind")
R = np.zeros(A.shape, float, like=A); np.negative(A, out=R)
R = np.zeros(A.shape, float, like=A); np.add(A, B, out=R); R += A
R = np.zeros(A.shape, np.float32, like=A); np.multiply(A, B, out=R, casting="same_kind")
h += A
h *= c
h[1:3] = A[:2]
h[:, 0] = A[0, 0]
A[...] = B
A[1] = 0
A[:, 1:3] = B[:, :2]
A[2] = c
A[:, 0] = h[:, 0]
A[1, 2] = float(c[0])
A[:, -1] += 1
A[i] = 5
A[i] = B[i]
A[:, i] = B[:, :1]
A[i, 1:3] = 0
A[mask] *= -1
A[is_big] = 0
A[i, i] = 3
A[np.ix_(i, i)] = 1
A[None, 0] = c
Z[0, :, i] += 1
A[...] = counts[:, None]
A[...] = h.astype(float)
""".strip().splitlines()

# Functions that no table holds: numpy's result is.
ELSEWHERE = """
R = A ** 2
R = ~is_big
R = is_big & (A > 0)
R = np.median(A, axis=0)
R = np.cumsum(A, axis=1)
R = np.einsum("ij,kj->ik", A, B)
R = np.linalg.norm(A, axis=1)
R = np.partition(A, 2, axis=1)
R = np.unique(counts)
R = np.outer(c, c)
R = np.hypot(A, B)
R = np.append(c, [1, 2])
R = np.logaddexp.reduce(A, axis=1)
R = np.minimum.reduce(A)
R = np.multiply.outer(c, c)
R = np.add.accumulate(A)
R = np.add(A, B, where=is_big, out=np.zeros_like(h))
R = np.add.reduce(A, axis=0, where=is_big)
R = special.logsumexp(np.asarray(A), axis=1)
R = np.array([A, B])
R = np.asarray(A, dtype=np.float32)
R = np.ascontiguousarray(A)
R = np.broadcast_arrays(A, c)[1]
R = np.split(A, 2, axis=1)[1]
""".strip().splitlines()


@pytest.mark.factor("dtype", DTYPES)
@pytest.mark.factor("library", LIBRARIES)
@pytest.mark.factor("statement", [*FUNCTIONS, *(f"R = {part}" for part in PARTS)])
def test_functions_of_the_tables_compute_on_the_device(library, dtype, statement):
    """What they make of arrays there, also beside numpy's and numbers, is there."""
    R = assert_same_of(library, dtype, statement)
    assert isinstance(R, DeviceArray)


@pytest.mark.factor("dtype", DTYPES)
@pytest.mark.factor("library", LIBRARIES)
@pytest.mark.factor("statement", CHANGES)
def test_changes_in_place_reach_all_that_shares_the_memory(library, dtype, statement):
    """Of the array, of parts of it and in other shapes; `out` may be an ndarray."""
    assert_same_of(library, dtype, statement)


@pytest.mark.factor("dtype", DTYPES)
@pytest.mark.factor("library", LIBRARIES)
@pytest.mark.factor("statement", [*ELSEWHERE, *(f"R = {part}" for part in PARTS_ON_HOST)])
def test_what_no_table_holds_is_numpys(library, dtype, statement):
    """It is computed on the host, of copies."""
    assert isinstance(assert_same_of(library, dtype, statement), np.ndarray)


def test_the_statements_call_every_function_of_the_tables():
    """A function that is added to a table has to be added to the list above."""
    of_module = {True: "np", False: "special"}
    called = [
        f"{of_module[hasattr(np, ufunc.__name__)]}.{ufunc.__name__}"
        + (f".{method}" if method != "__call__" else "")
        for ufunc, method in functions.UFUNCS
    ] + [f"np.{function.__name__}" for function in functions.FUNCTIONS]
    assert [name for name in called if f"{name}(" not in "\n".join(FUNCTIONS)] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_arrays_say_of_themselves_what_numpys_do(library):
    """Shapes, dtypes and lengths, numbers of those with one value, and copies are numpy's."""
    for dtype in (np.float64, np.float32, np.int64, bool):
        values = np.arange(6).reshape(2, 3).astype(dtype)
        array = on_device(library, values)
        for name in ("shape", "ndim", "size", "dtype"):
            assert getattr(array, name) == getattr(values, name)
        assert len(array) == 2 and [len(row) for row in array] == [3, 3]
        for place in [(0, 0), (1, 2)]:
            for number in (bool, int, float):
                assert number(array[place]) == number(values[place])
        copy = np.array(array)
        copy[...] = 0
        np.testing.assert_array_equal(np.asarray(array), values)


@pytest.mark.parametrize("library", LIBRARIES)
def test_products_over_many_rows_are_added_up_in_double_precision(library):
    """2^24 and four ones, in parts of their own, are 2^24 in single precision, plus 4 in double.

    Between 2^24 and 2^25 single precision has even numbers alone, and rounds 2^24 + 1 down.
    """
    A, B = np.zeros((1, 4 * 2**14 + 5), np.float32), np.ones((4 * 2**14 + 5, 2), np.float32)
    A[0, [7, 2**14 + 1, 2 * 2**14 + 2, 4 * 2**14 - 1, 4 * 2**14 + 3]] = 2**24, 1, 1, 1, 1
    total = np.float32(2**24)
    for one in A[0, [2**14 + 1] * 4]:
        total += one
    assert total == 2**24
    product = np.asarray(np.dot(on_device(library, A), on_device(library, B)))
    np.testing.assert_array_equal(product, [[2**24 + 4.0] * 2])
    assert product.dtype == np.float64


def test_arrays_go_to_every_device_and_come_back():
    """Numbers of all kinds; as single precision where there is no double."""
    strict = pytest.importorskip("array_api_strict")
    for device in strict.__array_namespace_info__().devices():
        on = Device.of(strict.asarray(np.zeros(1, np.float32), device=device))
        assert on.has_double == ("no_" not in str(device))
        for dtype in (np.float64, np.float32, np.int32, bool):
            values = np.arange(6).reshape(2, 3).astype(dtype)
            for given in (values, values.T, values[::-1], values[0, 1]):
                array = on.put(given)
                assert array.array.device == device
                returned = np.asarray(array)
                np.testing.assert_array_equal(returned, given)
                has_dtype = on.has_double or dtype is not np.float64
                assert returned.dtype == (dtype if has_dtype else np.float32)
            kept = on.put(values)
            values[...] = 0
            np.testing.assert_array_equal(
                np.asarray(kept), np.arange(6).reshape(2, 3).astype(dtype)
            )


def test_moments_of_devices_without_double_precision_are_in_double():
    """Means and deviations of columns far from zero are those of their exact sums, on the host."""
    strict = pytest.importorskip("array_api_strict")
    X = np.random.default_rng(0).normal(1e4, 0.5, (300, 3)).astype(np.float32)
    weights, device = np.random.default_rng(1).uniform(size=300), strict.Device("no_float64")
    array = strict.asarray(X, device=device)
    with Threads(1) as threads:
        moments = DeviceColumns(DeviceArray(array, Device.of(array)), weights).moments(
            [slice(0, 170), slice(170, 300)], threads
        )
    mean = np.average(X.astype(float), axis=0, weights=weights)
    variance = np.average(np.square(X - mean), axis=0, weights=weights)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(np.square(moments.deviation), variance, rtol=1e-10)
