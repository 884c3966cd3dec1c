"""Where is each species the most probable?
=========================================

Straight lines between regions, and the curves of softmax along one of the two measurements.

.. code-block:: none

    python examples/iris.py                       the lines
    python examples/iris.py --picture iris.png    the regions and the curves

The scores of the species are linear in the measurements, so that two of them are equal on a
straight line. Along any other line the probabilities are S-shaped, or a hill in between.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score

from softreg import SoftmaxRegression
from softreg.display import ClassRegionsDisplay, ProbabilityDisplay

parser = argparse.ArgumentParser(description="Where is each species the most probable?")
parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
picture = parser.parse_args().picture
if picture is not None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        remedy = 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
        parser.exit(1, f"--picture {picture}: {remedy}\n")

# %%
# The model
# ---------
iris = load_iris(as_frame=True)
X = iris.data[["petal length (cm)", "petal width (cm)"]]
y = iris.target_names[iris.target]
model = SoftmaxRegression(C=10).fit(X, y)
loss = -cross_val_score(model, X, y, cv=10, scoring="neg_log_loss").mean()
print(f"Log loss of rows held out: {loss:.3f}; class frequencies alone: {np.log(3):.3f}.")

# %%
# The lines
# ---------
# Where two species have equal scores, that is, where differences of coefficients add up to zero.
order = ["setosa", "versicolor", "virginica"]
for first, second in zip(order[:-1], order[1:], strict=True):
    one, other = (list(model.classes_).index(name) for name in (first, second))
    by_length, by_width = model.coef_[one] - model.coef_[other]
    level = model.intercept_[one] - model.intercept_[other]
    line = f"width = {-level / by_width:.2f} - {by_length / by_width:.2f} length"
    print(f"{first:10s} | {second:10s} {line}")

# %%
# The regions, and the probabilities along the petal length
# ---------------------------------------------------------
if picture is not None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    ClassRegionsDisplay.from_estimator(model, X, y, ax=left)
    ProbabilityDisplay.from_estimator(model, X, "petal length (cm)", ax=right)
    figure.savefig(picture, dpi=150)
    print(f"The picture is in {picture.name}.")
