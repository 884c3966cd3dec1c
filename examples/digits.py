"""What does a model of digits look at?
=====================================

Its weights as images, and its cost epoch by epoch.

.. code-block:: none

    python examples/digits.py                         the costs and the scores
    python examples/digits.py --picture digits.png    the weights, and cost against epochs

A digit's score is a sum over 64 pixels: its weights, as an image, show which ink speaks for it and
which against it. Mini-batches come near the optimum within epochs; the exact solver says how near.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from softreg import SoftmaxRegression
from softreg.display import LossCurveDisplay
from softreg.solvers import MiniBatch

parser = argparse.ArgumentParser(description="What does a model of digits look at?")
parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
picture = parser.parse_args().picture
if picture is not None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        remedy = 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
        parser.exit(1, f"--picture {picture}: {remedy}\n")

# %%
# The same model in two ways
# --------------------------
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
exact = SoftmaxRegression(C=0.01).fit(X, y)
near = SoftmaxRegression(C=0.01, solver=MiniBatch(n_epochs=20), random_state=0).fit(X, y)
null = log_loss(y_test, np.tile(np.bincount(y) / len(y), (len(y_test), 1)))
print(f"{'':16s}cost F    log loss  accuracy of {len(y_test)} unseen digits")
for name, model in {"exact": exact, "mini-batches": near}.items():
    loss, accuracy = log_loss(y_test, model.predict_proba(X_test)), model.score(X_test, y_test)
    print(f"{name:16s}{model.objective_:.5f}   {loss:.4f}    {accuracy:.1%}")
print(f"class frequencies alone   {null:.4f}")

# %%
# Cost against epochs
# -------------------
# How far F is above the optimum, which the exact fit has proven.
for epoch in (1, 2, 5, 10, 20):
    print(
        f"epoch {epoch:2d}: {near.loss_curve_[epoch - 1] - exact.objective_:.5f} above the optimum"
    )

# %%
# Weights as images
# -----------------
# Blue ink speaks for the digit, red ink against it; all images have one scale.
if picture is not None:
    figure = plt.figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[3, 2])
    scale = np.abs(exact.coef_).max()
    panels = zip(range(10), left.subplots(2, 5).flat, exact.coef_, strict=True)
    for digit, panel, weights in panels:
        panel.imshow(weights.reshape(8, 8), cmap="RdBu", vmin=-scale, vmax=scale)
        panel.set(title=digit, xticks=[], yticks=[])
    left.suptitle("Weights of the pixels")
    curve = LossCurveDisplay(loss_curve=near.loss_curve_, objective=exact.objective_, step="Epoch")
    curve.plot(right.subplots(), above_solution=True)
    figure.savefig(picture, dpi=150)
    print(f"The picture is in {picture.name}.")
