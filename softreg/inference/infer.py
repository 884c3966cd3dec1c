"""Standard errors: from a fitted estimator and its data to an `Inference`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softreg._encoding import validation
from softreg._encoding.class_values import listed
from softreg._estimators.base import LinearClassifier, feature_names
from softreg._estimators.optimum import opened_objective, posed_on_chunks
from softreg._estimators.posing import threads_of
from softreg._model.objective import Objective
from softreg.inference.multi_label import MultiLabelInference
from softreg.inference.result import Inference
from softreg.inference.standard_errors.covariances import COVARIANCES, Design
from softreg.inference.standard_errors.estimate import Estimate
from softreg.inference.standard_errors.fit import Fit, check_targets_and_weights


def infer(
    estimator: Any,
    X: Any,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    covariance: str = "hessian",
    groups: ArrayLike | None = None,
    reference: Any = None,
    weights: str = "frequency",
    n_resamples: int = 1000,
    random_state: Any = None,
) -> Inference | MultiLabelInference:
    r"""Return a fitted model's coefficients with their standard errors, tests and statistics.

    With the Hessian :math:`H` of the negative log likelihood (and the penalty) at the optimum, and
    the gradient :math:`g_i` of row i's part of it, the covariance of the coefficients is

    .. math:: H^{-1} \quad\text{or}\quad H^{-1} \Big(\sum_i g_i g_i^\top\Big) H^{-1},

    the first if the model holds, the second, the sandwich, also if it does not. What statistics
    books describe are fits with ``C=np.inf``. A penalty shrinks coefficients: :math:`H^{-1}` is
    then the posterior covariance under the Gaussian prior that the penalty stands for, and there
    are no p-values.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, SigmoidRegression, or either with CV
        With ``l1_ratio=0`` and no label smoothing, not fitted by `solvers.MiniBatch` or
        `partial_fit`.
    X, y, sample_weight, offset : as they were passed to its `fit`
        Of a fit by `fit_chunks`, X is its `chunks`, and the others are None. Dask collections stay
        on the workers; "cluster" and "bootstrap" need rows in memory.
    covariance : {"hessian", "sandwich", "cluster", "bootstrap"}, default="hessian"
        "hessian" holds if the model does; "sandwich" (HC0) whatever the distribution of independent
        rows; "cluster" if rows of the same group depend on each other, with the factor
        G / (G - 1) (n - 1) / (n - p) for G groups, n rows and p parameters; "bootstrap" is that of
        refits to rows drawn with replacement (or to whole groups, if there are `groups`).
    groups : array-like of shape (n_samples,), default=None
        The cluster of each row, for "cluster" and "bootstrap": two groups or more, and for
        "cluster" at least as many as there are parameters.
    reference : class, or "sum-to-zero", default=None
        The class that coefficients are contrasts to; None: the first one. "sum-to-zero" is the mean
        of all. `Inference.against` changes it later.
    weights : {"frequency", "probability"}, default="frequency"
        What sample weights are: how many rows a row stands for, or how rarely its kind was drawn.
        The latter implies the sandwich, and is what `class_weight` needs.
    n_resamples : int, default=1000
        Number of bootstrap fits, two or more.
    random_state : int, RandomState or None, default=None
        What bootstrap rows are drawn with; an int draws the same ones each time.

    Returns
    -------
    Inference, or MultiLabelInference for several labels
        Coefficients that the data do not identify (those of constant and, without a penalty, of
        collinear columns, and of classes without rows) are NaN, and named in the summary.

    Raises
    ------
    NotFittedError
        Before `fit`.
    ValueError
        If the estimator is not at the optimum of these rows, or there is none (separated classes
        without a penalty); if it has an L1 penalty or label smoothing, or class weights that are
        taken to count rows; if an argument is not as described.
    TypeError
        If `estimator` is not one of softreg, or X, without y, is no chunks.

    References
    ----------
    White (1982), "Maximum likelihood estimation of misspecified models", Econometrica 50, 1-25.
    Liang and Zeger (1986), "Longitudinal data analysis using generalized linear models", Biometrika
    73, 13-22.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import infer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> result = infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> result.params.index.tolist(), result.params.columns.tolist()
    (['ash', 'magnesium', 'intercept'], [1, 2])
    """
    validation.check_estimator(
        "infer", "a fitted estimator of softreg", estimator, LinearClassifier
    )
    design = Design.from_arguments(covariance, weights, groups, n_resamples, random_state)
    check_targets_and_weights(estimator, design.weights_are_counts)
    with (
        threads_of(estimator) as threads,
        _posed(estimator, X, y, sample_weight, offset, threads) as objective,
    ):
        fit = Fit.from_estimator(estimator, objective)
        results = inferences(estimator, fit, design, reference)
    return results[None] if None in results else MultiLabelInference(results)


def inferences(
    estimator: LinearClassifier, fit: Fit, design: Design, reference: Any
) -> dict[Any, Inference]:
    """Return the inference of each label, or by None that of all classes.

    ValueError if there is no such reference.
    """
    if fit.has_labels and reference is not None:
        raise ValueError(f"reference={reference!r} is for classes: labels have none. Leave it out.")
    spread = COVARIANCES[design.covariance](fit, design)
    rows, n_samples = fit.objective.rows, design.n_samples(fit)
    features = tuple(feature_names(estimator))
    estimates = fit.estimates(spread.covariances)
    _check_range(estimates, features)
    classes, labels = estimator.classes_, [None]
    if fit.has_labels:
        classes, labels = np.array([0, 1]), listed(estimator.classes_)
    found = {
        label: Inference(
            at_centre=estimate,
            centre=fit.centre,
            classes=classes,
            features=features,
            has_intercept=rows.coordinates.intercept,
            reference=listed(classes)[0],
            covariance_type=design.covariance,
            is_penalised=bool(fit.is_penalised[b]),
            weights_are_counts=design.weights_are_counts,
            llf=float(fit.llf[b]),
            llnull=float(fit.llnull[b]),
            n_samples=float(n_samples[b]),
            n_params=float(fit.n_params[b]),
            n_groups=None if spread.n_groups is None else int(spread.n_groups[b]),
            n_resamples=None if spread.n_resamples is None else int(spread.n_resamples[b]),
            label=label,
        )
        for b, (estimate, label) in enumerate(zip(estimates, labels, strict=True))
    }
    return found if reference is None else {None: found[None].against(reference)}


def _posed(
    estimator: LinearClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    threads: Any,
) -> AbstractContextManager[Objective]:
    """Return a context with the objective on rows, or on chunks, which hold y and weights."""
    if y is not None:
        return opened_objective(estimator, X, y, sample_weight, offset, threads)
    for name, value in (("sample_weight", sample_weight), ("offset", offset)):
        if value is not None:
            raise ValueError(
                f"{name} goes with X and y; without y, X is chunks, which are tuples (X, y) or "
                "(X, y, sample_weight)."
            )
    with validation.noting("Without y, X is taken for the chunks of fit_chunks."):
        return nullcontext(posed_on_chunks(estimator, X, threads))


def _check_range(estimates: list[Estimate], features: tuple) -> None:
    """Raise a ValueError if variances of coefficients are too large or small for numbers."""
    for estimate in estimates:
        variance = estimate.covariance.diagonal().reshape(estimate.coefficients.shape)
        is_open = (estimate.unidentified_directions != 0).any(axis=1) | estimate.unseen[:, None]
        is_lost = (variance < np.finfo(float).tiny) & (estimate.coefficients != 0) & ~is_open
        wrong = (~np.isfinite(variance) | is_lost).any(axis=0)[: len(features)]
        if wrong.any():
            names = [str(name) for name, is_wrong in zip(features, wrong, strict=True) if is_wrong]
            raise ValueError(
                f"The variances of the coefficients of {validation.shown(names)} are beyond the "
                "range of numbers: bring these columns, or sample_weight, into another unit."
            )
