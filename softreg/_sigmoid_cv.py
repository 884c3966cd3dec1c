"""Sigmoid regression that chooses its C by cross-validation, one for all labels or for each."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from softreg._cross_validation import CrossValidatedClassifier
from softreg._sigmoid import SigmoidModel


class SigmoidRegressionCV(SigmoidModel, CrossValidatedClassifier):
    r"""One sigmoid for each label, whose C is chosen by cross-validation.

    The model of `SigmoidRegression` at each C of a path, then its refits without each fold, all
    labels and folds in the same passes over the data (large problems: in groups). The model at the
    chosen C is that of the path; nothing is fitted again.

    Parameters
    ----------
    Cs : int or array-like of shape (n_Cs,), default=10
        Inverse strengths of the penalty to try, finite and > 0; they are sorted. An integer asks
        for as many, evenly spaced in log C, from where no model is more than 1 % better than the
        null model to where the penalty hardly matters (1e-4 to 1e4 where nothing is penalised).
    cv : int, "loo", splitter or iterable of (train, test), default=5
        The folds, as in `sklearn.model_selection.check_cv` (an integer: for labels consecutive
        rows, for one class a row stratified, without shuffling). "loo" leaves out each row, by one
        Newton step from the fit to all rows, or a refit where that does not reach (see
        `softreg.inference.loo`), and asks for Hessians that can be factored.
    scoring : str or callable, default="neg_log_loss"
        A scorer of `sklearn.metrics`, or ``scorer(estimator, X, y)``, the larger, the better; with
        `per_label` it gets one label's 0 and 1, and weights, of the rows where it is known. Scores
        must be finite. "neg_log_loss" is minus the mean log loss of all known answers. With "loo"
        all other scorers score all held-out predictions at once.
    select : {"best", "1se"}, default="best"
        The C of the best mean score (the smallest of equals), or the smallest C whose mean score is
        within one standard error of it.
    per_label : bool, default=False
        Whether each label has a C of its own, chosen by its own scores; of three or more classes,
        one a row, each is a label against the rest.
    penalty_factor : array-like of shape (n_features,), default=None
        Factors >= 0 on each feature's penalty; 0 leaves a feature unpenalised. None is all ones.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    class_weight : dict {label: weight}, "balanced" or None, default=None
        Weights >= 0 of the labels in the fits, found from all rows, as in `SigmoidRegression`;
        scores do not count them.
    classes : array-like of shape (n_labels,), default=None
        The names of the labels, or the classes in the order of the rows of coefficients. None: the
        DataFrame's column names or 0, 1, ...; sorted classes.
    threshold : float or array-like, one for each row of `coef_`, default=0.5
        Where a label begins to be predicted, as in `SigmoidRegression`.
    tol : float, default=1e-9
        As in `SigmoidRegression`, for the fits to all rows. Refits end where F is estimated at most
        ``max(tol, 1e-9)`` (relative) above its least value, far below the noise of their scores.
    max_iter : int, default=None
        Most iterations at each C, >= 1; None is 10,000.
    n_jobs : int, default=None
        Threads, as in `SigmoidRegression`.
    verbose : int, default=0
        If positive, print the objective and the mean score at each C.

    Attributes
    ----------
    C_ : float, or ndarray of shape (n_labels,) with `per_label`
        The chosen C.
    Cs_ : ndarray of shape (n_Cs,), ascending
    scores_ : ndarray of shape (n_folds, n_Cs), with `per_label` (n_folds, n_Cs, n_labels)
        Score of each fold, NaN where no answer (of a label) is known; of each row with "loo" and
        "neg_log_loss", of all with "loo" and another scorer (n_folds = 1).
    mean_score_ : ndarray of shape (n_Cs,) or (n_Cs, n_labels)
        Mean over the folds, each counting the same; with "loo" known answers count their weight.
    se_score_ : ndarray of shape (n_Cs,) or (n_Cs, n_labels)
        Its standard error: the folds' standard deviation over the root of their number, NaN for
        one, where "1se" chooses the best.
    results_ : DataFrame with columns fold, C, score, and label with `per_label`, a row each
    coef_path_ : ndarray of shape (n_Cs, n_labels, n_features), or (n_Cs, 1, n_features)
        Coefficients of the fits to all rows.
    intercept_path_ : ndarray of shape (n_Cs, n_labels), or (n_Cs, 1)
    coef_, intercept_, classes_, multilabel_, sparse_output_, n_features_in_, \
feature_names_in_, n_iter_, objective_, optimality_gap_, label_objective_, \
label_optimality_gap_, converged_, loss_curve_, n_samples_seen_
        As in `SigmoidRegression`, of the fit to all rows at `C_`; iterations are those from the C
        before, at the largest of them.

    Warns
    -----
    UserWarning
        Once, with the names of labels that are the same wherever they are known.
    sklearn.exceptions.ConvergenceWarning
        Once, if the optimum at some C was not reached or does not exist.

    Notes
    -----
    A label whose known answers are all the same in a fold's other rows, of total weight S, has
    Jeffreys' prior for the other answer in all rows of that fold: the probability
    ``1/2 / (S + 1)``.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from softreg import SigmoidRegressionCV
    >>> X, Y = make_multilabel_classification(n_classes=3, random_state=0)
    >>> model = SigmoidRegressionCV(Cs=[1e-3, 1e-1, 10], per_label=True).fit(X, Y)
    >>> model.scores_.shape, model.C_.shape
    ((5, 3, 3), (3,))
    """

    def __init__(
        self,
        Cs: int | ArrayLike = 10,
        *,
        cv: Any = 5,
        scoring: Any = "neg_log_loss",
        select: str = "best",
        per_label: bool = False,
        penalty_factor: ArrayLike | None = None,
        fit_intercept: bool = True,
        class_weight: dict | str | None = None,
        classes: ArrayLike | None = None,
        threshold: float | ArrayLike = 0.5,
        tol: float = 1e-9,
        max_iter: int | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.select = select
        self.per_label = per_label
        self.penalty_factor = penalty_factor
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.classes = classes
        self.threshold = threshold
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _tries_each_label(self) -> bool:
        return bool(self.per_label)
