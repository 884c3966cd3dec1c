"""A table larger than memory
==========================

Softmax regression from a CSV file, chunk by chunk.

.. code-block:: none

    python examples/streaming.py                             a simulated file of machine logs
    python examples/streaming.py my.csv --target state       any CSV of numbers and one target
    python examples/streaming.py my.csv --target state --sep ";" --decimal , --encoding latin-1
    python examples/streaming.py --picture cost.png          draw cost against epochs (matplotlib)

Nothing is scaled, no learning rate is chosen, and no more than one chunk is in memory: first by
mini-batches with a progress bar and early stopping, of which rows held out choose C, then exactly,
then as a stream that is seen once and never again.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from softreg import SoftmaxRegression
from softreg.chunks import Table
from softreg.display import LossCurveDisplay
from softreg.solvers import MiniBatch

ROWS_OF_A_CHUNK = 1_000
CS = (0.01, 1.0, 100.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("csv", nargs="?", type=Path, help="a CSV file of numbers and one target")
    parser.add_argument("--target", default="state", help="the column to predict")
    parser.add_argument("--picture", type=Path, help="file for the curve; needs matplotlib")
    parser.add_argument("--sep", default=",", help="what separates fields, such as ';'")
    parser.add_argument("--decimal", default=".", help="the decimal mark, such as ,")
    parser.add_argument("--encoding", default="utf-8", help="of the file, such as latin-1")
    args = parser.parse_args()
    if args.picture is not None and (missing := no_matplotlib()):
        sys.exit(f"error: --picture: {missing}")
    progress = progress_of()
    if args.csv is not None:
        dialect = {"sep": args.sep, "decimal": args.decimal, "encoding": args.encoding}
        chunks = Table(args.csv, args.target, rows=ROWS_OF_A_CHUNK, **dialect)
        return study(chunks, progress, args.picture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machines.csv"
        simulate(path)
        study(Table(path, args.target, rows=ROWS_OF_A_CHUNK), progress, args.picture)


def study(chunks, progress, picture):
    """Fit the chunks in three ways, and draw the cost if a picture is asked for."""
    null = class_entropy(chunks)
    near = by_mini_batches(chunks, progress, null)
    exact = SoftmaxRegression(near.C).fit_chunks(chunks)
    print(
        f"\nF of all rows: {near.objective_:.6f} by mini-batches. The exact solver, which reads\n"
        f"the file more often, ends at {exact.objective_:.6f}, proven to be the minimum to within\n"
        f"{exact.optimality_gap_:.0e}."
    )
    as_a_stream(chunks, near.C, null)
    if picture is not None:
        draw(near, picture, null)


def progress_of():
    """Return scikit-learn's progress bar in a list, or say what it needs and return none."""
    try:
        from sklearn.callback import ProgressBar

        return [ProgressBar()]
    except ImportError:
        print("There will be no progress bar: it needs scikit-learn >= 1.9 and the package rich.")
        return []


def no_matplotlib():
    """Return why pictures cannot be drawn, or an empty text."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        return 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
    return ""


def class_entropy(chunks):
    """Return the mean loss of a model that knows class frequencies alone."""
    counts = pd.concat([y.value_counts() for _, y in chunks]).groupby(level=0).sum()
    shares = counts / counts.sum()
    return -(shares * np.log(shares)).sum()


def by_mini_batches(chunks, progress, null):
    """Fit with early stopping at several C, and return the best; print its costs."""
    models = []
    for C in CS:
        solver = MiniBatch(n_epochs=15, early_stopping=True)  # the same rows held out at each C
        model = SoftmaxRegression(C, solver=solver, random_state=0)
        models.append((model.set_callbacks(*progress) if progress else model).fit_chunks(chunks))
    losses = {model.C: model.validation_curve_.min() for model in models}
    model = min(models, key=lambda model: losses[model.C])
    print(
        f"\nMini-batches of {model.n_samples_seen_:,} rows, a tenth of them held out. Their loss:"
    )
    for C, loss in losses.items():
        print(f"   C = {C:5g}     {loss:.5f}")
    print(f"   class frequencies alone, all rows: {null:.5f}")
    if losses[model.C] >= null:
        print("WARNING: class frequencies alone do as well or better: do not use this model.")
    costs = pd.DataFrame({"cost F": model.loss_curve_, "held-out loss": model.validation_curve_})
    costs.index = pd.RangeIndex(1, len(costs) + 1, name="epoch")
    print(f"\nOf C = {model.C:g}:\n\n{costs.round(5).to_string()}")
    best = costs["held-out loss"].idxmin()
    print(f"\nKept: the coefficients of epoch {best}, whose held-out loss is the smallest.")
    return model


def as_a_stream(chunks, C, null):
    """Learn from each chunk once, having predicted it before."""
    classes = sorted({label for _, y in chunks for label in y.unique()})
    model = SoftmaxRegression(C, random_state=0)
    for X, y in chunks:
        model.partial_fit(X, y, classes=classes)
    parts = np.array_split(model.loss_curve_, min(8, len(model.loss_curve_)))
    print("\nA stream, each chunk seen once: mean loss of chunks before they are learned from\n")
    print(" ".join(f"{part.mean():.3f}" for part in parts))
    if parts[-1].mean() >= null:
        print(f"WARNING: class frequencies alone lose {null:.3f}: the stream taught nothing.")


def draw(model, picture, null):
    figure = LossCurveDisplay.from_estimator(model, null_loss=null).figure_
    figure.savefig(picture, dpi=150)
    print(f"\nThe curve is in {picture.name}.")


def simulate(path, n_rows=8_000, n_sensors=24, seed=0):
    """Write a simulated log of machines, a chunk at a time: four states, sensors in raw units."""
    random = np.random.default_rng(seed)
    states = np.array(["idle", "busy", "worn", "failing"])
    mixing = random.standard_normal((n_sensors, n_sensors)) / np.sqrt(n_sensors)  # correlated
    unit, level = 10.0 ** random.integers(-3, 5, n_sensors), random.standard_normal(n_sensors)
    effects = random.standard_normal((n_sensors, len(states)))
    names = [f"sensor_{j:02d}" for j in range(n_sensors)]
    for start in range(0, n_rows, ROWS_OF_A_CHUNK):
        Z = random.standard_normal((ROWS_OF_A_CHUNK, n_sensors))
        score = Z @ effects + random.gumbel(size=(ROWS_OF_A_CHUNK, len(states)))
        table = pd.DataFrame(unit * (level + Z @ mixing), columns=names)
        table["state"] = states[score.argmax(axis=1)]
        first = start == 0
        table.to_csv(path, mode="w" if first else "a", header=first, index=False)
    print(f"{n_rows:,} simulated rows in {path.name}, {path.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
