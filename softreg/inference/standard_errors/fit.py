"""Fits at their optimum, with the information and the likelihoods there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._estimators.base import LinearClassifier
from softreg._estimators.optimum import (
    null_loss,
    optimum_at,
    with_identified,
)
from softreg._model.covariance import (
    Information,
    effective_parameters,
    newton_optimum,
    user_weight,
)
from softreg._model.objective import Objective
from softreg.inference.standard_errors.estimate import Estimate, coefficients_at_centre

# So many numbers of covariances are held: 2 GB.
_MOST_NUMBERS = 2**28


@dataclass(frozen=True, eq=False)
class Fit:
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
    def from_estimator(cls, estimator: LinearClassifier, posed_objective: Objective) -> Fit:
        """Return the fit of an estimator that is at the optimum of the objective."""
        # 1. What can be answered.
        _check_smooth(posed_objective)
        _check_size(estimator, posed_objective)
        penalised_scores = (posed_objective.penalty.ridge > 0).any(axis=0)
        n_scores, problems = posed_objective.shape[1], posed_objective.problems
        is_penalised = problems.any(np.broadcast_to(penalised_scores, n_scores))
        check_converged(estimator, is_penalised)
        # 2. The optimum, and the information there.
        objective, T = with_identified(*optimum_at(estimator, posed_objective)[:2])
        T, information = newton_optimum(objective, T)
        n_params = effective_parameters(objective, information.inverse)
        # 3. The likelihoods.
        weight = user_weight(objective)
        llf = -weight * objective.unpenalised().value(T)
        llnull = -weight * null_loss(posed_objective)
        is_pair = estimator.intercept_.shape[0] < len(estimator.classes_)
        has_labels = not (objective.link.exclusive or is_pair)
        return cls(objective, T, information, n_params, llf, llnull, is_penalised, has_labels)

    @property
    def centre(self) -> NDArray[np.float64]:
        """The centres of the features in the user's units, and 0 for an intercept, (u,)."""
        centre = self.objective.user_centre
        return np.append(centre, np.zeros(int(self.objective.rows.coordinates.intercept)))

    def estimates(self, covariance: NDArray) -> list[Estimate]:
        """Return each problem's estimate at the centres, given its covariance of (B, p, p).

        One score, of class 1 against 0, is half of it for class 1 and minus half for class 0.
        """
        objective = self.objective
        K, B = objective.shape[1], objective.problems.count
        q, exclusive = K // B, objective.link.exclusive
        to_classes = np.eye(q) - 1 / q if exclusive else np.array([[-0.5], [0.5]])
        W, intercept = objective.coefficients(self.T)
        by_score = np.vstack([W, intercept]) if objective.rows.coordinates.intercept else W
        by_problem, centre = by_score.T.reshape(B, q, -1), self.centre
        unseen = objective.unseen_scores.reshape(B, q)
        E = sparse.csr_array(sparse.kron(to_classes, sparse.eye(len(by_score))))
        return [
            Estimate(
                to_classes @ coefficients_at_centre(by_problem[b].T, centre).T,
                E @ (E @ covariance[b]).T,
                coefficients_at_centre(objective.unidentified_directions(b * q), centre),
                np.broadcast_to(unseen[b], len(to_classes)),
            )
            for b in range(B)
        ]


def check_targets_and_weights(estimator: LinearClassifier, weights_are_counts: bool) -> None:
    """Raise a ValueError if a fit changed y, or weights that are taken to count rows."""
    parameters = estimator.get_params(deep=False)
    if parameters["class_weight"] is not None and weights_are_counts:
        raise ValueError(
            f"class_weight={parameters['class_weight']!r} weighs rows by their class, so that "
            'they count no rows: pass weights="probability" to infer, or fit without class_weight.'
        )
    if parameters.get("label_smoothing", 0):
        raise ValueError(
            f"label_smoothing={parameters['label_smoothing']} changes y, and with it what the "
            "standard errors would be of: fit with label_smoothing=0."
        )


def _check_smooth(objective: Objective) -> None:
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
