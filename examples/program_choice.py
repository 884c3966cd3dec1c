"""Which program do students choose?
=================================

Standard errors, tests and margins of a softmax regression. ::

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

DATA = Path(__file__).parent / "data" / "hsbdemo.csv"
STATUSES = ["low", "middle", "high"]
COLOURS = {"academic": "#0072B2", "general": "#E69F00", "vocation": "#009E73"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
    args = parser.parse_args()
    if args.picture is not None and (missing := no_matplotlib()):
        parser.exit(1, f"--picture {args.picture}: {missing}\n")
    students = pd.read_csv(DATA)
    X, y = columns_of(students["ses"], students["write"]), students["prog"]
    result = fitted(X, y)
    print(result)
    heading("Relative risk ratios: by what a unit multiplies P(program) / P(academic)")
    print(result.relative_risk_ratios().round(3).to_string())
    heading("Does a variable matter for any program?")
    terms = {"ses": ["ses_middle", "ses_high"], "write": ["write"]}
    print(joint(result, terms).round(5).to_string())
    print("\nses by likelihood ratio:", likelihood_ratio(fitted(X[["write"]], y), result))
    print(f"Log likelihood {result.llf:.2f}, of frequencies alone {result.llnull:.2f}.")
    heading("What a point of write, or another ses, changes on average")
    print(margins(result, X, dummies={"ses": ["ses_middle", "ses_high"]}).summary())
    heading("Probabilities by ses and write, with intervals of 95 %")
    print(probabilities(result, range(30, 71, 20)).round(2).to_string())
    if args.picture is not None:
        draw(result, args.picture)


def columns_of(ses, write):
    """Return the table that models see: other statuses are compared with "low"."""
    others = {f"ses_{status}": (ses == status).astype(float) for status in STATUSES[1:]}
    return pd.DataFrame({**others, "write": write.astype(float)})


def fitted(X, y):
    """Return the inference of the maximum-likelihood fit."""
    return infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)


def probabilities(result, scores):
    """Return the probabilities, with intervals, of students of each status with these scores."""
    grid = pd.MultiIndex.from_product([STATUSES, scores], names=["ses", "write"])
    levels = grid.to_frame(index=False)
    predicted = predict_interval(result, columns_of(levels["ses"], levels["write"]))
    return predicted.set_index(grid)


def heading(text):
    print(f"\n{text}\n")


def no_matplotlib():
    """Return what to install if matplotlib is not there."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        return 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'


def draw(result, picture):
    """Draw probabilities against write, with intervals, a panel for each status."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True, layout="constrained")
    predicted = probabilities(result, np.arange(30, 71))
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
    figure.savefig(picture, dpi=150)
    print(f"\nThe picture is in {picture}.")


if __name__ == "__main__":
    main()
