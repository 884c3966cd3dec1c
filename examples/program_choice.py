"""Which program do students choose?
=================================

Standard errors, tests and margins of a softmax regression.

.. code-block:: none

    python examples/program_choice.py                         the tables
    python examples/program_choice.py --picture choice.png    and probabilities with intervals

200 students of the survey High School and Beyond chose an academic, general or vocational program.
The analysis follows UCLA's page on multinomial logistic regression: socio-economic status (ses) and
the writing score (write) explain the choice, beside "academic".
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from softreg import SoftmaxRegression
from softreg.inference import infer, joint, likelihood_ratio, margins, predict_interval

parser = argparse.ArgumentParser(description="Standard errors, tests and margins.")
parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
picture = parser.parse_args().picture
if picture is not None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        remedy = 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
        parser.exit(1, f"--picture {picture}: {remedy}\n")

# %%
# The table
# ---------
# Other statuses are compared with "low", so they have a column of zeros and ones each.

students = pd.read_csv(Path(__file__).parent / "data" / "hsbdemo.csv")
STATUSES = ["low", "middle", "high"]


def columns_of(ses, write):
    """Return the table that models see."""
    others = {f"ses_{status}": (ses == status).astype(float) for status in STATUSES[1:]}
    return pd.DataFrame({**others, "write": write.astype(float)})


X, y = columns_of(students["ses"], students["write"]), students["prog"]
print(X.assign(prog=y).head(3).to_string())

# %%
# Coefficients and their errors
# -----------------------------
# Maximum likelihood is a fit without a penalty.


def fitted(X, y):
    """Return the inference of the maximum-likelihood fit."""
    return infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)


result = fitted(X, y)
print(result)

# %%
# By what does a unit multiply P(program) / P(academic)?

print(result.relative_risk_ratios().round(3).to_string())

# %%
# Tests
# -----
# Does a variable matter for any program? Both by Wald's test, ses by the likelihood ratio, too.

terms = {"ses": ["ses_middle", "ses_high"], "write": ["write"]}
print(joint(result, terms).round(5).to_string())
print("\nses:", likelihood_ratio(fitted(X[["write"]], y), result))
print(f"Log likelihood {result.llf:.2f}, of frequencies alone {result.llnull:.2f}.")

# %%
# Effects on probabilities
# ------------------------
# What a point of write, or another ses, changes on average.

print(margins(result, X, dummies={"ses": ["ses_middle", "ses_high"]}).summary())

# %%
# Probabilities
# -------------
# By ses and write, with intervals of 95 %.


def probabilities(scores):
    """Return the probabilities, with intervals, of students of each status with these scores."""
    grid = pd.MultiIndex.from_product([STATUSES, scores], names=["ses", "write"])
    levels = grid.to_frame(index=False)
    predicted = predict_interval(result, columns_of(levels["ses"], levels["write"]))
    return predicted.set_index(grid)


print(probabilities(range(30, 71, 20)).round(2).to_string())

# %%
# The picture has a panel for each status.

COLOURS = {"academic": "#0072B2", "general": "#E69F00", "vocation": "#009E73"}


def draw(predicted):
    """Draw probabilities against write, with intervals."""
    figure, panels = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True, layout="constrained")
    for status, panel in zip(STATUSES, panels, strict=True):
        of_status = predicted.loc[status]
        for program, colour in COLOURS.items():
            middle, lower, upper = (
                of_status[part, program] for part in ("probability", "lower", "upper")
            )
            panel.plot(middle.index, middle, color=colour, label=program)
            panel.fill_between(middle.index, lower, upper, color=colour, alpha=0.2, linewidth=0)
        panel.set(title=f"ses {status}", xlabel="write", ylim=(0, 1))
    panels[0].set_ylabel("probability of the program")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


if picture is not None:
    draw(probabilities(np.arange(30, 71))).savefig(picture, dpi=150)
    print(f"\nThe picture is in {picture.name}.")
