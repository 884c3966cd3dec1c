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
from softreg.chunks import Csv
from softreg.solvers import MiniBatch

ROWS_OF_A_CHUNK = 2_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("csv", nargs="?", type=Path, help="a CSV file of numbers and one target")
    parser.add_argument("--target", default="state", help="the column to predict")
    parser.add_argument("--picture", type=Path, help="file for the curve; needs matplotlib")
    args = parser.parse_args()
    if args.csv is not None:
        return study(Csv(args.csv, args.target, rows=ROWS_OF_A_CHUNK), args.picture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machines.csv"
        simulate(path)
        study(Csv(path, args.target, rows=ROWS_OF_A_CHUNK), args.picture)


def study(chunks, picture):
    stochastic = by_mini_batches(chunks)
    exact = SoftmaxRegression().fit_chunks(chunks)
    print(f"""
The exact solver reads the file {exact.n_iter_}-odd times in all and proves its F = \
{exact.objective_:.6f}
to lie at most {exact.optimality_gap_:.0e} above the minimum; the mini-batches stopped at \
{stochastic.objective_:.6f}.""")
    as_a_stream(chunks)
    if picture is not None:
        draw(stochastic, exact, picture)


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
    print("\nSeen once, chunk by chunk; mean loss of each tenth before it was learned from:\n")
    print(" ".join(f"{part.mean():.3f}" for part in np.array_split(model.loss_curve_, 10)))


def draw(stochastic, exact, picture):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    epochs = np.arange(1, stochastic.n_iter_ + 1)
    axes.plot(epochs, stochastic.loss_curve_, marker="o", label="cost F of the rows learned from")
    axes.plot(epochs, stochastic.validation_curve_, marker="s", label="mean loss of rows held out")
    axes.axhline(exact.objective_, color="black", linestyle="--", label="minimum of F, all rows")
    axes.set(
        xlabel="epoch (pass over the file)", ylabel="cross-entropy, nats", title="Mini-batches"
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    figure.savefig(picture, dpi=150)
    print(f"\nThe curve is in {picture}.")


def simulate(path, n_rows=40_000, seed=0):
    """Write a simulated log of machines, a chunk at a time: raw units, three states."""
    random = np.random.default_rng(seed)
    effects = np.array([[0.9, -0.4, 0.2, 0.0], [-0.3, 0.8, 0.1, 0.6], [-0.6, -0.4, -0.3, -0.6]])
    states = np.array(["idle", "busy", "failing"])
    for start in range(0, n_rows, ROWS_OF_A_CHUNK):
        Z = random.standard_normal((ROWS_OF_A_CHUNK, 4))
        table = pd.DataFrame(
            {
                "temperature_K": 330 + 12 * Z[:, 0],
                "pressure_Pa": 101_325 + 900 * Z[:, 1],
                "current_A": 0.02 + 0.004 * Z[:, 2],
                "vibration_mm": np.exp(0.5 * Z[:, 3]) / 100,
            }
        )
        score = 1.5 * Z @ effects.T + random.gumbel(size=(ROWS_OF_A_CHUNK, 3))
        table["state"] = states[score.argmax(axis=1)]
        first = start == 0
        table.to_csv(path, mode="w" if first else "a", header=first, index=False)
    print(f"{n_rows:,} simulated rows in {path.name}, {path.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
