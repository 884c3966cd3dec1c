"""How good is a model whose C was chosen by cross-validation?
===========================================================

Nested cross-validation answers.

.. code-block:: none

    python examples/cross_validation.py                      wine
    python examples/cross_validation.py --sets wine digits   the longer way
    python examples/cross_validation.py --raw                and scikit-learn on raw columns, slowly
    python examples/cross_validation.py --pictures folder    draw scores and coefficients against C

An inner cross-validation chooses C from rows that the outer one then leaves out of the score, so
that the choice itself is judged too. softreg takes the columns raw and scaled, scikit-learn takes
them scaled, as its users do. Each tries ten values of C, those of its own default, on five folds.
Beside them stand class frequencies alone, which a model that is worth anything has to beat.
"""

import argparse
import sys
import warnings
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_digits, load_wine
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softreg import SoftmaxRegressionCV

LOADERS = {"wine": load_wine, "digits": load_digits}
OUTER = StratifiedKFold(5, shuffle=True, random_state=0)
INNER = {"cv": 5, "scoring": "neg_log_loss"}
SCORES = ["neg_log_loss", "accuracy"]
NULL = "class frequencies alone"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=LOADERS, default=["wine"])
    parser.add_argument("--raw", action="store_true", help="scikit-learn on raw columns too")
    parser.add_argument("--pictures", type=Path, help="folder for pictures; needs matplotlib")
    args = parser.parse_args()
    if args.pictures is not None and (missing := no_matplotlib()):
        sys.exit(f"error: --pictures: {missing}")
    for name in args.sets:
        X, y = load(name)
        print(f"\n{name}: {len(X)} rows, {X.shape[1]} columns, {y.nunique()} classes\n")
        models = contenders() | (slow_contenders() if args.raw else {})
        rows = {title: judged(model, X, y) for title, model in models.items()}
        table = pd.DataFrame(rows).T
        print(table.loc[:, (table != "").any()].to_string())
        warn_of_losers(name, table["log loss"].astype(float))
        if args.pictures is not None:
            draw(name, X, y, args.pictures)
    print("""
softreg needs no scaling to converge. What scaling changes is the model: the penalty then weighs
coefficients per standard deviation, not per unit. Which is better differs from table to table.""")


def load(name):
    """Return the columns and each row's class by name."""
    data = LOADERS[name](as_frame=True)
    return data.data, data.target.map(dict(enumerate(data.target_names)))


def contenders():
    """Return the pipelines to compare. The first step drops columns that are constant."""
    return {
        "softreg, raw": pipeline(SoftmaxRegressionCV(**INNER)),
        "softreg, scaled": pipeline(StandardScaler(), SoftmaxRegressionCV(**INNER)),
        "scikit-learn, scaled": pipeline(StandardScaler(), LogisticRegressionCV(**INNER)),
        NULL: pipeline(DummyClassifier(strategy="prior")),
    }


def slow_contenders():
    """Return what stops before it has converged, and says so."""
    return {"scikit-learn, raw": pipeline(LogisticRegressionCV(**INNER))}


def pipeline(*steps):
    return make_pipeline(VarianceThreshold(), *steps)


def judged(model, X, y):
    """Return the outer scores, the range of the chosen C, the seconds, and fits that warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outer = cross_validate(model, X, y, cv=OUTER, scoring=SCORES, return_estimator=True)
    stopped = sum(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    Cs = [getattr(fitted[-1], "C_", None) for fitted in outer["estimator"]]
    chosen = [float(pd.Series(C).iloc[0]) for C in Cs if C is not None]
    return {
        "log loss": f"{-outer['test_neg_log_loss'].mean():.4f}",
        "accuracy": f"{outer['test_accuracy'].mean():.1%}",
        "C chosen": f"{min(chosen):.2g} to {max(chosen):.2g}" if chosen else "",
        "seconds": f"{outer['fit_time'].sum():.1f}",
        "not converged": f"{stopped} warnings" if stopped else "",
    }


def warn_of_losers(name, losses):
    """Say which models predict unseen rows no better than class frequencies alone."""
    for title in losses.index[(losses >= losses[NULL]) & (losses.index != NULL)]:
        print(f"WARNING: on {name}, {title!r} is no better than {NULL}: do not use it.")


def no_matplotlib():
    """Return why pictures cannot be drawn, or an empty text."""
    try:
        import matplotlib.pyplot  # noqa: F401
    except ImportError:
        return 'pictures need matplotlib: python -m pip install "matplotlib>=3.8"'
    return ""


def draw(name, X, y, folder):
    """Save the held-out scores and the coefficients against C."""
    from softreg.display import CoefficientPathDisplay, CVCurveDisplay

    folder.mkdir(parents=True, exist_ok=True)
    model = SoftmaxRegressionCV(20, **INNER | {"cv": 10}).fit(X, y)
    curve = CVCurveDisplay.from_estimator(model)
    path = CoefficientPathDisplay.from_estimator(model, scale=X.std())
    for display, what in ((curve, "scores"), (path, "coefficients")):
        file = folder / f"{name}_{what}.png"
        display.figure_.savefig(file, dpi=150)
        print(f"\nIn {file.name}: {what} against C.")


if __name__ == "__main__":
    main()
