"""Sets as folders of Parquet parts, raw, and F of any program's coefficients over the parts.

kddcup       kddcup99_10pct from the folder that SOFTREG_DATA names
simulated    raw float32 columns of unequal units, and the classes of a softmax model
two-classes  the same, the first class against the others, without a penalty: dask-ml knows two
             classes, and penalises standardised columns and the intercept, or nothing
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import _common as common
import _datasets as datasets
import numpy as np
import pandas as pd
from numpy.typing import NDArray

C_OF = {"kddcup": 1.0, "simulated": 1.0, "two-classes": np.inf}
N_COLUMNS, N_CLASSES = 40, 6


def simulated(rows: int, seed: int) -> tuple[NDArray, NDArray]:
    """Raw columns of one part, and the classes of a softmax model that all parts share."""
    W = 0.7 * np.random.default_rng(0).normal(size=(N_COLUMNS, N_CLASSES)).astype(np.float32)
    rng = np.random.default_rng([1, seed])
    Z = rng.standard_normal((rows, N_COLUMNS), dtype=np.float32)
    Z[:, 1::2] += 0.8 * Z[:, ::2]
    y = np.argmax(Z @ W + 2 * rng.gumbel(size=(rows, N_CLASSES)), axis=1)
    units = np.logspace(-3, 4, N_COLUMNS).astype(np.float32)
    return Z * units + 3 * units, y


def write(folder: Path, data: str, rows: int, parts: int) -> None:
    """Write the parts of a set into a folder; kddcup has as many rows as it has."""
    if data == "kddcup":
        whole = datasets.load("kddcup99_10pct")
        cuts = np.array_split(np.arange(len(whole.y)), parts)
    for number in range(parts):
        if data == "kddcup":
            X, y = whole.X[cuts[number]], whole.y[cuts[number]]
        else:
            X, y = simulated(rows // parts, number)
        if data == "two-classes":
            y = (y == 0).astype(np.int64)
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        frame.assign(y=y).to_parquet(folder / f"part.{number:04}.parquet")


def arrays(path: str | Path) -> tuple[NDArray, NDArray]:
    """Return X (n, d) and y (n,) of a part, or of all parts in a folder."""
    frame = pd.read_parquet(path)
    return frame.drop(columns="y").to_numpy(), frame["y"].to_numpy()


def objective(folder: str | Path, coef: NDArray, intercept: NDArray, C: float) -> float:
    """F of coefficients (K, d) and intercepts (K,), in float64, one part in memory at a time.

    One row of them stands for the second of two classes.
    """
    model = SimpleNamespace(coef_=np.atleast_2d(coef), intercept_=np.atleast_1d(intercept))
    loss, n = 0.0, 0
    for path in sorted(Path(folder).iterdir()):
        X, y = arrays(path)
        loss += len(y) * common.objective(model, X, y, np.inf)
        n += len(y)
    return (loss + np.square(model.coef_).sum() / (2 * C)) / n
