"""A table larger than memory: softmax regression from a CSV file, chunk by chunk.

    python examples/streaming.py                             a simulated file of machine logs
    python examples/streaming.py my.csv --target state       any CSV of numbers and one target
    python examples/streaming.py --picture cost.png          draw cost against epochs (matplotlib)

Nothing is scaled, no learning rate is chosen, and no more than one chunk is in memory: first by
mini-batches with a progress bar and early stopping, then exactly, then as a stream that is seen
once and never again.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from softreg import SoftmaxRegression
from softreg.chunks import Table
from softreg.solvers import MiniBatch

ROWS_OF_A_CHUNK = 1_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("csv", nargs="?", type=Path, help="a CSV file of numbers and one target")
    parser.add_argument("--target", default="state", help="the column to predict")
    parser.add_argument("--picture", type=Path, help="file for the curve; needs matplotlib")
    args = parser.parse_args()
    if args.csv is not None:
        return study(Table(args.csv, args.target, rows=ROWS_OF_A_CHUNK), args.picture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machines.csv"
        simulate(path)
        study(Table(path, args.target, rows=ROWS_OF_A_CHUNK), args.picture)


def study(chunks, picture):
    """Fit the chunks in three ways, and draw the cost if a picture is asked for."""
    near = by_mini_batches(chunks)
    exact = SoftmaxRegression().fit_chunks(chunks)
    print(
        f"\nF of all rows: {near.objective_:.6f} by mini-batches. The exact solver, which reads\n"
        f"the file more often, ends at {exact.objective_:.6f}, proven to be the minimum to within\n"
        f"{exact.optimality_gap_:.0e}."
    )
    as_a_stream(chunks)
    if picture is not None:
        draw(near, picture)


def by_mini_batches(chunks):
    """Fit with early stopping, a progress bar where scikit-learn has one, and print the costs."""
    solver = MiniBatch(n_epochs=15, early_stopping=True)
    model = with_progress(SoftmaxRegression(solver=solver, random_state=0)).fit_chunks(chunks)
    costs = pd.DataFrame(
        {"cost F": model.loss_curve_, "held-out loss": model.validation_curve_},
        index=pd.RangeIndex(1, model.n_iter_ + 1, name="epoch"),
    )
    print(f"\nMini-batches of {model.n_samples_seen_:,} rows, a tenth of them held out:\n")
    print(costs.round(5).to_string())
    best = costs["held-out loss"].idxmin()
    print(f"\nKept: the coefficients of epoch {best}, whose held-out loss is the smallest.")
    return model


def with_progress(model):
    try:
        from sklearn.callback import ProgressBar
    except ImportError:  # scikit-learn < 1.9
        return model.set_params(verbose=1)
    return model.set_callbacks(ProgressBar())


def as_a_stream(chunks):
    """Learn from each chunk once, having predicted it before."""
    classes = sorted({label for _, y in chunks for label in y.unique()})
    model = SoftmaxRegression(random_state=0)
    for X, y in chunks:
        model.partial_fit(X, y, classes=classes)
    parts = np.array_split(model.loss_curve_, min(8, model.n_iter_))
    print("\nA stream, each chunk seen once: mean loss of chunks before they are learned from\n")
    print(" ".join(f"{part.mean():.3f}" for part in parts))


def draw(model, picture):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    epochs = np.arange(1, model.n_iter_ + 1)
    axes.plot(epochs, model.loss_curve_, marker="o", label="cost F, rows learned from")
    axes.plot(epochs, model.validation_curve_, marker="s", label="mean loss, rows held out")
    best = model.validation_curve_.argmin()
    axes.axvline(epochs[best], color="grey", linestyle=":", label=f"kept: epoch {epochs[best]}")
    axes.set(xlabel="epoch (pass over the file)", ylabel="cross-entropy, nats a row")
    axes.set_title("Mini-batches on raw columns")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    figure.savefig(picture, dpi=150)
    print(f"\nThe curve is in {picture}.")


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
