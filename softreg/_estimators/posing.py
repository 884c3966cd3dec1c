"""From an estimator and its data to what is solved: rows, an objective and a monitor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from softreg._encoding import penalty_checks, validation
from softreg._encoding.answers import Encoding, Sample
from softreg._encoding.clusters.lazy import fitted_alone, unfitted_alone
from softreg._encoding.clusters.partitions import current_client, in_memory, is_collection
from softreg._encoding.clusters.survey import ClusterSample, PartitionReader
from softreg._encoding.namespaces import on_host
from softreg._estimators.base import LinearClassifier, Strength
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty
from softreg._model.sparse_penalties import ElasticNet, Groups
from softreg._rows.base import Rows
from softreg._rows.threads import Threads
from softreg.solvers.base import Monitor

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")
# The hardest of the data sets tried took a hundredth of this; it ends a fit that would not return.
_MOST_ITERATIONS = 10_000


def threads_of(estimator: LinearClassifier) -> Threads:
    """Return the context in which an estimator computes, with `n_jobs` threads."""
    return Threads(validation.check_n_jobs(estimator.n_jobs))


def in_one_thread(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Return the function computing in one thread, that of BLAS included.

    Of small products BLAS's own threads take up to a hundred times as long beside other work.
    """

    @wraps(function)
    def computed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        with Threads(1):
            return function(*args, **kwargs)

    return computed


def has_intercept(estimator: LinearClassifier) -> bool:
    """Return whether an estimator fits intercepts."""
    return validation.check_flag("fit_intercept", estimator.fit_intercept)


def standardizes(estimator: LinearClassifier) -> bool:
    """Return whether the penalty of an estimator is that of columns over their deviations."""
    return validation.check_flag("standardize", estimator.standardize)


def read_features(
    estimator: LinearClassifier, X: Any, *, reset: bool = True
) -> tuple[Any, dict[str, Any]]:
    """Return X (n, d) as floats or CSR, and the fitted attributes that describe its columns.

    The estimator stays as it is. Without `reset` X must have the columns that it was fitted to.
    """
    reader = copy.copy(estimator)
    data = reader._validated(X, reset=reset)
    return data, feature_attributes(reader)


def feature_attributes(estimator: LinearClassifier) -> dict[str, Any]:
    """Return the attributes that describe the columns of the X that an estimator has read."""
    attributes = {"n_features_in_": estimator.n_features_in_}
    if hasattr(estimator, "feature_names_in_"):
        attributes["feature_names_in_"] = estimator.feature_names_in_
    return attributes


def read_sample(
    estimator: LinearClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    *,
    reset: bool = True,
) -> tuple[Sample, dict[str, Any]]:
    """Return the rows of a fit, and the fitted attributes that describe the columns of X.

    Without `reset` these must be the columns that the estimator was fitted to.
    """
    data, features = read_features(estimator, X, reset=reset)
    y, sample_weight, offset = on_host(y=y, sample_weight=sample_weight, offset=offset)
    return Sample.from_data(data, estimator._encoder(y), y, sample_weight, offset), features


@contextmanager
def opened_sample(
    estimator: LinearClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    *,
    reset: bool = True,
) -> Iterator[tuple[Sample | ClusterSample, dict[str, Any]]]:
    """Give the rows of a fit as `read_sample` does, also of Dask collections.

    Those of collections are on the workers of the current client as long as the context lasts;
    without a client Dask computes them into the memory of this process.
    """
    data = X, y, sample_weight, offset
    if not any(map(is_collection, data)):
        yield read_sample(estimator, *data, reset=reset)
        return
    with current_client() as client:
        if client is None:
            yield read_sample(estimator, *in_memory(*data), reset=reset)
            return
        model = unfitted_alone(estimator) if reset else fitted_alone(estimator)
        reader = PartitionReader(partial(read_features, model, reset=reset), model._encoder)
        with ClusterSample.opened(client, reader, *data) as sample:
            yield sample, sample.features


def penalty_of(
    estimator: LinearClassifier,
    strength: Strength,
    unit: NDArray,
    features: dict[str, Any],
    over_scores: bool,
) -> Penalty:
    """Return an estimator's penalty, of this strength, on features divided by `unit` (d,).

    There is none on a feature whose unit is zero, which leaves its group. `features` are the fitted
    attributes that describe the columns; `over_scores` says whether groups hold the coefficients of
    all scores.
    """
    names = features.get("feature_names_in_")
    factor = penalty_checks.check_penalty_factor(estimator.penalty_factor, len(unit), names)
    labels = penalty_checks.check_l1_groups(estimator.l1_groups, names, factor)
    groups = Groups(labels, over_scores and estimator.l1_groups is not None)
    groups = groups.with_alone(unit == 0)
    return ElasticNet.from_C(strength.C, factor * (unit > 0), strength.l1_ratio, groups)


def pose(
    estimator: LinearClassifier,
    rows: Rows,
    encoding: Encoding,
    strength: Strength,
    features: dict[str, Any],
) -> Objective:
    """Return the objective that an estimator minimises, its penalty being of this strength.

    `rows` are in the user's units, their targets encoded by `encoding`; `features` are the fitted
    attributes that describe the columns.
    """
    moments = rows.totals.moments
    unit = moments.deviation if standardizes(estimator) else np.ones_like(moments.deviation)
    penalty = penalty_of(estimator, strength, unit, features, encoding.link.exclusive)
    return Objective.in_working_coordinates(encoding.link, rows, penalty, unit)


def monitor_of(estimator: LinearClassifier, **options: Any) -> Monitor:
    """Return a monitor with the estimator's `max_iter` and `tol`, and options such as `report`."""
    max_iter = validation.check_max_iter(estimator.max_iter, _MOST_ITERATIONS)
    return Monitor(validation.check_tol(estimator.tol), max_iter, **options)
