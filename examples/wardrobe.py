"""A blue dress is blue and a dress
================================

Sigmoids beside a softmax, on clothes with several labels each.

.. code-block:: none

    python examples/wardrobe.py                                  the tables
    python examples/wardrobe.py --picture calibration.png        and how often labels are true
    SOFTREG_DATA=folder python examples/wardrobe.py              also the real ml_emotions.npz there

Softmax divides one whole among the labels: right where exactly one label holds, wrong for tags.
With sigmoids each label has a probability of its own. The clothes are simulated: pixels per hue,
length, flare and word frequencies, as a shop's photos and descriptions give them, in raw units. C
is chosen by cross-validation.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, log_loss
from sklearn.metrics import label_ranking_average_precision_score as ranking_precision
from sklearn.model_selection import KFold

from softreg import SigmoidRegressionCV, SoftmaxRegressionCV
from softreg.calibration import tune_thresholds

COLOURS = ["black", "blue", "red", "white"]
GARMENTS = ["dress", "shirt", "jeans", "skirt", "cape"]
COLOUR_SHARES = [0.3, 0.25, 0.15, 0.2, 0.1]  # the fifth is any other colour, which has no label
GARMENT_SHARES = [0.25, 0.3, 0.25, 0.17, 0.03]
LOOKS = {  # of a typical dress, shirt, pair of jeans, skirt and cape
    "length_mm": [1050.0, 700.0, 1000.0, 600.0, 900.0],
    "flare": [1.9, 1.1, 0.7, 1.8, 2.3],  # width of the hem / width of the waist
    "says_sleeve": [0.03, 0.05, 0.0, 0.0, 0.0],  # mentions / words of the description
    "says_waist": [0.03, 0.0, 0.04, 0.04, 0.0],
    "says_denim": [0.0, 0.005, 0.05, 0.005, 0.0],
}
# Pixels, millimetres and shares of words: the penalty shall not depend on these units.
CHOICE_OF_C = {"Cs": 5, "cv": 5, "scoring": "neg_log_loss", "standardize": True}
NULL = "label frequencies alone"
BACKGROUND = 7e4  # mean number of pixels per hue that are shadow, skin or wall


def wardrobe(n, rng):
    """Return n simulated clothes, X, and their labels, Y: some have two colours, or are two."""
    colours = pick(COLOUR_SHARES, n, 0.25, rng)
    garments = pick(GARMENT_SHARES, n, 0.15, rng)
    X = typical(colours, garments)
    X.iloc[:, :4] += rng.exponential(BACKGROUND, (n, 4))
    X.iloc[:, :4] *= rng.lognormal(0, 0.3, (n, 1))  # zoom
    X.iloc[:, 4:6] *= rng.lognormal(0, 0.1, (n, 2))
    X.iloc[:, 6:] = rng.poisson(100 * X.iloc[:, 6:] + 0.3) / 100
    return X, pd.DataFrame(np.hstack([colours[:, :4], garments]), columns=COLOURS + GARMENTS)


def pick(shares, n, second_share, rng):
    """Return n rows of zeros with a single 1 or, in `second_share` of them, often two."""
    kinds = np.eye(len(shares), dtype=int)[rng.choice(len(shares), (2, n), p=shares)]
    return np.where(rng.random((n, 1)) < second_share, kinds[0] | kinds[1], kinds[0])


def typical(colours, garments):
    """Return the looks of clothes without noise: half a million pixels shared by the colours."""
    pixels = 5e5 * colours[:, :4] / colours.sum(axis=1, keepdims=True)
    looks = {name: (garments * values).max(axis=1) for name, values in LOOKS.items()}
    return pd.DataFrame(pixels, columns=[f"{colour}_px" for colour in COLOURS]).assign(**looks)


def new_clothes():
    """Return typical clothes, and one that is half shirt, half dress, of a colour without label."""
    one = np.eye(5, dtype=int)
    names = [
        "blue dress",
        "black jeans",
        "red cape",
        "red and white skirt",
        "green shirt or dress?",
    ]
    X = typical(one[[1, 0, 2, 2, 4]] | one[[1, 0, 2, 3, 4]], one[[0, 2, 4, 3, 0]])
    X.loc[4] = typical(one[[4, 4]], one[[0, 1]]).mean()
    X.iloc[:, :4] += BACKGROUND
    return X.set_axis(names)


def sigmoid():
    """Return the model to fit."""
    return SigmoidRegressionCV(**CHOICE_OF_C)


def answers(X, Y, X_new):
    """Return the label probabilities of new rows in three ways, all fitted to the same rows."""
    shares = Y.div(Y.sum(axis=1), axis=0)  # softmax targets: a blue dress is half blue, half dress
    softmax = SoftmaxRegressionCV(**CHOICE_OF_C).fit(X, shares)
    softmax = softmax.predict_proba(X_new)
    return {
        NULL: np.tile(Y.mean(), (len(X_new), 1)),
        "softmax": softmax,
        "softmax x labels per row": np.minimum(Y.sum(axis=1).mean() * softmax, 0.99),
        "sigmoid": sigmoid().fit(X, Y).predict_proba(X_new),
    }


def scores(Y, proba, threshold=0.5):
    """Return one row for each entry of `proba`; only the log loss is better when it is smaller."""
    rows = {}
    for name, P in proba.items():
        f1 = f1_score(Y, np.greater(P, threshold), average="samples", zero_division=0)
        rows[name] = [log_loss(np.ravel(Y), np.ravel(P)), f1, ranking_precision(Y, P)]
    return pd.DataFrame(rows, ["log loss", "samples-F1", "ranking precision"]).T


def compare(Y, proba):
    """Print how well frequent and how well calibrated each model's labels are."""
    labels, bins = pd.DataFrame({"frequency": Y.mean()}), {}
    models = {name: proba[name] for name in ("softmax", "sigmoid")}
    for name, P in models.items():
        labels[f"{name}: mean"] = P.mean(axis=0)
        labels[f"{name}: log loss"] = [log_loss(Y[c], p) for c, p in zip(Y, P.T, strict=True)]
        given = pd.cut(np.ravel(P), [0, 0.1, 0.4, 0.6, 0.9, 1])
        holds = pd.Series(np.ravel(Y)).groupby(given, observed=False)
        bins[f"{name}: times"], bins[f"{name}: true"] = holds.size(), holds.mean()
    show("Unseen clothes: frequency of each label, mean probability, log loss", labels)
    show("Unseen clothes: how often is a label true that is given this probability?", bins)
    together = scores(Y, proba)
    show("Unseen clothes: all labels together", together)
    warn_of_losers(together)


def warn_of_losers(table):
    """Say which models predict unseen rows no better than label frequencies alone."""
    loss = table["log loss"]
    for name in loss.index[(loss >= loss[NULL]) & (loss.index != NULL)]:
        print(f"WARNING: {name!r} loses as much as {NULL}, or more.")


def forget_a_third(X, Y, X_test, Y_test, rng):
    """Print what is lost when a third of the labels, at random, is unknown (NaN)."""
    partial = Y.mask(rng.random(Y.shape) < 1 / 3)
    fits = {"all known": Y, "a third unknown": partial, "unknown taken for no": partial.fillna(0)}
    proba = {name: sigmoid().fit(X, known).predict_proba(X_test) for name, known in fits.items()}
    show("A third of the labels unknown (NaN)", scores(Y_test, proba))
    print(f"Of {len(Y)} rows, {len(partial.dropna())} are complete.")


def tune(X, Y, X_test, Y_test):
    """Print F1 of unseen clothes before and after the thresholds are tuned on the training rows."""
    model = sigmoid().fit(X, Y)
    table = pd.DataFrame({"frequency": Y.mean(), "threshold": tune_thresholds(model, X, Y)})
    for name, threshold in {"F1 at 0.5": 0.5, "F1 tuned": table["threshold"].to_numpy()}.items():
        predicted = model.set_params(threshold=threshold).predict(X_test)
        table[name] = f1_score(Y_test, predicted, average=None, zero_division=0)
    table.loc["mean"] = table.mean()
    show("A threshold for each label, tuned for F1 by cross-validation", table)


def real_data(name, path):
    """Print the scores of five-fold cross-validation."""
    with np.load(path) as file:
        X, Y = pd.DataFrame(file["X"]), pd.DataFrame(file["Y"], columns=file["label_names"])
    tables = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        known, Y_test = (X.iloc[train], Y.iloc[train]), Y.iloc[test]
        proba = answers(*known, X.iloc[test])
        tuned = {"sigmoid, tuned thresholds": proba["sigmoid"]}
        thresholds = tune_thresholds(sigmoid(), *known)
        tables.append(pd.concat([scores(Y_test, proba), scores(Y_test, tuned, thresholds)]))
    show(f"Real data, {name}: {len(X)} rows, {Y.shape[1]} labels, 5 folds", sum(tables) / 5)
    warn_of_losers(sum(tables) / 5)


def show(title, table):
    print(f"\n{title}\n{'-' * len(title)}")
    print(pd.DataFrame(table).to_string(float_format="{:.3f}".format))


def no_matplotlib():
    """Return why pictures cannot be drawn, or an empty text."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        return 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
    return ""


def draw(Y, proba, picture):
    """Draw how often a label is true that is given a probability, twentieth by twentieth."""
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(5, 4), layout="constrained")
    panel.axline((0, 0), slope=1, color="#999999", linewidth=1, label="as it should be")
    for name, colour in {"softmax": "#E69F00", "sigmoid": "#0072B2"}.items():
        answers = pd.DataFrame({"given": np.ravel(proba[name]), "true": np.ravel(Y)})
        points = answers.groupby(pd.qcut(answers["given"], 20), observed=True).mean()
        panel.plot(points["given"], points["true"], "o-", color=colour, label=name)
    panel.set(
        xlabel="probability of a label", ylabel="how often it is true", title="Unseen clothes"
    )
    panel.legend()
    figure.savefig(picture, dpi=150)
    print(f"\nThe picture is in {picture.name}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
    args = parser.parse_args()
    if args.picture is not None and (missing := no_matplotlib()):
        sys.exit(f"error: --picture: {missing}")
    folder = Path(os.environ.get("SOFTREG_DATA", "none"))
    there = [name for name in ("emotions", "yeast") if (folder / f"ml_{name}.npz").exists()]
    if not there:
        print("Left out: real data, as SOFTREG_DATA names no folder with ml_emotions.npz.")
    rng = np.random.default_rng(0)
    train, test, clothes = wardrobe(1500, rng), wardrobe(1500, rng), new_clothes()
    print(f"1500 simulated clothes, {train[1].to_numpy().sum() / 1500:.1f} labels each on average.")
    print("Columns:", ", ".join(clothes))
    proba = answers(*train, pd.concat([clothes, test[0]]))
    for name in ("softmax", "sigmoid"):
        table = pd.DataFrame(proba[name][: len(clothes)], clothes.index, COLOURS + GARMENTS)
        show(f"New clothes, {name}", table)
    print("\nA row of softmax sums to 1. So two labels that both hold have about 1/2 each, and")
    print("what has none of the four colours gives them part of its 1 all the same.")
    unseen = {name: P[len(clothes) :] for name, P in proba.items()}
    compare(test[1], unseen)
    forget_a_third(*train, *test, rng)
    tune(*train, *test)
    for name in there[:1]:
        real_data(name, folder / f"ml_{name}.npz")
    if args.picture is not None:
        draw(test[1], unseen, args.picture)


if __name__ == "__main__":
    main()
