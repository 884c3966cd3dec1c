"""Softmax regression by hand
==========================

Admitted, waitlisted or rejected, step by step.

.. code-block:: none

    python examples/softmax_by_hand.py                        the steps
    python examples/softmax_by_hand.py --picture lines.png    and the lines between the outcomes

What is known of an applicant is the grade point average (GPA, 0 to 5) and the score of an entrance
exam (0 to 100). The exercise and its starting rows are those of a tutorial, in which gradient
descent on these raw columns takes very many steps from hand-tuned starting values.

The applicants are simulated: GPA and exam are normal; the committee sums 28 GPA + exam (the ratio
of the two weights that the tutorial finds for "admitted") and some luck, waitlists from 190 points
and admits from 207.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from softreg import SoftmaxRegression
from softreg.functions import cross_entropy, softmax

CLASSES = ["admitted", "waitlisted", "rejected"]

parser = argparse.ArgumentParser(description="Softmax regression by hand.")
parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
picture = parser.parse_args().picture
if picture is not None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        remedy = 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
        parser.exit(1, f"--picture {picture}: {remedy}\n")


def table(rows):
    """Return one row for each class as text."""
    return pd.DataFrame(rows, CLASSES, ["bias", "GPA", "exam"]).to_string(
        float_format="{:.3f}".format
    )


# %%
scores = np.array([0.7, 1.5, 4.8])
print(f"""
1. Softmax turns scores into probabilities: exp(score), divided by the sum of all of them.

   scores         {scores}
   exp(scores)    {np.exp(scores).round(3)}, sum {np.exp(scores).sum():.3f}
   probabilities  {softmax(scores, axis=-1).round(4)}""")

# %%
rng = np.random.default_rng(0)
gpa = rng.normal(4.0, 0.5, 600).clip(0, 5).round(1)
exam = rng.normal(75, 12, 600).clip(0, 100).round()
points = 28 * gpa + exam + rng.logistic(scale=1.5, size=600)
outcome = np.select([points >= 207, points >= 190], CLASSES[:2], CLASSES[2])
applicants = pd.DataFrame({"GPA": gpa, "exam": exam})
print(f"""
2. Here are 600 simulated applicants, {", ".join(f"{sum(outcome == c)} {c}" for c in CLASSES)}:

{applicants.assign(outcome=outcome).head(4).to_string()}""")

# %%
start = np.array([[-250, 40, 1], [-220, 40, 1], [-220, 40, 1]])
design = np.column_stack([np.ones(600), applicants])  # a 1 for the bias
hopeless = softmax(design @ start.T, axis=-1)
print(f"""
3. Each class has a row of three numbers, and scores bias + (GPA weight) GPA + (exam weight) exam.
   The exercise starts from these rows:

{table(start)}

   GPA 4.5 and exam 90 score {start @ [1, 4.5, 90]}, hence the probabilities
   {softmax(start @ [1, 4.5, 90], axis=-1).round(12)}, to 12 digits.

   These rows can never work, because only differences between rows count. Waitlisted and rejected
   have the same row, so they are equally probable for everyone. Admitted differs from them in the
   bias alone, so it lies 30 points behind for everyone: of all 600 applicants, nobody's probability
   of being admitted exceeds {hopeless[:, 0].max():.1e}.""")

# %%
y = np.array([CLASSES.index(name) for name in outcome])
losses = cross_entropy(design @ start.T, y, reduction="none")
one = np.flatnonzero(y == 0)[0]
print(f"""
4. The loss of an applicant is -log(probability of what happened): 0 for what was certain.

   Applicant {one} was admitted, with scores of {design[one] @ start.T}. By hand:
   -log(exp(-30) / (exp(-30) + 1 + 1)) = 30 + log(2 + exp(-30)) = {30 + np.log(2 + np.exp(-30)):.6f}
   cross_entropy:                                                {losses[one]:.6f}

   The mean over all applicants is {losses.mean():.4f}.
   Even odds for everyone would cost log(3) = {np.log(3):.4f}.""")

# %%
model = SoftmaxRegression(C=np.inf).fit(applicants, outcome)
order = [list(model.classes_).index(name) for name in CLASSES]  # classes_ are sorted by name
rows = np.column_stack([model.intercept_, model.coef_])[order]
borderline = pd.DataFrame({"GPA": [4.3], "exam": [79.0]})
shares = np.bincount(y) / len(y)
null = -shares @ np.log(shares)
chances = pd.Series(model.predict_proba(borderline)[0, order], CLASSES)
print(f"""
5. The fit finds the rows of least mean loss, on the raw columns, from no starting values at all.
   C = infinity: without a penalty, as in the exercise, which has 600 rows for six parameters.

{table(rows)}

   Mean loss {cross_entropy(design @ rows.T, y):.4f} after {len(model.loss_curve_)} iterations, \
{null:.4f} of class frequencies alone.
   {model.score(applicants, outcome):.1%} of the outcomes are the most probable ones.
   GPA 4.3 and exam 79: {", ".join(f"{name} {p:.2%}" for name, p in chances.items())}.""")

# %%
print("""
6. Two classes are equally probable where their scores are equal, which is a straight line:
""")
lines = {}
for a, b in combinations(range(3), 2):
    bias, by_gpa, by_exam = rows[a] - rows[b]
    lines[a, b] = level, slope = -bias / by_exam, by_gpa / by_exam
    print(f"   {CLASSES[a]:10s} | {CLASSES[b]:10s}  exam = {level:.1f} - {slope:.1f} GPA")
print("""
   The simulated committee drew exam = 207 - 28 GPA and exam = 190 - 28 GPA. The line of admitted
   and rejected lies between the other two, where both are less probable than waitlisted.""")

# %%
if picture is not None:
    figure, panel = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, colour in zip(CLASSES, ["#0072B2", "#E69F00", "#D55E00"], strict=True):
        panel.scatter(*applicants[outcome == name].to_numpy().T, s=9, color=colour, label=name)
    ends = np.array([2.5, 5.0])
    for (a, b), style in zip(lines, ["-", ":", "--"], strict=True):
        level, slope = lines[a, b]
        line = f"{CLASSES[a]} = {CLASSES[b]}"
        panel.plot(ends, level - slope * ends, style, color="black", linewidth=1, label=line)
    panel.set(
        xlabel="GPA", ylabel="exam", ylim=(35, 102), title="Where two outcomes are as probable"
    )
    figure.legend(loc="outside right center")
    figure.savefig(picture, dpi=150)
    print(f"The picture is in {picture.name}.")
