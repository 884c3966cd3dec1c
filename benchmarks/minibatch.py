"""Mini-batches against passes over the data: softreg's MiniBatch and scikit-learn's SGDClassifier.

epochs     Fits of raw columns that end after so many epochs, both untuned: how far the objective of
           all rows is above its optimum, and the log loss of a fifth of the rows held out.
           ``SGDClassifier(loss="log_loss", alpha=1/(C n))`` fits one-vs-rest; its F is that of its
           scores in the softmax. Its columns are raw, or standardised, which softreg needs not.
stream     kddcup99_10pct through ``partial_fit`` in chunks of 10,000, raw: held-out log loss after
           each pass, beside that of the exact fit.
chunks     kddcup99_10pct from a .npy file through ``fit_chunks``: F beside that of `fit`, and the
           memory that the fit adds, as a share of the array.
classes    Sampled softmax beside the full one, 10,000 classes (`many_classes.py`; an hour).

    SOFTREG_DATA=folder python benchmarks/minibatch.py [--parts epochs] [--output table.md]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _common as common
import _datasets as datasets
import numpy as np
from many_classes import classes_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softreg import SoftmaxRegression
from softreg.solvers import MiniBatch

EPOCHS = (1, 2, 5, 20)
SETS = ("covtype15k", "dry_bean", "satimage", "letter", "mnist_5k")
STREAMED = "kddcup99_10pct"
CHUNK = 10_000
CHUNK_OF_FILE = 1_000
SEEDS = (0, 1, 2)


def ours(epochs: int, seed: int, data: datasets.Dataset) -> Any:
    return SoftmaxRegression(C=data.C, solver=MiniBatch(n_epochs=epochs), random_state=seed)


def sgd(epochs: int, seed: int, data: datasets.Dataset) -> Any:
    alpha = 1 / (data.C * len(data.y))
    return SGDClassifier("log_loss", alpha=alpha, max_iter=epochs, tol=None, random_state=seed)


def scaled_sgd(epochs: int, seed: int, data: datasets.Dataset) -> Any:
    return make_pipeline(StandardScaler(), sgd(epochs, seed, data))


CONTENDERS = {"MiniBatch": ours, "SGDClassifier": sgd, "SGDClassifier, scaled": scaled_sgd}


def quietly(fit: Callable[[], Any]) -> Any:
    """Fit without scikit-learn's warnings of too few epochs, which are what is measured here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit()


class Linear:
    """A pipeline's coefficients in the units of raw columns."""

    def __init__(self, model: Any) -> None:
        last = model[-1] if hasattr(model, "steps") else model
        self.coef_, self.intercept_ = last.coef_, last.intercept_
        if last is not model:
            scaler = model[0]
            self.coef_ = last.coef_ / scaler.scale_
            self.intercept_ = last.intercept_ - self.coef_ @ scaler.mean_


def held_out_loss(model: Any, X: Any, y: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        P = np.nan_to_num(model.predict_proba(X))
    P /= np.maximum(P.sum(axis=1, keepdims=True), 1e-300)
    return log_loss(y, P, labels=model.classes_)


def epochs_of(name: str) -> list[list[str]]:
    """Rows of the table for one set: one per number of epochs."""
    data = datasets.load(name)
    X, Xh, y, yh = train_test_split(data.X, data.y, test_size=0.2, random_state=0, stratify=data.y)
    exact = SoftmaxRegression(C=data.C)
    best = data.known_optimum or exact.fit(data.X, data.y).objective_
    rows = []
    held = held_out_loss(exact.fit(X, y), Xh, yh)
    for epochs in EPOCHS:
        row = [name, str(epochs)]
        for make in CONTENDERS.values():
            excess, losses, seconds = [], [], []
            for seed in SEEDS:
                start = time.perf_counter()
                model = make(epochs, seed, data)
                quietly(lambda model=model: model.fit(data.X, data.y))
                seconds.append(time.perf_counter() - start)
                F = common.objective(Linear(model), data.X, data.y, data.C)
                excess.append(100 * (F / best - 1))
                model = make(epochs, seed, data)
                quietly(lambda model=model: model.fit(X, y))
                losses.append(held_out_loss(model, Xh, yh))
            row += [f"{statistics.median(excess):.3g}", f"{statistics.median(losses):.4g}"]
            row += [f"{1e3 * statistics.median(seconds):.3g}"]
        rows.append([*row, f"{held:.4g}"])
        print(*rows[-1], sep=" | ", flush=True)
    return rows


def epochs_table(sets: Sequence[str]) -> str:
    header = ["set", "epochs"]
    for name in CONTENDERS:
        header += [f"{name}: F above optimum, %", "held-out log loss", "ms"]
    rows = [row for name in sets for row in epochs_of(name)]
    return common.table([*header, "exact fit's held-out log loss"], rows)


def stream_table() -> str:
    """Held-out log loss of a stream, pass by pass."""
    data = datasets.load(STREAMED)
    X, Xh, y, yh = train_test_split(data.X, data.y, test_size=0.2, random_state=0)
    start = time.perf_counter()
    exact = SoftmaxRegression().fit(X, y)
    fitted, classes = time.perf_counter() - start, np.unique(data.y)
    best, rows = held_out_loss(exact, Xh, yh), []
    stream, start = SoftmaxRegression(random_state=0), time.perf_counter()
    for number in (1, 2, 3, 4):
        for first in range(0, len(y), CHUNK):
            part = slice(first, first + CHUNK)
            stream.partial_fit(X[part], y[part], classes=classes)
        loss = held_out_loss(stream, Xh, yh)
        seconds = f"{time.perf_counter() - start:.1f}"
        rows.append(
            [f"partial_fit, pass {number}", f"{loss:.5g}", f"{loss / best - 1:.2%}", seconds]
        )
        print(*rows[-1], sep=" | ", flush=True)
    rows.append(["exact fit", f"{best:.5g}", "", f"{fitted:.1f}"])
    return common.table([f"{STREAMED}, raw", "held-out log loss", "above the exact", "s"], rows)


def chunked(send: Callable, folder: str) -> None:
    """In a child that never holds the array: send F, gap, bytes added and seconds of a fit."""
    from softreg import chunks

    source = chunks.Arrays([f"{folder}/X.npy"], [f"{folder}/y.npy"], rows=CHUNK_OF_FILE)
    SoftmaxRegression().fit(
        np.eye(3), [0, 1, 2]
    )  # code that is loaded late is not memory of the fit
    send("loaded")
    common.reset_peak_memory()
    before, start = common.peak_memory(), time.perf_counter()
    model = SoftmaxRegression().fit_chunks(source)
    seconds = time.perf_counter() - start
    send((model.objective_, model.optimality_gap_, common.peak_memory() - before, seconds))


def chunks_table(name: str = STREAMED) -> str:
    """F and memory of an exact fit from a file, beside those in memory."""
    data = datasets.load(name)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", data.X)
        np.save(f"{folder}/y.npy", data.y)
        ((F, gap, added, seconds),) = common.messages(chunked, folder)
    start = time.perf_counter()
    inside = SoftmaxRegression().fit(data.X, data.y)
    fitted = time.perf_counter() - start
    share = f"{100 * added / data.X.nbytes:.1f} %"
    rows = [
        ["fit_chunks", f"{F:.12g}", f"{gap / F:.0e}", f"{F / inside.objective_ - 1:.0e}", share],
        ["fit", f"{inside.objective_:.12g}", f"{inside.optimality_gap_ / F:.0e}", "", ""],
    ]
    for row, s in zip(rows, (seconds, fitted), strict=True):
        row.append(f"{s:.1f}")
    return common.table([name, "F", "gap / F", "beside fit", "added, share of array", "s"], rows)


PARTS: dict[str, Callable[[], str]] = {
    "epochs": lambda: epochs_table(SETS),
    "stream": stream_table,
    "chunks": chunks_table,
    "classes": classes_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, help="file for the Markdown tables")
    args = parser.parse_args()
    tables = f"{common.versions()}.\n"
    for part in args.parts:
        tables += f"\n{PARTS[part]()}\n"
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
