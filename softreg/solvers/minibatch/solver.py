"""Mini-batch gradient descent: the solver for data larger than memory, and for streams."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace

import numpy as np

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, plain
from softreg.solvers.base import MakeGenerator, Monitor, Result, Solver
from softreg.solvers.minibatch.class_candidates import PROPOSALS, candidate_descent
from softreg.solvers.minibatch.update import Iterate, UpdateRule, step

# Batches of "auto" size make this many steps an epoch, which the smallest sets need; but batches of
# fewer rows than the first bound spend most of their time in Python.
_STEPS_PER_EPOCH, _MIN_BATCH_ROWS, _MAX_BATCH_ROWS = 200, 128, 1024
# F may end at this many times its start without a warning: the start may be next to the optimum.
_RISEN_RATIO = 1.01
_FLAGS = ("averaging", "early_stopping", "shuffle")


@dataclass(repr=False)
class MiniBatch(Solver):
    r"""Mini-batch gradient descent: averaged stochastic natural gradient.

    With G the gradient of F on a batch of rows, at coefficients T of standardised columns, each
    step is

    .. math::
        V \leftarrow \mu V - (1 - \mu)\, \eta_t\, M^{-1} G, \qquad T \leftarrow T + V, \qquad
        \eta_t = \frac{\eta}{1 + \eta t / 24},

    where V is the last change of T, t the number of the step, and M the curvature, averaged over
    the batches so far. M has a block for each class: the mean of ``x x'`` weighted by
    (p (1 - p) + r^2) / 2, with p the class's probability and r = p - y its residual, plus the
    penalty, plus 2 % of the mean block, which a rare class needs. (The fewer rows there were, the
    nearer M is brought to the identity. Under softmax, gradients and steps are centred over the
    classes.) Where the blocks would take more than 32 MB, all classes share one block, each with a
    factor of its own; of more than 1,000 columns, or of sparse X, only the diagonal of that block
    is kept.

    The learning rate needs no tuning: M takes account of the units of the columns, of their
    correlations, of rare classes, and of the penalty, which makes plain gradient descent diverge
    if columns have tiny deviations. Steps are implicit: the residual of each row is the one after
    the row's own part of the step, so that an outlier moves until it is fitted, never beyond; a
    step that would overshoot the rows of a batch together is shortened likewise. Steps fall as 1/t,
    and the result is the average of the T, so that the start is forgotten and every row is used.

    The fit ends near the optimum after `n_epochs`, without a certificate: ``converged_`` is False,
    and ``optimality_gap_`` inf. Where the data fit into memory the other solvers are faster. If a
    row lies 1e5 deviations or more from the others, the fit needs tens of epochs.

    Parameters
    ----------
    batch_size : int or "auto", default="auto"
        Rows of a batch, >= 1. "auto" is a 200th of the rows, between 128 and 1024.
    learning_rate : float or "auto", default="auto"
        Length eta > 0 of the first steps, in natural gradients ``M^-1 G``. "auto" is m / (m + 4 d),
        with m the rows of the batch and d the effective number of features.
    n_epochs : int, default=20
        Passes over the data, >= 1.
    momentum : float in [0, 1), default=0.9
        Share mu of the last change V that the next one keeps. Steps over candidates keep none.
    averaging : bool, default=True
        Whether the result is the average of the T, which the T of step t joins with the weight
        4 / (t + 3); otherwise it is the last T.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the rows (of each class), to end the fit when
        their mean loss was not `tol` below the least before for `n_iter_no_change` epochs in a row,
        and to return the coefficients of the epoch at which it was least.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows that are held out.
    n_iter_no_change : int, default=5
        Epochs without improvement that end the fit, >= 1.
    tol : float, default=1e-4
        By how much the mean loss of the rows held out has to fall for an epoch to count as an
        improvement, in nats, >= 0, by the rule of ``sklearn.linear_model.SGDClassifier``. The
        estimator's own `tol` has no say in mini-batches.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new random order (of data that come in chunks, those
        within each chunk).
    n_candidates : int, default=None
        For thousands of classes: the number of candidates, >= 1, over which the loss of a batch is
        computed beside the classes that its rows have (sampled softmax). Candidates are drawn anew
        for each batch, and minus the logarithm of a candidate's probability to be drawn is added to
        its scores: the partition sum is then right on average. The more candidates, the nearer the
        gradient is to that of the loss over all classes; a step costs at most batch_size x
        n_features x (batch_size + n_candidates). A few hundred suffice for 10,000 classes. None, or
        n_candidates >= n_classes, is the loss over all classes. With candidates, F in
        ``loss_curve_`` and ``objective_`` is an estimate over all classes from n_samples x
        n_candidates / n_classes of the rows, at least 256. Needs three or more classes of which
        each row has one.
    proposal : "log-uniform" or "uniform", default="log-uniform"
        How candidates are drawn: "log-uniform", the r-th most frequent class (of a chunk, in
        `partial_fit`) with a probability proportional to log(1 + 1 / r), which suits frequencies
        that fall like 1 / r; or "uniform", all classes with the same probability.

    References
    ----------
    Amari (1998), "Natural gradient works efficiently in learning", Neural Computation 10, 251-276;
    Martens and Grosse (2015), "Optimizing neural networks with Kronecker-factored approximate
    curvature", ICML; Toulis and Airoldi (2017), "Asymptotic and finite-sample properties of
    estimators based on stochastic gradients", Annals of Statistics 45, 1694-1727; Shamir and Zhang
    (2013), "Stochastic gradient descent for non-smooth optimization", ICML, section 3; for
    candidates, Jean et al. (2015), "On using very large target vocabulary for neural machine
    translation", ACL, equation 8.

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
    tol: float = 1e-4
    shuffle: bool = True
    n_candidates: int | None = None
    proposal: str = "log-uniform"

    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Minimise the objective from `start` (width, K)."""
        make_generator, iterate = monitor.make_generator, Iterate.at_start(start)
        # 1. Rows to learn from, and those held out to stop by.
        training, epoch = self._split(objective, start, make_generator)
        measured = self._measured(training, make_generator)
        while len(monitor.losses) < self.n_epochs and not monitor.reason:
            # 2. A step on each batch.
            iterate = self.run_epoch(training, iterate, make_generator)
            # 3. F, for the loss curve, and the epoch whose coefficients are kept.
            value = measured.in_units_of_F(measured.value(iterate.average))
            monitor.iteration(iterate.average, value)
            epoch = epoch.after_epoch(iterate.average)
            # 4. Stop early: no improvement, or coefficients that overflow.
            if epoch.is_over(self.tol, self.n_iter_no_change) or not np.isfinite(value).all():
                break
        # 5. F on all rows, those held out among them.
        whole = measured if training is objective else self._measured(objective, make_generator)
        return _result(whole, start, epoch, monitor)

    def run_epoch(
        self, objective: Objective, iterate: Iterate, make_generator: MakeGenerator
    ) -> Iterate:
        """Return the iterate after a step on each batch of the objective's rows.

        Scores that have no weight in any of these rows stay as they are.
        """
        rows, rule, totals = objective.rows, self._update_rule(), objective.rows.totals
        size = self._batch_rows(totals.n)
        is_shuffled = self.shuffle and size < totals.n
        batches = rows.batches(size, make_generator() if is_shuffled else None)
        sampled = candidate_descent(self.n_candidates, self.proposal, objective, make_generator)
        if sampled:
            return sampled.run_epoch(objective, batches, iterate, rule)
        learned = totals.score_weight > 0
        for batch in batches:
            weight = objective.score_weight * (batch.n / totals.n)
            of_batch = replace(objective, rows=batch, score_weight=weight)
            iterate = step(iterate, of_batch, rule, learned)
        return iterate

    def _measured(self, objective: Objective, make_generator: MakeGenerator) -> Objective:
        """Return the objective whose F is that of `loss_curve_`: an estimate with candidates."""
        sampled = candidate_descent(self.n_candidates, self.proposal, objective, make_generator)
        return sampled.estimate(objective) if sampled else objective

    def _split(
        self, objective: Objective, start: Coef, make_generator: MakeGenerator
    ) -> tuple[Objective, _KeptEpoch]:
        """Return the objective of the rows to learn from, and what is kept before any epoch."""
        if not self.early_stopping:
            return objective, _KeptEpoch(start, None)
        rows, fraction = objective.rows, self.validation_fraction
        training, held_out = rows.validation_split(fraction, make_generator())
        validation_loss = objective.on_rows(held_out).unpenalised()
        return objective.on_rows(training), _KeptEpoch(start, validation_loss)

    def _batch_rows(self, n: int) -> int:
        """Return the number of rows of a batch, of n rows in all."""
        if self.batch_size == "auto":
            return int(np.clip(n // _STEPS_PER_EPOCH, _MIN_BATCH_ROWS, _MAX_BATCH_ROWS))
        return int(self.batch_size)

    def _update_rule(self) -> UpdateRule:
        rate = None if self.learning_rate == "auto" else float(self.learning_rate)
        return UpdateRule(rate, self.momentum, self.averaging)

    def check(self) -> None:
        """Raise a ValueError for an option that is not as described."""
        whole, real = numbers.Integral, numbers.Real
        for name, kind, right, remedy in (
            ("batch_size", whole, lambda v: v >= 1, 'an integer >= 1, or "auto"'),
            ("learning_rate", real, lambda v: 0 < v < np.inf, 'a number > 0, or "auto"'),
            ("n_epochs", whole, lambda v: v >= 1, "an integer >= 1"),
            ("momentum", real, lambda v: 0 <= v < 1, "a number in [0, 1)"),
            ("validation_fraction", real, lambda v: 0 < v < 1, "a number in (0, 1)"),
            ("n_iter_no_change", whole, lambda v: v >= 1, "an integer >= 1"),
            ("tol", real, lambda v: 0 <= v < np.inf, "a finite number >= 0"),
            *((name, bool, lambda _: True, "True or False") for name in _FLAGS),
            ("n_candidates", whole, lambda v: v >= 1, "an integer >= 1, or None for all classes"),
            ("proposal", str, PROPOSALS.__contains__, f"one of {', '.join(map(repr, PROPOSALS))}"),
        ):
            value, default = getattr(self, name), type(self).__dict__[name]
            automatic = isinstance(value, str) and value == "auto" == default
            left_out = value is None is default
            fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
            if not (automatic or left_out or (fits and right(value))):
                raise ValueError(f"{name}={plain(value)!r} must be {remedy}.")


@dataclass(frozen=True, eq=False)
class _KeptEpoch:
    """The epoch whose coefficients are the result: the last one, or the best on rows held out.

    Attributes
    ----------
    T : ndarray (width, K), its coefficients
    validation_loss : Objective, unpenalised, of the rows held out, or None
    losses : tuple of float, the mean loss of these rows after each epoch
    """

    T: Coef
    validation_loss: Objective | None
    losses: tuple[float, ...] = ()

    def after_epoch(self, T: Coef) -> _KeptEpoch:
        """Return the one to keep after one more epoch, which ended at T."""
        if self.validation_loss is None:
            return replace(self, T=T)
        value = self.validation_loss.value(T)
        loss = float(self.validation_loss.in_units_of_F(value).sum())
        is_best = not self.losses or loss < min(self.losses)
        return replace(self, T=T if is_best else self.T, losses=(*self.losses, loss))

    def is_over(self, tol: float, patience: int) -> bool:
        """Return whether none of the last `patience` losses was `tol` below the least before it."""
        least, stale = np.inf, 0
        for loss in self.losses:
            stale = 0 if loss <= least - tol else stale + 1
            least = min(loss, least)
        return stale >= patience


def _result(objective: Objective, start: Coef, epoch: _KeptEpoch, monitor: Monitor) -> Result:
    """Return the result at the coefficients kept, which the objective of all rows measures."""
    value = objective.value(epoch.T)
    coef, intercept = objective.coefficients(epoch.T)
    varies = ~objective.constant_problems  # of others the start is the optimum, to rounding
    has_risen = value[varies].sum() > _RISEN_RATIO * objective.value(start)[varies].sum()
    remedy = (
        "F is larger than at the start: choose a smaller learning_rate or more n_candidates, or "
        "leave both at their defaults"
    )
    return Result(
        coef=coef,
        intercept=intercept,
        objective=objective.in_units_of_F(value),
        gap=np.full_like(value, np.inf),
        n_iter=len(monitor.losses),
        converged=np.zeros(len(value), dtype=bool),
        proven=np.zeros(len(value), dtype=bool),
        message=remedy if has_risen else monitor.reason,
        stopped=not has_risen and (monitor.stopped or not monitor.reason),
        diverging=(),
        loss_curve=np.array(monitor.losses),
        validation_curve=np.array(epoch.losses) if epoch.validation_loss else None,
    )
