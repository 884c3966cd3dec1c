"""What is to be done about rare classes?
======================================

Eight kinds of parts, the rarest one in 500: class weights, prior correction, costs and sets.

.. code-block:: none

    python examples/imbalance.py

Class weights make no better model: they answer for a world where all classes are equally frequent,
and their probabilities are wrong in this one. `prior_shift` takes that back. What it costs to
overlook a rare class is said to `decide`, which needs right probabilities, and no weights.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from softreg import SoftmaxRegression
from softreg.calibration import decide, prediction_sets, prior_shift

KINDS = pd.Index(["fine", "scratch", "dent", "stain", "bubble", "chip", "crack", "leak"])
SHARES = pd.Series([0.6, 0.2, 0.1, 0.05, 0.025, 0.015, 0.008, 0.002], KINDS)
# To take another part for a fine one costs 1, to overlook a leak 50.
COSTS = pd.DataFrame(np.geomspace(1, 50, 8)[:, None] * (1 - np.eye(8)), KINDS, KINDS)


def main():
    (X, y), (X_test, y_test) = parts(SHARES, 8_000, seed=0), parts(SHARES, 40_000, seed=1)
    plain = SoftmaxRegression(classes=KINDS).fit(X, y)
    weighted = SoftmaxRegression(classes=KINDS, class_weight="balanced").fit(X, y)
    models = {
        "frequencies alone": SoftmaxRegression(classes=KINDS).fit(0 * X, y),
        "no weights": plain,
        "balanced weights": weighted,
        "balanced, corrected": prior_shift(weighted, SHARES),
    }
    scores = pd.concat({name: scored(model, X_test, y_test) for name, model in models.items()})
    show("40,000 other parts, by the likeliest class and by that of least expected cost", scores)
    other = pd.Series(0.1, KINDS) + 0.2 * (KINDS == "fine")
    found = prior_shift(plain, X_new=parts(other, 2_000, seed=2)[0]).class_prior_
    table = pd.DataFrame({"true": other, "in the fit": plain.class_prior_, "found": found})
    show("Shares on another day, found from 2,000 parts that nobody looked at", table.T)
    sets = prediction_sets(plain, *parts(SHARES, 20_000, seed=3), coverage=0.9, class_wise=True)
    in_set, own = sets.predict(X_test), (y_test[:, None] == KINDS.to_numpy()[None])
    held = pd.DataFrame({"held": (in_set & own).sum(axis=0) / own.sum(axis=0)}, KINDS)
    show("Sets of kinds that hold nine of ten parts of each kind", held.T)
    print(f"A set has {in_set.sum(axis=1).mean():.2f} kinds on average.")


def scored(model, X, y):
    """Return scores of the likeliest classes, and of those of least expected cost."""
    loss = log_loss(y, model.predict_proba(X)[:, np.argsort(KINDS)])  # it sorts the classes
    rows = {}
    for how, decided in {"likeliest": model.predict(X), "cost": decide(model, X, COSTS)}.items():
        cost = COSTS.to_numpy()[KINDS.get_indexer(y), KINDS.get_indexer(decided)].mean()
        recall = balanced_accuracy_score(y, decided)
        rows[how] = [loss, accuracy_score(y, decided), recall, cost]
    return pd.DataFrame(rows, ["log loss", "accuracy", "mean recall", "mean cost"]).T


def parts(shares, n, seed):
    """Return five measurements of n parts, (n, 5), and of which kind they are, (n,)."""
    rng, centres = np.random.default_rng(seed), np.random.default_rng(9).normal(0, 1.2, (8, 5))
    codes = rng.choice(8, size=n, p=shares)
    return centres[codes] + rng.normal(size=(n, 5)), KINDS.to_numpy()[codes]


def show(title, table):
    print(f"\n{title}\n{'-' * len(title)}")
    print(table.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
