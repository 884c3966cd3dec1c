"""Parameters of a fitted estimator, each checked as the next fit would."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from softreg._encoding import penalty_checks, target_checks, validation
from softreg._estimators.base import has_labels
from softreg._selection.folds import leaves_one_out
from softreg.export.linear_model import SIGMOID_ESTIMATORS
from softreg.solvers.auto import check_solver


def check_parameters(estimator: Any) -> None:
    """Raise a ValueError that names a parameter which no fit to the same columns and classes takes.

    What only rows can tell, such as whether folds are empty, is left to the fit.
    """
    parameters = estimator.get_params(deep=False)
    for name, check in _checks(estimator).items():
        if name in parameters:
            try:
                check(parameters[name])
            except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
                raise ValueError(f"the parameter {name} is none that fit takes: {error}") from error


def _checks(estimator: Any) -> dict[str, Callable[[Any], Any]]:
    """Return the check of each parameter that any estimator has, by name."""
    n_scores, n_features = estimator.intercept_.shape[0], estimator.n_features_in_
    n_problems = n_scores if isinstance(estimator, SIGMOID_ESTIMATORS) else 1
    names = getattr(estimator, "feature_names_in_", None)

    def check_penalty_factor(factor: Any) -> NDArray:
        return penalty_checks.check_penalty_factor(factor, n_features, names)

    def check_l1_groups(groups: Any) -> None:
        factor = check_penalty_factor(estimator.penalty_factor)
        penalty_checks.check_l1_groups(groups, names, factor)

    def check_folds(cv: Any) -> None:
        if not leaves_one_out(cv, estimator.scoring):
            check_cv(cv)

    flags = ("fit_intercept", "per_label", "standardize", "warm_start")
    return {
        **{name: partial(validation.check_flag, name) for name in flags},
        "C": partial(penalty_checks.check_C, n_labels=n_problems),
        "Cs": penalty_checks.check_Cs,
        "class_weight": partial(_check_class_weight, estimator),
        "classes": partial(_check_classes, estimator),
        "scoring": _check_scoring,
        "cv": check_folds,
        "penalty_factor": check_penalty_factor,
        "l1_groups": check_l1_groups,
        "l1_ratio": penalty_checks.check_l1_ratio,
        "l1_ratios": penalty_checks.check_l1_ratios,
        "label_smoothing": validation.check_label_smoothing,
        "max_iter": partial(validation.check_max_iter, default=0),
        "n_jobs": validation.check_n_jobs,
        "random_state": validation.generator_maker,
        "select": validation.check_select,
        "solver": check_solver,
        "threshold": partial(validation.check_threshold, n_scores=n_scores),
        "tol": validation.check_tol,
        "verbose": validation.check_verbose,
    }


def _check_class_weight(estimator: Any, class_weight: Any) -> None:
    if class_weight is not None and not target_checks.is_balanced(class_weight):
        target_checks.check_class_weight(class_weight, estimator.classes_)


def _check_classes(estimator: Any, classes: Any) -> None:
    if has_labels(estimator):
        target_checks.check_column_names(classes, len(estimator.classes_))
    elif classes is not None:
        target_checks.check_class_order(classes, estimator.classes_)


def _check_scoring(scoring: Any) -> None:
    """Raise a ValueError for what can be no scorer: names come and go with scikit-learn."""
    if not (scoring is None or isinstance(scoring, str) or callable(scoring)):
        raise ValueError(f"scoring={validation.shown(scoring)} must be a name, a callable or None.")
