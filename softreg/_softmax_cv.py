"""Softmax regression that chooses its C by cross-validation."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from softreg._cross_validation import CrossValidatedClassifier
from softreg._softmax import SoftmaxModel


class SoftmaxRegressionCV(SoftmaxModel, CrossValidatedClassifier):
    r"""Multinomial logistic regression whose C is chosen by cross-validation.

    The model of `SoftmaxRegression` at each C of a path, then its refits without each fold,
    together in the same passes over the data (large problems: in groups). Along C each fit starts
    where those before it lead; the refits start at the fit to all rows, whose metric is their
    preconditioner. The model at the chosen C is that of the path; nothing is fitted again.

    Parameters
    ----------
    Cs : int or array-like of shape (n_Cs,), default=10
        Inverse strengths of the penalty to try, finite and > 0; they are sorted. An integer asks
        for as many, evenly spaced in log C, from where no model is more than 1 % better than the
        null model to where the penalty hardly matters (1e-4 to 1e4 where nothing is penalised).
    cv : int, "loo", splitter or iterable of (train, test), default=5
        The folds, as in `sklearn.model_selection.check_cv` (an integer: stratified by class,
        without shuffling; class probabilities: consecutive rows). "loo" leaves out each row, by one
        Newton step from the fit to all rows, or a refit where that does not reach (see
        `softreg.inference.loo`), and asks for a Hessian that can be factored.
    scoring : str or callable, default="neg_log_loss"
        A scorer of `sklearn.metrics`, or ``scorer(estimator, X, y)``, the larger, the better;
        scores must be finite. With "loo" all scorers but "neg_log_loss" score all held-out
        predictions at once.
    select : {"best", "1se"}, default="best"
        The C of the best mean score (the smallest of equals), or the smallest C whose mean score is
        within one standard error of it.
    penalty_factor : array-like of shape (n_features,), default=None
        Factors >= 0 on each feature's penalty; 0 leaves a feature unpenalised. None is all ones.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    class_weight : dict {class: weight}, "balanced" or None, default=None
        Weights >= 0 of the classes in the fits, found from all rows; scores do not count them.
    label_smoothing : float in [0, 1), default=0.0
        Replaces targets y by ``(1 - a) y + a / n_classes`` in the fits, not in the scores.
    classes : array-like of shape (n_classes,), default=None
        The classes in the order of the columns of coefficients and probabilities. None: sorted
        labels; for class probabilities the DataFrame's column names, else 0, 1, ...
    tol : float, default=1e-9
        As in `SoftmaxRegression`, for the fits to all rows. Refits end where F is estimated at most
        ``max(tol, 1e-9)`` (relative) above its least value, far below the noise of their scores.
    max_iter : int, default=None
        Most iterations at each C, >= 1; None is 10,000.
    n_jobs : int, default=None
        Threads, as in `SoftmaxRegression`.
    verbose : int, default=0
        If positive, print the objective and the mean score at each C.

    Attributes
    ----------
    C_ : float
        The chosen C.
    Cs_ : ndarray of shape (n_Cs,), ascending
    scores_ : ndarray of shape (n_folds, n_Cs)
        Score of each fold; of each row with "loo" and "neg_log_loss", of all with "loo" and another
        scorer (n_folds = 1).
    mean_score_ : ndarray of shape (n_Cs,)
        Mean over the folds, each counting the same; with "loo" rows count their weight.
    se_score_ : ndarray of shape (n_Cs,)
        Its standard error: the folds' standard deviation over the root of their number, NaN for
        one.
    results_ : DataFrame with columns fold, C and score, a row each
    coef_path_ : ndarray of shape (n_Cs, n_classes, n_features), or (n_Cs, 1, n_features)
        Coefficients of the fits to all rows.
    intercept_path_ : ndarray of shape (n_Cs, n_classes), or (n_Cs, 1)
    coef_, intercept_, classes_, n_features_in_, feature_names_in_, n_iter_, objective_, \
optimality_gap_, converged_, loss_curve_, n_samples_seen_
        As in `SoftmaxRegression`, of the fit to all rows at `C_`; iterations are those from the C
        before.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        Once, if the optimum at some C was not reached or does not exist.

    Notes
    -----
    A class that a fold's other rows lack has, in all rows of that fold, Jeffreys' prior for a class
    not seen in rows of total weight S: the probability ``1/2 / (S + n_classes / 2)``; the others
    share the rest as the model says. `scores_` always has all folds and all C.

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), "The Elements of Statistical Learning", 2nd edition,
    section 7.10 (one standard error: page 244).

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegressionCV
    >>> X, y = load_wine(return_X_y=True)
    >>> model = SoftmaxRegressionCV(Cs=[0.01, 1, 100], cv=10).fit(X, y)
    >>> model.scores_.shape, model.C_
    ((10, 3), 1.0)
    """

    def __init__(
        self,
        Cs: int | ArrayLike = 10,
        *,
        cv: Any = 5,
        scoring: Any = "neg_log_loss",
        select: str = "best",
        penalty_factor: ArrayLike | None = None,
        fit_intercept: bool = True,
        class_weight: dict | str | None = None,
        label_smoothing: float = 0.0,
        classes: ArrayLike | None = None,
        tol: float = 1e-9,
        max_iter: int | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.select = select
        self.penalty_factor = penalty_factor
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.classes = classes
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _tries_each_label(self) -> bool:
        return False
