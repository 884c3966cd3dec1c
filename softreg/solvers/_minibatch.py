"""Mini-batch gradient descent: the solver for data that do not fit or do not stop."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._objective import Objective
from softreg.solvers._candidates import PROPOSALS, descend, some_rows
from softreg.solvers._configuration import Solver
from softreg.solvers._natural_gradient import Iterate, Rule, step
from softreg.solvers._result import Monitor, Result

# Steps of fewer rows spend most of their time in Python; the smallest sets need as many steps.
_FEWEST, _MOST, _STEPS_AN_EPOCH = 128, 1024, 200
_SWITCHES = ("averaging", "early_stopping", "shuffle")


@dataclass(repr=False)
class MiniBatch(Solver):
    r"""Mini-batch gradient descent: averaged stochastic natural gradient in running coordinates.

    Each step goes from the gradient G of F on a batch of rows, at coefficients T of standardised
    columns, to

    .. math::
        V \leftarrow \mu V - (1 - \mu)\, \eta_t\, M^{-1} G, \qquad T \leftarrow T + V, \qquad
        \eta_t = \frac{\eta}{1 + \eta t / 12},

    where M, the running curvature, is the mean of ``(diag(p) - p p' + r r') / 2`` between the
    classes (p the probabilities, r = p - y the residuals) times, as a Kronecker product, the mean
    of ``x x'`` weighted by its trace, plus the penalty. So neither the units of columns, nor how
    they go together, nor rare classes ask for a rate to be tuned, and the penalty, whose stiffness
    on columns of tiny deviation breaks plain gradient descent, is inside M. Within a batch the
    residual of each row is the one after its own part of the step: an outlier moves until it is
    fitted, never beyond. Steps fall as 1/t, which together with the average of the T forgets the
    start and uses every row. Beyond 1,000 columns, and for sparse X, the diagonal of the mean of
    ``x x'`` takes its place, and beyond 300 classes that of the other.

    It ends near the optimum after so many epochs, without a certificate: ``converged_`` is False,
    and ``optimality_gap_`` inf. Where data fit into memory the other solvers are faster.

    Parameters
    ----------
    batch_size : int or "auto", default="auto"
        Rows of a batch, >= 1. "auto" is a 200th of the rows, between 128 and 1024.
    learning_rate : float or "auto", default="auto"
        The first steps' length eta > 0, in natural gradients. "auto" is m / (m + 4 d), with m the
        rows of the batch and d the effective number of features.
    n_epochs : int, default=20
        Passes over the data, >= 1.
    momentum : float in [0, 1), default=0.9
        How much of the last change V the next one keeps.
    averaging : bool, default=True
        Whether the result is the average of the T, the t-th weighing t^3, nearly.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the rows (of each class), end the fit when
        their mean loss has not fallen by ``tol`` (relative) for `n_iter_no_change` epochs, and
        return the coefficients of the best epoch.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows that are held out.
    n_iter_no_change : int, default=5
        Epochs without improvement that end the fit, >= 1.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new random order (of data that come in chunks, those
        within each chunk).

    References
    ----------
    Amari (1998), "Natural gradient works efficiently in learning", Neural Computation 10, 251-276;
    Martens and Grosse (2015), "Optimizing neural networks with Kronecker-factored approximate
    curvature", ICML; Toulis and Airoldi (2017), "Asymptotic and finite-sample properties of
    estimators based on stochastic gradients", Annals of Statistics 45, 1694-1727; Polyak and
    Juditsky (1992), "Acceleration of stochastic approximation by averaging", SIAM Journal on
    Control and Optimization 30, 838-855.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.solvers import MiniBatch
    >>> X, y = load_wine(return_X_y=True)  # raw columns
    >>> model = SoftmaxRegression(solver=MiniBatch(n_epochs=50), random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.97
    True
    >>> model.loss_curve_.shape
    (50,)
    """

    batch_size: int | str = "auto"
    learning_rate: float | str = "auto"
    n_epochs: int = 20
    momentum: float = 0.9
    averaging: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 5
    shuffle: bool = True
    n_candidates: int | None = None
    proposal: str = "log-uniform"

    def minimise(self, objective: Objective, start: NDArray, monitor: Monitor) -> Result:
        """Minimise the objective from `start` (width, K)."""
        kept, validation = self._split(objective, monitor.random)
        measured = self.measured(kept)
        iterate, best, curve = Iterate.at(start), _Best(start), []
        for _ in range(self.n_epochs):
            iterate = self.pass_over(kept, iterate, monitor.random)
            value = measured.value(iterate.mean)
            monitor.iteration(iterate.mean, value)
            loss = value if validation is None else validation.value(iterate.mean)
            curve.append(loss.sum())
            better = validation is None or curve[-1] < best.loss * (1 - monitor.tol)
            best = _Best(iterate.mean, curve[-1]) if better else best.older()
            if monitor.reason or not np.isfinite(value).all() or best.age >= self.n_iter_no_change:
                break
        curve_held = np.array(curve) if validation else None
        return _result(self.measured(objective), start, best.T, monitor, curve_held)

    def _split(
        self, objective: Objective, random: np.random.Generator
    ) -> tuple[Objective, Objective | None]:
        """Return the objective of the rows to learn from, and the mean loss of those held out."""
        self.check()
        if not self.early_stopping:
            return objective, None
        rows, held = objective.rows.split(self.validation_fraction, random)
        return objective.on(rows), objective.on(held).unpenalised()

    def pass_over(
        self, objective: Objective, iterate: Iterate, random: np.random.Generator
    ) -> Iterate:
        """Return the iterate after a step on each batch of the objective's rows."""
        rows, rule = objective.rows, self._rule()
        batches = rows.batches(self._size(rows.n), random if self.shuffle else None)
        if self._is_sampled(objective):
            chosen = (int(self.n_candidates or 0), self.proposal)
            return descend(objective, batches, iterate, rule, chosen, random)
        for batch in batches:
            share = objective.score_weight * (batch.n / rows.n)
            iterate = step(iterate, replace(objective, rows=batch, score_weight=share), rule)
        return iterate

    def measured(self, objective: Objective) -> Objective:
        """Return what tells F during the descent: with candidates, some of the rows."""
        if self._is_sampled(objective):
            return some_rows(objective, int(self.n_candidates or 0))
        return objective

    def _is_sampled(self, objective: Objective) -> bool:
        """Return whether there are more classes than candidates."""
        if self.n_candidates is None:
            return False
        if not objective.link.exclusive:
            raise ValueError(
                f"n_candidates={self.n_candidates!r} needs three or more classes of which each row "
                "has one; labels, and two classes, have no others to leave out: leave it None."
            )
        return self.n_candidates < objective.shape[1]

    def check(self) -> None:
        """Raise ValueError for a parameter that is not as described."""
        whole, real = numbers.Integral, numbers.Real
        for name, kind, right, remedy in (
            ("batch_size", whole, lambda v: v >= 1, 'an integer >= 1, or "auto"'),
            ("learning_rate", real, lambda v: 0 < v < np.inf, 'a number > 0, or "auto"'),
            ("n_epochs", whole, lambda v: v >= 1, "an integer >= 1"),
            ("momentum", real, lambda v: 0 <= v < 1, "a number in [0, 1)"),
            ("validation_fraction", real, lambda v: 0 < v < 1, "a number in (0, 1)"),
            ("n_iter_no_change", whole, lambda v: v >= 1, "an integer >= 1"),
            *((name, bool, lambda _: True, "True or False") for name in _SWITCHES),
            ("n_candidates", whole, lambda v: v >= 1, "an integer >= 1, or None for all classes"),
            ("proposal", str, lambda v: v in PROPOSALS, f"one of {', '.join(map(repr, PROPOSALS))}"),
        ):
            value = getattr(self, name)
            default = type(self).__dict__[name]
            automatic = isinstance(value, str) and value == "auto" == default
            left_out = value is None is default
            if not (automatic or left_out or (isinstance(value, kind) and right(value))):
                raise ValueError(f"{name}={value!r} must be {remedy}.")

    def _size(self, n: int) -> int:
        """Return the rows of a batch."""
        if self.batch_size == "auto":
            return int(np.clip(n // _STEPS_AN_EPOCH, _FEWEST, _MOST))
        return int(self.batch_size)

    def _rule(self) -> Rule:
        longest = None if self.learning_rate == "auto" else float(self.learning_rate)
        return Rule(longest, self.momentum, self.averaging)


@dataclass(frozen=True, eq=False)
class _Best:
    """The best coefficients so far, their held-out loss, and for how many epochs they have been."""

    T: NDArray
    loss: float = np.inf
    age: int = 0

    def older(self) -> _Best:
        return replace(self, age=self.age + 1)


def _result(
    objective: Objective, start: NDArray, T: NDArray, monitor: Monitor, curve: NDArray | None
) -> Result:
    value = objective.value(T)
    coef, intercept = objective.coefficients(T)
    diverged = value.sum() > objective.value(start).sum()
    rose = "F is larger than at the start: choose a smaller learning_rate, or leave it 'auto'"
    return Result(
        coef=coef,
        intercept=intercept,
        objective=objective.in_units_of_F(value),
        gap=np.full_like(value, np.inf),
        n_iter=len(monitor.losses),
        converged=np.zeros(len(value), dtype=bool),
        message=rose if diverged else monitor.reason,
        stopped=not diverged and (monitor.stopped or not monitor.reason),
        diverging=(),
        loss_curve=np.array(monitor.losses),
        validation_curve=curve,
    )
