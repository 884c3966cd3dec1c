"""Standard errors: from a fitted estimator and its data to an `Inference`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from softreg._encoding import validation
from softreg._encoding.class_values import column_of, distinct_with_codes, listed, missing
from softreg._estimators.base import LinearClassifier, feature_attributes, threads_of
from softreg._estimators.optimum import (
    null_loss,
    optimum_at,
    posed,
    posed_on_chunks,
    with_identified,
)
from softreg._model.covariance import (
    Information,
    effective_parameters,
    group_sandwich,
    row_sandwich,
    rows_by_group,
    settled,
    user_weight,
)
from softreg._model.objective import Objective
from softreg._selection.bootstrap import bootstrap_coefficients, resampled_counts
from softreg._selection.refits import rows_in_memory
from softreg.inference.estimate import Estimate, at_centre
from softreg.inference.result import Inference, MultiLabelInference

# So many numbers of covariances are held: 2 GB.
_MOST_NUMBERS = 2**28


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

    With H the Hessian of the negative log likelihood and the penalty at the optimum, and g_i the
    gradient of row i's part, the covariance of the coefficients is

    .. math:: H^{-1} \quad\text{or}\quad H^{-1} \Big(\sum_i g_i g_i^\top\Big) H^{-1},

    as the model is to be believed or not. A penalty shrinks coefficients: their H^-1 is then the
    posterior covariance under the Gaussian prior that the penalty stands for, and there are no
    p-values. Those of statistics books are of fits with ``C=np.inf``.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, SigmoidRegression, or either with CV
        With ``l1_ratio=0``, not by `solvers.MiniBatch` or `partial_fit`.
    X, y, sample_weight, offset : as they were passed to its `fit`
        Or X alone: the `chunks` of its `fit_chunks`.
    covariance : {"hessian", "sandwich", "cluster", "bootstrap"}, default="hessian"
        "hessian" holds if the model does; "sandwich" (HC0) whatever the distribution of independent
        rows; "cluster" if rows of the same of `groups` depend on each other, with the factor
        G / (G - 1) (n - 1) / (n - p) for G groups and p parameters; "bootstrap" refits the model to
        rows drawn with replacement (whole groups, where `groups` are given).
    groups : array-like of shape (n_samples,), default=None
        The cluster of each row.
    reference : class, or "sum-to-zero", default=None
        The class that coefficients are contrasts to; by default the first one. "sum-to-zero" is the
        mean of all. `Inference.against` changes it later.
    weights : {"frequency", "probability"}, default="frequency"
        What sample weights are: how many rows a row stands for, or how rarely its kind was drawn.
        The latter implies the sandwich, and is what `class_weight` needs.
    n_resamples : int, default=1000
        Number of bootstrap fits.
    random_state : int, RandomState or None, default=None
        Draws them.

    Returns
    -------
    Inference, or MultiLabelInference for several labels
        Coefficients that the data leave open (those of constant and, without a penalty, of
        collinear columns, and of classes without rows) have NaN for errors, and are named.

    Raises
    ------
    NotFittedError, ValueError
        Before `fit`; if the estimator is not at the optimum of these rows, or has none (separated
        classes without a penalty); if coefficients are made zero by an L1 penalty; if an argument
        is not as described.
    TypeError
        If `estimator` is not one of softreg.

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
    design = _Design.from_arguments(covariance, weights, groups, n_resamples, random_state)
    check_likelihood(estimator, design.is_likelihood)
    with threads_of(estimator) as threads:
        if y is None:
            _check_no_row_arrays(sample_weight, offset)
            objective = posed_on_chunks(estimator, X, threads)
        else:
            objective = posed(estimator, X, y, sample_weight, offset, threads)
        fit = _Fit.from_estimator(estimator, objective)
        results = _inferences(estimator, fit, design)
    if fit.has_labels:
        _check_no_reference(reference)
        return MultiLabelInference(dict(zip(listed(estimator.classes_), results, strict=True)))
    (result,) = results
    return result if reference is None else result.against(reference)


def check_likelihood(estimator: LinearClassifier, is_likelihood: bool) -> None:
    """Raise a ValueError if a fit has weights or targets of its own making.

    `is_likelihood` says whether weights are to count rows.
    """
    parameters = estimator.get_params(deep=False)
    if parameters["class_weight"] is not None and is_likelihood:
        raise ValueError(
            f"class_weight={parameters['class_weight']!r} weighs rows by their class, so that "
            'they count no rows: pass weights="probability" to infer, or fit without class_weight.'
        )
    if parameters.get("label_smoothing", 0):
        raise ValueError(
            f"label_smoothing={parameters['label_smoothing']} changes y, and with it what the "
            "standard errors would be of: fit with label_smoothing=0."
        )


@dataclass(frozen=True, eq=False)
class _Design:
    """How rows came about: what the covariance is to allow for.

    Attributes
    ----------
    covariance : str, a key of `_COVARIANCES`
    is_likelihood : bool, whether weights count rows
    groups : array (n,) or None
    n_resamples, random_state : as in `infer`
    """

    covariance: str
    is_likelihood: bool
    groups: Any
    n_resamples: int
    random_state: Any

    @classmethod
    def from_arguments(
        cls, covariance: str, weights: str, groups: Any, n_resamples: int, random_state: Any
    ) -> _Design:
        """Return the design of `infer`'s arguments; ValueError if they are not as described."""
        _check_choice("covariance", covariance, list(_COVARIANCES))
        _check_choice("weights", weights, ["frequency", "probability"])
        if covariance == "cluster" and groups is None:
            raise ValueError('covariance="cluster" needs groups, the cluster of each row.')
        if groups is not None and covariance not in ("cluster", "bootstrap"):
            raise ValueError(
                f"groups are not used by covariance={covariance!r}; choose "
                '"cluster" or "bootstrap".'
            )
        is_likelihood = weights == "frequency"
        if covariance == "hessian" and not is_likelihood:
            covariance = "sandwich"
        n_resamples = validation.check_integer("n_resamples", n_resamples, 2)
        return cls(covariance, is_likelihood, groups, n_resamples, random_state)

    def n_samples(self, fit: _Fit) -> NDArray[np.float64]:
        """Return the number of rows of each problem, (B,), or of those that weights stand for."""
        if self.is_likelihood:
            return user_weight(fit.objective).astype(np.float64)
        one_group = np.broadcast_to(np.intp(0), fit.objective.rows.n)
        return rows_by_group(fit.objective, one_group)[:, 0].astype(np.float64)

    def group_codes(self, objective: Objective) -> tuple[Objective, NDArray[np.intp]]:
        """Return the objective of the rows that have weight, and their groups' numbers.

        ValueError if there are no two groups.
        """
        rows, column = in_memory(objective, "groups"), column_of(self.groups)
        validation.check_shape("groups", column, rows.n, meaning=", one group for each row of X")
        if missing(column).size:
            raise ValueError(f"groups has no value in row {missing(column)[0]}: give each row one.")
        places = rows.places
        if len(places) < rows.n:
            objective = replace(objective, rows=rows.take_rows(places))
        found, codes = distinct_with_codes(column[places])
        if len(found) < 2:
            raise ValueError(
                f"groups has one value, {listed(found)[0]!r}: clusters must be two or more."
            )
        return objective, codes


@dataclass(frozen=True, eq=False)
class _Fit:
    """A fit at its optimum.

    Attributes
    ----------
    objective : Objective in double precision, without features that others replace
    T : ndarray (width, K), the optimum
    information : Information
    n_params : ndarray (B,), the effective number of parameters
    llf, llnull : ndarrays (B,)
    is_penalised : ndarray (B,) of bool
    has_labels : bool, whether problems are labels, not the one of all classes
    """

    objective: Objective
    T: NDArray
    information: Information
    n_params: NDArray
    llf: NDArray
    llnull: NDArray
    is_penalised: NDArray[np.bool_]
    has_labels: bool

    @classmethod
    def from_estimator(cls, estimator: LinearClassifier, posed_objective: Objective) -> _Fit:
        """Return the fit of an estimator that is at the optimum of the objective."""
        # 1. What can be answered.
        _check_smooth(estimator, posed_objective)
        _check_size(estimator, posed_objective)
        penalised_scores = (posed_objective.penalty.ridge > 0).any(axis=0)
        n_scores, problems = posed_objective.shape[1], posed_objective.problems
        is_penalised = problems.any(np.broadcast_to(penalised_scores, n_scores))
        check_converged(estimator, is_penalised)
        # 2. The optimum, and the information there.
        objective, T = with_identified(*optimum_at(estimator, posed_objective)[:2])
        T, information = settled(objective, T)
        n_params = effective_parameters(objective, information.inverse)
        # 3. The likelihoods.
        weight = user_weight(objective)
        llf = -weight * objective.unpenalised().value(T)
        llnull = -weight * null_loss(posed_objective)
        is_pair = len(estimator.intercept_) < len(estimator.classes_)
        has_labels = not (objective.link.exclusive or is_pair)
        return cls(objective, T, information, n_params, llf, llnull, is_penalised, has_labels)

    @property
    def centre(self) -> NDArray[np.float64]:
        """The centres of the features in the user's units, and 0 for an intercept, (u,)."""
        centre = self.objective.user_centre
        return np.append(centre, np.zeros(int(self.objective.rows.coordinates.intercept)))

    def estimates(self, covariance: NDArray) -> list[Estimate]:
        """Return the estimate of each problem, given covariances (B, p, p).

        They are those of centred features.

        Coefficients of one score, for class 1 against 0, are half of it for one and less half for
        the other.
        """
        objective = self.objective
        K, B = objective.shape[1], objective.problems.count
        q, exclusive = K // B, objective.link.exclusive
        to_classes = np.eye(q) - 1 / q if exclusive else np.array([[-0.5], [0.5]])
        W, b = objective.coefficients(self.T)
        by_score = np.vstack([W, b]) if objective.rows.coordinates.intercept else W
        u = len(by_score)
        unseen, centre = objective.unseen_scores.reshape(B, q), self.centre
        E = sparse.csr_array(sparse.kron(to_classes, sparse.eye(u)))
        return [
            Estimate(
                to_classes @ at_centre(of_problem.T, centre).T,
                E @ (E @ V).T,
                at_centre(objective.open_directions(problem * q), centre),
                np.broadcast_to(unseen[problem], len(to_classes)),
            )
            for problem, (of_problem, V) in enumerate(
                zip(by_score.T.reshape(B, q, u), covariance, strict=True)
            )
        ]


class _Spread(NamedTuple):
    """How the coefficients vary.

    Attributes
    ----------
    covariances : ndarray (B, p, p), as of `Objective.covariance`
    n_groups : ndarray (B,) or None, number of clusters
    n_resamples : ndarray (B,) or None, number of bootstrap fits that have an optimum
    """

    covariances: NDArray[np.float64]
    n_groups: NDArray[np.intp] | None = None
    n_resamples: NDArray[np.intp] | None = None


def _hessian(fit: _Fit, design: _Design) -> _Spread:
    """Return the inverse information: the covariance if the model holds."""
    return _Spread(fit.objective.covariance(fit.information.inverse, with_prior=True))


def _sandwich(fit: _Fit, design: _Design) -> _Spread:
    """Return the covariance of independent rows, whatever their distribution."""
    power = 1 if design.is_likelihood else 2
    V = row_sandwich(fit.objective, fit.T, fit.information, power)
    return _Spread(fit.objective.covariance(V, with_prior=False))


def _cluster(fit: _Fit, design: _Design) -> _Spread:
    """Return the covariance of rows that depend on each other within groups."""
    objective, codes = design.group_codes(fit.objective)
    count = np.count_nonzero(rows_by_group(objective, codes), axis=1)
    n = design.n_samples(fit)
    _check_enough(count, n, fit.n_params)
    factor = count / (count - 1) * (n - 1) / (n - fit.n_params)
    V = group_sandwich(objective, fit.T, fit.information, codes) * factor[:, None, None]
    return _Spread(objective.covariance(V, with_prior=False), count)


def _bootstrap(fit: _Fit, design: _Design) -> _Spread:
    """Return the covariance of the fits to resampled rows that have an optimum."""
    # 1. How often each row, or its group, is drawn.
    objective, codes, n_groups = fit.objective, None, None
    if design.groups is not None:
        objective, codes = design.group_codes(objective)
        n_groups = np.count_nonzero(rows_by_group(objective, codes), axis=1)
    random = validation.generator_maker(design.random_state)()
    weights = in_memory(objective, 'covariance="bootstrap"').weights
    counts = resampled_counts(weights, random, codes, weights_are_counts=design.is_likelihood)
    # 2. The fits.
    fits = bootstrap_coefficients(objective, fit.T, islice(counts, design.n_resamples))
    T, B = objective.centred(fits.coefficients), objective.problems.count
    by_problem = T.swapaxes(1, 2).reshape(len(T), B, -1)
    # 3. Their covariance.
    found = fits.converged.sum(axis=0)
    if (found < 2).any():
        raise ValueError(
            f"Only {found.min()} of {design.n_resamples} resamples have an optimum: in the others "
            "a class is missing or separated, or columns are collinear. Choose "
            'covariance="hessian", or see inference.separation.'
        )
    V = np.array([np.cov(by_problem[fits.converged[:, b], b].T, ddof=1) for b in range(B)])
    return _Spread(objective.covariance(V, with_prior=False), n_groups, found)


# (fit, design) -> how the coefficients vary.
_COVARIANCES: dict[str, Callable[[_Fit, _Design], _Spread]] = {
    "hessian": _hessian,
    "sandwich": _sandwich,
    "cluster": _cluster,
    "bootstrap": _bootstrap,
}


def _inferences(estimator: LinearClassifier, fit: _Fit, design: _Design) -> list[Inference]:
    """Return the inference of each problem."""
    spread = _COVARIANCES[design.covariance](fit, design)
    rows, n_samples = fit.objective.rows, design.n_samples(fit)
    names = feature_attributes(estimator).get("feature_names_in_", [])
    features = tuple(names) or tuple(f"x{j}" for j in range(estimator.n_features_in_))
    estimates = fit.estimates(spread.covariances)
    _check_range(estimates, features)
    classes, labels = estimator.classes_, [None]
    if fit.has_labels:
        classes, labels = np.array([0, 1]), listed(estimator.classes_)
    return [
        Inference(
            centred=estimate,
            centre=fit.centre,
            classes=classes,
            features=features,
            has_intercept=rows.coordinates.intercept,
            reference=listed(classes)[0],
            covariance_type=design.covariance,
            is_penalised=bool(fit.is_penalised[b]),
            is_likelihood=design.is_likelihood,
            llf=float(fit.llf[b]),
            llnull=float(fit.llnull[b]),
            n_samples=float(n_samples[b]),
            n_params=float(fit.n_params[b]),
            n_groups=None if spread.n_groups is None else int(spread.n_groups[b]),
            n_resamples=None if spread.n_resamples is None else int(spread.n_resamples[b]),
            label=label,
        )
        for b, (estimate, label) in enumerate(zip(estimates, labels, strict=True))
    ]


def _check_range(estimates: list[Estimate], features: tuple) -> None:
    """Raise a ValueError if variances of coefficients are too large or small for numbers."""
    for estimate in estimates:
        variance = estimate.covariance.diagonal().reshape(estimate.coefficients.shape)
        is_open = (estimate.open_directions != 0).any(axis=1) | estimate.absent[:, None]
        is_lost = (variance < np.finfo(float).tiny) & (estimate.coefficients != 0) & ~is_open
        wrong = (~np.isfinite(variance) | is_lost).any(axis=0)[: len(features)]
        if wrong.any():
            names = [str(name) for name, is_wrong in zip(features, wrong, strict=True) if is_wrong]
            raise ValueError(
                f"The variances of the coefficients of {validation.shown(names)} are beyond the "
                "range of numbers: bring these columns, or sample_weight, into another unit."
            )


def in_memory(objective: Objective, asked: str) -> Any:
    """Return the rows; ValueError if they come in chunks, where what was `asked` for is not."""
    if not objective.rows.in_memory:
        raise ValueError(f"{asked} needs all rows in memory, not chunks: pass X and y.")
    return rows_in_memory(objective)


def _check_choice(name: str, value: Any, choices: list[str]) -> None:
    """Raise a ValueError unless a value is one of some texts."""
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{name} must be one of {choices}, got {validation.shown(value)}.")


def _check_enough(n_groups: NDArray, n_samples: NDArray, n_params: NDArray) -> None:
    """Raise a ValueError if some problem has fewer clusters or rows than parameters, (B,) each."""
    for G, n, p in zip(n_groups, n_samples, n_params, strict=True):
        if max(p, 2) > G:
            raise ValueError(
                f"groups holds {G} clusters, fewer than the {p:.4g} parameters of the fit, or than "
                "two: their covariance says nothing of some of these. Choose smaller clusters or "
                "fewer columns."
            )
        if n <= p:
            raise ValueError(
                f"sample_weight counts {n:.4g} rows, no more than the {p:.4g} parameters of the "
                'fit: if weights do not count rows, pass weights="probability".'
            )


def _check_no_row_arrays(sample_weight: Any, offset: Any) -> None:
    """Raise a ValueError if rows that come in chunks are given anything beside."""
    for name, value in (("sample_weight", sample_weight), ("offset", offset)):
        if value is not None:
            raise ValueError(
                f"{name} goes with X and y; without y, X is chunks, which are tuples (X, y) or "
                "(X, y, sample_weight)."
            )


def _check_no_reference(reference: Any) -> None:
    """Raise a ValueError if there is a reference among labels, which are yes or no."""
    if reference is not None:
        raise ValueError(f"reference={reference!r} is for classes: labels have none. Leave it out.")


def _check_smooth(estimator: LinearClassifier, objective: Objective) -> None:
    """Raise a ValueError if an L1 penalty chose the coefficients."""
    if not objective.penalty.is_smooth:
        raise ValueError(
            "There are no standard errors of a fit with an L1 penalty: its zeros were chosen by "
            "the same rows, and their errors are no normal ones. Refit the columns that are not "
            "zero with l1_ratio=0 and C=np.inf, on rows that did not choose them: on the same rows "
            "the p-values would be too small."
        )


def check_converged(estimator: LinearClassifier, is_penalised: NDArray[np.bool_]) -> None:
    """Raise a ValueError if an estimator without a penalty has found no optimum."""
    if not (is_penalised.all() or getattr(estimator, "converged_", True)):
        raise ValueError(
            "The fit without a penalty did not converge: where columns separate classes no "
            "maximum-likelihood estimate exists. inference.separation says whether they do; "
            "inference.firth, or a finite C, has an estimate. If they do not, raise max_iter, or "
            "choose another solver than MiniBatch."
        )


def _check_size(estimator: LinearClassifier, objective: Objective) -> None:
    """Raise a ValueError if covariances in the user's units are too large."""
    B, intercept = objective.problems.count, objective.rows.coordinates.intercept
    order = objective.shape[1] // B * (estimator.n_features_in_ + intercept)
    if B * order**2 > _MOST_NUMBERS:
        raise ValueError(
            f"The covariance of {order} coefficients, of each of {B} problems, takes "
            f"{8e-9 * B * order**2:.3g} GB: choose fewer columns, for example by l1_ratio=1."
        )
