"""Few respondents, many questions
===============================

Ridge, lasso and whole questions, beside the frequencies of the outcomes alone.

.. code-block:: none

    python examples/survey.py                            the scores
    python examples/survey.py --picture questions.png    and how much each question counts

75 questions with four answers each are 300 columns of zeros and ones, for 900 respondents and five
outcomes. The survey is simulated: six questions matter, and 5,000 other respondents are the judge.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from softreg import SoftmaxRegressionCV

parser = argparse.ArgumentParser(description="Few respondents, many questions")
parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
picture = parser.parse_args().picture
if picture is not None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        remedy = 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
        parser.exit(1, f"--picture {picture}: {remedy}\n")

# %%
# The survey, simulated
# ---------------------
rng = np.random.default_rng(0)
shares = {f"q{number:02d}": rng.dirichlet([4, 4, 4, 4]) for number in range(1, 76)}
answers = {name: rng.choice(list("abcd"), 5900, p=share) for name, share in shares.items()}
table = pd.get_dummies(pd.DataFrame(answers), dtype=float)
question = table.columns.str[:3]  # that each column is of
matters = question <= "q06"
scores = table.loc[:, matters] @ rng.normal(0, 0.7, size=(24, 5)) + rng.gumbel(size=(5900, 5))
kinds = np.array(["never", "rarely", "sometimes", "often", "always"])
outcomes = kinds[scores.to_numpy().argmax(axis=1)]
X, X_new, y, y_new = table[:900], table[900:], outcomes[:900], outcomes[900:]

# %%
# The models
# ----------
models = {
    "ridge": SoftmaxRegressionCV(np.geomspace(0.003, 0.1, 6)),
    "lasso": SoftmaxRegressionCV(np.geomspace(0.03, 0.3, 5), [1]),
    "lasso by question": SoftmaxRegressionCV(np.geomspace(0.02, 0.1, 4), [1], l1_groups=question),
}
frequencies = pd.Series(y).value_counts(normalize=True).sort_index()
rows = {"outcome frequencies alone": {"log loss": log_loss(y_new, [frequencies] * len(y_new))}}
for name, model in models.items():
    kept = (model.fit(X, y).coef_ != 0).any(axis=0)
    rows[name] = {
        "log loss": log_loss(y_new, model.predict_proba(X_new)),
        "questions": question[kept].nunique(),
        "of six": question[kept & matters].nunique(),
    }
print(pd.DataFrame(rows).T.to_string(float_format="{:.4g}".format, na_rep=""))

# %%
# The length of all coefficients of each question
# -----------------------------------------------
if picture is not None:
    length = np.sqrt(pd.Series((model.coef_**2).sum(axis=0)).groupby(question).sum())
    figure, panel = plt.subplots(figsize=(8, 3), layout="constrained")
    panel.bar(range(1, 7), length[:6], color="#D55E00", label="matter")
    panel.bar(range(7, 76), length[6:], color="#999999", label="do not")
    panel.set(title="Lasso by question", xlabel="Question", xticks=[1, *range(10, 71, 10), 75])
    panel.set(xlim=(0, 76), ylabel="Length of coefficients")
    figure.legend(title="Questions that", loc="outside right upper")
    figure.savefig(picture, dpi=150)
    print(f"The picture is in {picture.name}.")
