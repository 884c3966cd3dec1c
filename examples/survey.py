"""Few respondents, many questions
===============================

Ridge, lasso and whole questions, beside the null model.

.. code-block:: none

    python examples/survey.py                            the tables
    python examples/survey.py --picture questions.png    and how much each question counts

75 questions with four answers each are 300 columns of zeros and ones, for 900 respondents and five
outcomes. The survey is simulated, so that it is known which six questions matter, and so that each
model can be judged by 5,000 respondents that had no part in its fit. A model that is no better than
the frequencies of the outcomes alone has learned nothing, whatever its coefficients look like.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss

from softreg import SoftmaxRegressionCV

OUTCOMES = ["never", "rarely", "sometimes", "often", "always"]
MATTER = [f"q{number:02d}" for number in range(1, 7)]
N_QUESTIONS, N_KNOWN, N_UNSEEN = 75, 900, 5000
NULL = "outcome frequencies alone"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path, help="file for the picture; needs matplotlib")
    args = parser.parse_args()
    if args.picture is not None and (missing := no_matplotlib()):
        sys.exit(f"error: --picture: {missing}")
    answers, y = survey(N_KNOWN + N_UNSEEN, np.random.default_rng(0))
    X = pd.get_dummies(answers, dtype=float)
    question = {column: column.split("_")[0] for column in X}
    known, unseen = slice(N_KNOWN), slice(N_KNOWN, None)
    print(f"Simulated: {N_KNOWN} respondents, and {N_UNSEEN} others to judge by;")
    print(f"{X.shape[1]} columns of {N_QUESTIONS} questions, of which {len(MATTER)} matter.\n")
    rows = {NULL: null_row(y[known], y[unseen])}
    for name, parameters in models(question).items():
        model = SoftmaxRegressionCV(**parameters).fit(X[known], y[known])
        rows[name] = judged(model, X[unseen], y[unseen], question)
    table = pd.DataFrame(rows).T.fillna("")
    print(table.to_string())
    warn_of_losers(table["log loss"].astype(float))
    found = length_by_question(model, question)
    print("\nThe longest by whole questions, of which the first six should be q01 to q06:")
    print(found.sort_values(ascending=False).head(8).round(2).to_string())
    if args.picture is not None:
        draw(found, args.picture)


def survey(n, rng):
    """Return n rows of answers, a to d, and the outcomes, which six of the questions decide."""
    names = [f"q{number:02d}" for number in range(1, N_QUESTIONS + 1)]
    shares = [rng.dirichlet([4, 4, 4, 4]) for _ in names]
    columns = [rng.choice(list("abcd"), n, p=share) for share in shares]
    answers = pd.DataFrame(dict(zip(names, columns, strict=True)))
    indicators = pd.get_dummies(answers[MATTER], dtype=float)
    effects = rng.normal(scale=0.7, size=(indicators.shape[1], len(OUTCOMES)))
    scores = indicators.to_numpy() @ effects + rng.gumbel(size=(n, len(OUTCOMES)))
    return answers, np.array(OUTCOMES)[scores.argmax(axis=1)]


def models(question):
    """Return the parameters of the models; `question` is that of each column.

    At larger C than these most columns are in, which predicts worse and takes longer.
    """
    lasso = {"Cs": np.geomspace(0.03, 0.3, 5), "l1_ratios": [1]}
    groups = {"Cs": np.geomspace(0.02, 0.1, 4), "l1_ratios": [1], "l1_groups": question, "cv": 3}
    return {
        "ridge": {"Cs": np.geomspace(0.003, 0.1, 6)},
        "lasso": lasso,
        "lasso by question": groups,
    }


def null_row(y, y_unseen):
    """Return the scores of the outcomes' frequencies, which are the same for all."""
    shares = pd.Series(y).value_counts(normalize=True).sort_index()
    return scores_of(np.tile(shares, (len(y_unseen), 1)), shares.index, y_unseen)


def scores_of(P, outcomes, y):
    accuracy = accuracy_score(y, np.array(outcomes)[P.argmax(axis=1)])
    return {"log loss": f"{log_loss(y, P, labels=outcomes):.3f}", "accuracy": f"{accuracy:.1%}"}


def judged(model, X, y, question):
    """Return the scores of unseen respondents, and what is left of columns and questions."""
    kept = X.columns[(model.coef_ != 0).any(axis=0)]
    questions = {question[column] for column in kept}
    right = len(questions.intersection(MATTER))
    return scores_of(model.predict_proba(X), model.classes_, y) | {
        "coefficients": np.count_nonzero(model.coef_),
        "columns": len(kept),
        "questions": len(questions),
        "of the six": right,
    }


def warn_of_losers(losses):
    """Say which models predict unseen respondents no better than the outcomes' frequencies."""
    for name in losses.index[(losses >= losses[NULL]) & (losses.index != NULL)]:
        print(f"WARNING: {name!r} is no better than {NULL}: do not use it.")


def length_by_question(model, question):
    """Return the length of all coefficients of each question."""
    squares = pd.Series((model.coef_**2).sum(axis=0), list(question))
    return np.sqrt(squares.groupby(question).sum())


def no_matplotlib():
    """Return why pictures cannot be drawn, or an empty text."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        return 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
    return ""


def draw(found, picture):
    """Draw a bar for each question, those that matter in another colour."""
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(7, 3), layout="constrained")
    for colour, label, questions in [
        ("#D55E00", "matter", found[found.index.isin(MATTER)]),
        ("#999999", "do not", found[~found.index.isin(MATTER)]),
    ]:
        numbers = questions.index.str.removeprefix("q").astype(int)
        panel.bar(numbers, questions, color=colour, label=label)
    panel.set(xlabel="question", ylabel="length of its coefficients", title="Lasso by question")
    panel.legend(title="questions that")
    figure.savefig(picture, dpi=150)
    print(f"\nThe picture is in {picture.name}.")


if __name__ == "__main__":
    main()
