"""Can its probabilities be believed?
===================================

A model that is too sure of itself, and one whose penalty was chosen, beside what really happened.

.. code-block:: none

    python examples/reliability.py                              the scores
    python examples/reliability.py --picture reliability.png    how often what is predicted is true

400 customers, of whom 40 columns are known and one in four leaves. Without a penalty the model
fits the noise: of those to whom it gives more than 0.7, fewer leave than it says. To write to one
who stays costs 1, to lose one who could have been kept 5: if the probabilities are right, the best
threshold follows from these costs, 1 / (1 + 5).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from softreg import SigmoidRegressionCV, SoftmaxRegression
from softreg.calibration import tune_thresholds
from softreg.display import ReliabilityDisplay, ThresholdDisplay

COSTS = [[0, 1], [5, 0]]  # by what is true (stays, leaves) and what is predicted

parser = argparse.ArgumentParser(description="Can its probabilities be believed?")
parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
picture = parser.parse_args().picture
if picture is not None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        remedy = 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
        parser.exit(1, f"--picture {picture}: {remedy}\n")

# %%
# The customers, simulated
# ------------------------
rng = np.random.default_rng(0)
table = rng.normal(size=(20_400, 40))
scores = table @ rng.normal(scale=0.25, size=40) + rng.logistic(size=20_400)
X, X_new = table[:400], table[400:]
leaves, leaves_new = scores[:400] > 1.5, scores[400:] > 1.5

# %%
# The models
# ----------
models = {
    "no penalty": SoftmaxRegression(C=np.inf).fit(X, leaves),
    "C chosen": SigmoidRegressionCV(scoring="neg_log_loss").fit(X, leaves),
}
rows = {"frequencies alone": {"log loss": log_loss(leaves_new, np.full(20_000, leaves.mean()))}}
for name, model in models.items():
    p = model.predict_proba(X_new)[:, 1]
    costs = np.where(leaves_new, 5 * (p <= 1 / 6), p > 1 / 6)
    rows[name] = {"log loss": log_loss(leaves_new, p), "cost at 1/6": costs.mean()}
    sure = p > 0.7
    rows[name] |= {"p > 0.7": sure.mean(), "mean p of these": p[sure].mean()}
    rows[name] |= {"of these leave": leaves_new[sure].mean()}
print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format, na_rep=""))
(tuned,) = tune_thresholds(models["C chosen"], X, leaves, COSTS)
print(f"The best threshold of held-out predictions is {tuned:.3f}, and 1/6 is {1 / 6:.3f}.")

# %%
# The pictures
# ------------
if picture is not None:
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.5), layout="constrained")
    for panel, (name, model) in zip(panels, models.items(), strict=False):
        ReliabilityDisplay.from_estimator(model, X_new, leaves_new, ax=panel)
        panel.set_title(f"{name}: P(leaves)", y=panel.title.get_position()[1], pad=2, size="medium")
    best = models["C chosen"].set_params(threshold=tuned)
    ThresholdDisplay.from_estimator(best, X_new, leaves_new, costs=COSTS, ax=panels[2])
    figure.savefig(picture, dpi=150)
    print(f"The picture is in {picture.name}.")
