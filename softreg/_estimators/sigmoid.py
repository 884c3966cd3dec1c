"""Sigmoid regression: any number of labels a row."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import log_expit, logit
from sklearn.utils import Tags

from softreg._encoding import validation
from softreg._encoding.answers import Encoder, Encoding
from softreg._encoding.class_values import has_columns
from softreg._encoding.labels import LabelEncoder, OneVsRestEncoder
from softreg._estimators.base import LinearClassifier
from softreg._estimators.cv import CrossValidatedClassifier
from softreg._estimators.posing import has_intercept
from softreg._estimators.streams import StreamClassifier
from softreg._model.kernels import expit, log_softmax_of_rows, softmax_of_rows
from softreg.solvers.base import Result, Solver


class SigmoidModel(LinearClassifier, metaclass=ABCMeta):
    """A model of labels that do not exclude each other: each probability is a sigmoid."""

    def _encoder(self, y: Any) -> Encoder:
        parameters = (self.class_weight, self.threshold, has_intercept(self))
        if not has_columns(y):
            return OneVsRestEncoder(self.classes, *parameters)
        names = getattr(y, "columns", None) if self.classes is None else self.classes
        return LabelEncoder(names, *parameters, sparse=sparse.issparse(y))

    def _predictions(self, scores: NDArray) -> Any:
        excess = scores - logit(
            validation.check_threshold(self.threshold, self.intercept_.shape[0])
        )
        if self.multilabel_:
            indicator = (excess > 0).astype(int)
            return sparse.csr_array(np.asarray(indicator)) if self.sparse_output_ else indicator
        best = (excess > 0).astype(int) if scores.ndim == 1 else excess.argmax(axis=1)
        return self.classes_[best]

    def _class_probabilities(self, scores: NDArray) -> NDArray:
        # p_k / sum_j p_j also where all p underflow
        return expit(scores) if self.multilabel_ else softmax_of_rows(log_expit(scores))

    def _class_log_probabilities(self, scores: NDArray) -> NDArray:
        log_sigmoid = log_expit(scores)
        return log_sigmoid if self.multilabel_ else log_softmax_of_rows(log_sigmoid)

    def _attributes_by_problem(self, result: Result) -> dict[str, Any]:
        return {
            "label_objective_": result.objective,
            "label_optimality_gap_": result.gap,
            "label_proven_": result.proven,
        }

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class SigmoidRegression(SigmoidModel, StreamClassifier):
    r"""One sigmoid for each label, all fitted at once: multi-label logistic regression.

    With scores :math:`z_i = W x_i + b + o_i`, minimises

    .. math::
        F(W, b) = \frac{1}{S} \sum_{il} s_{il} \bigl(\log(1 + e^{z_{il}}) - y_{il} z_{il}\bigr)
                  + \frac{1}{S} \sum_l \frac{1}{C_l} \sum_j f_j \Bigl(\frac{1 - a}{2} W_{lj}^2
                  + a |W_{lj}|\Bigr),
        \qquad S = \frac{1}{L} \sum_{il} s_{il},

    where y says which of the L labels row i has, s is `sample_weight` times the label's class
    weight and 0 where y is not known, a is `l1_ratio`, f is `penalty_factor` (with `standardize`
    the columns are those over their deviations), and the intercept b is not penalised.
    ``P(label l | x) = sigmoid(z_l)``: labels do not exclude each other, and rows of probabilities
    do not sum to 1. Each label has the minimiser of ``LogisticRegression(C=C_l, l1_ratio=a)`` on
    the rows where it is known, and the passes over X serve all labels. Units of columns do not
    affect convergence; without `standardize` they do affect what the penalty means.

    One class a row, y of shape (n_samples,), makes two classes the model of `SoftmaxRegression`,
    and more the one-vs-rest classifier: a sigmoid each, the largest score wins.

    Parameters
    ----------
    C : float or array-like of shape (n_labels,), default=1.0
        Inverse strength of the penalty, > 0, of all labels or of each; ``np.inf`` means none.
    l1_ratio : float in [0, 1], default=0.0
        The share a of the sparse part: 0 is the ridge, 1 the lasso, between them the elastic net.
        Coefficients that the sparse part makes zero are exactly 0.0. Above 0, columns of different
        units ask for `standardize`.
    l1_groups : None, "feature", array-like of shape (n_features,), dict or Series, default=None
        What leaves a label's model together, where `l1_ratio` is above 0. None, or "feature": each
        coefficient by itself. Names of groups, one for each column or by column name: features of
        one group, as the levels of a category. The penalty is the length of a group's coefficients,
        whatever their number: ``sum_g f_g ||W_g||`` in place of the sum of absolute values. A group
        has one `penalty_factor`.
    penalty_factor : array-like of shape (n_features,), dict or Series, default=None
        Factors >= 0 on each feature's penalty, both its parts; by column name it is 1 for those
        that are not named. 0 leaves a feature unpenalised. None is all ones.
    standardize : bool, default=False
        Whether the penalty is that of columns over their standard deviations, as in
        `SoftmaxRegression`. All labels share the deviations: these count a row's `sample_weight`,
        not weights of its labels, and leave out rows in which no answer is known.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    class_weight : dict {label: weight}, "balanced" or None, default=None
        Weights >= 0 of the rows that have a label, in that label's loss, where those that do not
        weigh 1; a dict may name labels that y lacks if it names all of y. "balanced" gives those
        that have it and those that do not half of the label's weight each. (Two classes, one a row:
        as in `SoftmaxRegression`.)
    classes : array-like of shape (n_labels,), default=None
        The names of the labels, or the classes in the order of the rows of coefficients, also
        those without rows. None: the DataFrame's column names or 0, 1, ...; sorted classes.
    threshold : float or array-like, one for each row of `coef_`, default=0.5
        Probability in (0, 1) above which a label is predicted: its score exceeds
        ``logit(threshold)``. Of more than two classes, one a row, the one whose score exceeds its
        own logit the most is predicted. See `softreg.calibration.tune_thresholds`.
    solver : str or object of `softreg.solvers`, default="auto"
        "auto", "lbfgs", "newton", "proximal-newton" or "minibatch".
        "auto" takes `Newton`, which gives each label steps of its own, for small tables, whose
        Hessians are cheap, and for columns whose Gram matrix is too large to factor, else `LBFGS`;
        where `l1_ratio` is above 0, it takes `ProximalNewton`, the one that can. `MiniBatch` ends
        near the optimum, for data larger than memory.
        scikit-learn's "newton-cg", "newton-cholesky", "sag" and "saga" mean "auto", as "liblinear"
        does without an intercept, which it penalises; "lbfgs" is softreg's own.
    tol : float, default=1e-9
        A label is done when its part of F is estimated to be at most ``tol`` (relative) above its
        least value, and proven to be at most ``max(tol, 1e-8)`` above; the estimate alone decides
        where a feature has no penalty or where only rounding is left of F. `MiniBatch` has its
        own.
    max_iter : int, default=None
        Most iterations, >= 0; None is 10,000, which no fit on real data comes near. 0 returns the
        start, the null model or that of `warm_start`, with ``converged_ = False``.
    warm_start : bool, default=False
        Whether `fit` starts from the present coefficients, if classes and features are the same.
    n_jobs : int, default=None
        Threads. None is as many as BLAS is allowed at the moment; negative numbers count as in
        joblib, -1 being all processors. The result does not depend on it beyond rounding.
    random_state : int, RandomState instance or None, default=None
        What `MiniBatch` draws with: rows held out, the order of rows, and candidates. An integer
        makes fits reproducible. Where none of these is asked for, nothing is drawn from it, nor
        from NumPy's global state.
    verbose : int, default=0
        If positive, print the objective after each iteration.

    Attributes
    ----------
    coef_ : ndarray of shape (n_labels, n_features), or (1, n_features) for two classes
    intercept_ : ndarray of shape (n_labels,), or (1,)
    classes_ : ndarray of shape (n_labels,)
        The labels' names, or the classes.
    multilabel_ : bool
        Whether y had a column for each label.
    sparse_output_ : bool
        Whether `predict` returns a `scipy.sparse.csr_array`, as y was sparse.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only if X has column names.
    n_iter_ : ndarray of shape (1,)
        Iterations of the solver (epochs of `MiniBatch`); after `partial_fit` the chunks.
    objective_ : float, only after `fit` and `fit_chunks`
        F at the solution.
    optimality_gap_ : float, only after `fit` and `fit_chunks`
        A proven bound on how far `objective_` is above its minimum; inf where there is none, as
        where features without a penalty separate a label, or after `MiniBatch`.
    label_objective_ : ndarray of shape (n_labels,), or (1,)
        Each label's part of F; they add up to `objective_`. Only after `fit` and `fit_chunks`.
    label_optimality_gap_ : ndarray of shape (n_labels,), or (1,)
        A bound for each part; only after `fit` and `fit_chunks`.
    converged_ : bool, only after `fit` and `fit_chunks`
        Whether all labels reached `tol`; False after `MiniBatch`.
    proven_ : bool, only after `fit` and `fit_chunks`
        Whether all of `label_proven_` are True.
    label_proven_ : ndarray of shape (n_labels,) of bool, or (1,)
        Whether each label's gap proves what `tol` asks for: at most ``max(tol, 1e-8)`` times its
        part of F. Where it does not, `converged_` rests on an estimate. Only after `fit` and
        `fit_chunks`.
    loss_curve_ : ndarray of shape (n_iter,)
        F after each iteration, where the start is far off first that of smoother losses, or, with
        `l1_ratio` above 0, of stronger penalties, which are no less; after `partial_fit` the mean
        loss of each chunk before it was learned from.
    validation_curve_ : ndarray of shape (n_iter,)
        Mean loss of rows held out, after each epoch; only after `MiniBatch` with early stopping.
    n_samples_seen_ : int
        Rows of the fit, or of the stream so far, that have weight.
    class_prior_ : ndarray of shape (n_labels,), only after `fit` and `fit_chunks`
        The share of the rows that have each label, of those where it is known and as these were
        weighted, or of each class: with an intercept, the weighted mean of the label's sigmoid. It
        is what `softreg.calibration.prior_shift` starts from. 0.5 for a label that is not known
        anywhere.
    solver_ : object of `softreg.solvers`
        The solver that was used.

    Warns
    -----
    UserWarning
        From `fit` and `fit_chunks`, once, with the names of labels that are the same wherever they
        are known. With an intercept they have coefficients 0 and a finite intercept: that of the
        probability 2e-16 or 1 - 2e-16, beyond which F does not change any more, or 0.5 for a label
        that is not known anywhere.
    sklearn.exceptions.ConvergenceWarning
        From `fit` and `fit_chunks`, with the names of the labels whose optimum was not reached or
        does not exist.

    References
    ----------
    Tsoumakas and Katakis (2007), "Multi-label classification: an overview", International Journal
    of Data Warehousing and Mining 3, 1-13 (binary relevance).

    Examples
    --------
    >>> import pandas as pd
    >>> from softreg import SigmoidRegression
    >>> X = [[0, 2], [1, 2], [2, 1], [3, 1], [4, 0], [5, 3]]
    >>> Y = pd.DataFrame({"blue": [0, 0, 1, 1, 1, None], "dress": [1, 0, 1, 0, 1, 1]})
    >>> model = SigmoidRegression().fit(X, Y)
    >>> model.coef_.shape, list(model.classes_)
    ((2, 2), ['blue', 'dress'])
    >>> model.predict([[4, 1]])
    array([[1, 1]])
    """

    def __init__(
        self,
        C: float | ArrayLike = 1.0,
        l1_ratio: float = 0.0,
        *,
        l1_groups: Any = None,
        penalty_factor: Any = None,
        standardize: bool = False,
        fit_intercept: bool = True,
        class_weight: dict | str | None = None,
        classes: ArrayLike | None = None,
        threshold: float | ArrayLike = 0.5,
        solver: str | Solver = "auto",
        tol: float = 1e-9,
        max_iter: int | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.l1_groups = l1_groups
        self.penalty_factor = penalty_factor
        self.standardize = standardize
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.classes = classes
        self.threshold = threshold
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


class SigmoidRegressionCV(SigmoidModel, CrossValidatedClassifier):
    r"""One sigmoid for each label, whose penalty is chosen by cross-validation.

    Fits the model of `SigmoidRegression` at each C of a path, for each of `l1_ratios`, then refits
    it without each fold. The model that is chosen is that of its path; nothing is fitted again.
    With the ridge, the default, all labels and folds are refitted in the same passes over the data
    (large problems: in groups); with a sparse penalty each fold has a path of its own.

    Parameters
    ----------
    Cs : int or array-like of shape (n_Cs,), default=10
        Inverse strengths of the penalty to try, > 0; they are sorted. ``np.inf`` is no penalty, as
        in `SigmoidRegression`. An integer asks for as many, evenly spaced in log C, from where no
        model is more than 1 % better than the null model to where the penalty hardly matters (1e-4
        to 1e4 where nothing is penalised); with a ratio above 0, from the largest C at which all
        that is penalised is zero to 1e4 times it, or 1e2 times where columns are more than rows.
    l1_ratios : array-like of shape (n_ratios,), default=(0.0,)
        The shares of the sparse part to try, from 0, the ridge, to 1, the lasso, as `l1_ratio` of
        `SigmoidRegression`. Each has its own values of C where `Cs` is an integer.
    l1_groups : None, "feature", array-like of shape (n_features,), dict or Series, default=None
        What leaves the model together where the ratio is above 0, as in `SigmoidRegression`.
    cv : int, "loo", splitter or iterable of (train, test), default=5
        The folds, as in `sklearn.model_selection.check_cv` (an integer: for labels consecutive
        rows, for one class a row stratified, without shuffling). "loo" leaves out each row, by one
        Newton step from the fit to all rows, or a refit where that does not reach (see
        `softreg.inference.loo`), and asks for Hessians that can be factored.
    scoring : str, callable or None, default="neg_log_loss"
        A scorer of `sklearn.metrics`, or ``scorer(estimator, X, y)``, which sees the fit without
        the fold, `coef_` and all; the larger, the better. None is "accuracy", as in
        `LogisticRegressionCV`. `score` returns its value, too, not the accuracy. With
        `per_label` it gets one label's 0 and 1, and weights, of the rows where it is known. Where a
        score does not exist, as where a label is constant, it is NaN, and C is chosen by the
        others, with a warning. "neg_log_loss" is minus the mean log loss of all known answers. With
        "loo" each row is scored, by "neg_log_loss" only.
    select : {"best", "1se"}, default="best"
        The fit of the best mean score (of equals the first ratio, then the smallest C), or, of
        those whose mean score is within one standard error of it, the one with the fewest features,
        then the smallest C.
    per_label : bool, default=False
        Whether each label has a C and l1_ratio of its own, chosen by its own scores; of three or
        more classes, one a row, each is a label against the rest.
    penalty_factor : array-like of shape (n_features,), dict or Series, default=None
        Factors >= 0 on each feature's penalty, as in `SigmoidRegression`.
    standardize : bool, default=False
        Whether the penalty is that of columns over their standard deviations, as in
        `SigmoidRegression`. Refits take the deviations in the rows that they learn from. Those in
        all rows are taken with "loo", and where fits are made in the span of the rows: dense X with
        more columns than rows, at most 2,000 rows and 256 MB.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    class_weight : dict {label: weight}, "balanced" or None, default=None
        Weights >= 0 of the labels in the fits, found from all rows, as in `SigmoidRegression`;
        scores do not count them.
    classes : array-like of shape (n_labels,), default=None
        The names of the labels, or the classes in the order of the rows of coefficients, also
        those without rows. None: the DataFrame's column names or 0, 1, ...; sorted classes.
    threshold : float or array-like, one for each row of `coef_`, default=0.5
        Where a label begins to be predicted, as in `SigmoidRegression`.
    tol : float, default=1e-9
        As in `SigmoidRegression`, for the fits to all rows. Refits end where F is estimated at most
        ``max(tol, 1e-9)`` (relative) above its least value, with a sparse penalty proven 1e-12,
        far below the noise of their scores.
    max_iter : int, default=None
        Most iterations at each C, >= 0; None is 10,000.
    n_jobs : int, default=None
        Threads, as in `SigmoidRegression`.
    verbose : int, default=0
        If positive, print the objective and the mean score at each C.

    Attributes
    ----------
    C_, l1_ratio_ : float, or ndarray of shape (n_labels,) with `per_label`
        Those chosen.
    Cs_ : ndarray of shape (n_Cs,), or (n_ratios, n_Cs) where ratios are several; ascending
    l1_ratios_ : ndarray of shape (n_ratios,)
    scores_ : ndarray of shape (n_folds, n_ratios, n_Cs), with `per_label` (..., n_labels)
        Score of each fold, with "loo" of each row; NaN where no answer (of a label) is known, or
        there is no score.
    mean_score_ : ndarray of shape (n_ratios, n_Cs), or (n_ratios, n_Cs, n_labels)
        Mean over the folds that have a score, all with the same weight; with "loo" over the known
        answers, with theirs.
    se_score_ : ndarray of shape (n_ratios, n_Cs), or (n_ratios, n_Cs, n_labels)
        Its standard error: the folds' standard deviation over the root of their number, NaN for
        one, where "1se" chooses the best.
    n_features_path_ : ndarray of shape (n_ratios, n_Cs), or (n_ratios, n_Cs, n_labels)
        The number of features with a coefficient that is not zero, for any label or for each.
    results_ : DataFrame, a row for each score
        Its columns are fold, l1_ratio, C, label with `per_label`, n_features and score.
    coef_path_ : ndarray of shape (n_ratios, n_Cs, n_labels, n_features), or (..., 1, n_features)
        Coefficients of the fits to all rows.
    intercept_path_ : ndarray of shape (n_ratios, n_Cs, n_labels), or (n_ratios, n_Cs, 1)
    coef_, intercept_, classes_, multilabel_, sparse_output_, n_features_in_, feature_names_in_
        As in `SigmoidRegression`, of the fit to all rows that was chosen.
    objective_, optimality_gap_, converged_, proven_
        Likewise.
    label_objective_, label_optimality_gap_, label_proven_
        Likewise.
    loss_curve_, n_samples_seen_, class_prior_
        Likewise; with `per_label` the curve is that of the largest C chosen.
    n_iter_ : ndarray of shape (n_ratios, n_Cs)
        Iterations of the fits to all rows, each from those at smaller C.

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
    ((5, 1, 3, 3), (3,))
    """

    def __init__(
        self,
        Cs: int | ArrayLike = 10,
        l1_ratios: ArrayLike = (0.0,),
        *,
        l1_groups: Any = None,
        cv: Any = 5,
        scoring: Any = "neg_log_loss",
        select: str = "best",
        per_label: bool = False,
        penalty_factor: Any = None,
        standardize: bool = False,
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
        self.l1_ratios = l1_ratios
        self.l1_groups = l1_groups
        self.cv = cv
        self.scoring = scoring
        self.select = select
        self.per_label = per_label
        self.penalty_factor = penalty_factor
        self.standardize = standardize
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.classes = classes
        self.threshold = threshold
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _has_C_per_label(self, encoding: Encoding) -> bool:
        per_label = validation.check_flag("per_label", self.per_label)
        return per_label and encoding.score_shape != ()  # two classes share one score
