"""Softmax regression: one class a row."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg._encoding.answers import Encoding
from softreg._encoding.class_values import has_columns
from softreg._encoding.classes import ClassEncoder
from softreg._estimators.base import LinearClassifier
from softreg._estimators.cv import CrossValidatedClassifier
from softreg._estimators.streams import StreamClassifier
from softreg._model.kernels import log_softmax_of_rows, softmax_of_rows
from softreg.solvers.base import Result, Solver


class SoftmaxModel(LinearClassifier, metaclass=ABCMeta):
    """A model of one class a row: probabilities are the softmax of the scores."""

    def _encoder(self, y: Any) -> ClassEncoder:
        by_columns = self.classes is None and has_columns(y)
        classes = getattr(y, "columns", None) if by_columns else self.classes
        smoothing = validation.check_label_smoothing(self.label_smoothing)
        return ClassEncoder(classes, self.class_weight, smoothing)

    def _predictions(self, scores: NDArray) -> NDArray:
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]

    def _class_probabilities(self, scores: NDArray) -> NDArray:
        return softmax_of_rows(scores)

    def _class_log_probabilities(self, scores: NDArray) -> NDArray:
        return log_softmax_of_rows(scores)

    def _attributes_by_problem(self, result: Result) -> dict[str, Any]:
        return {}


class SoftmaxRegression(SoftmaxModel, StreamClassifier):
    r"""Multinomial logistic regression that reaches the optimum, whatever the units of X.

    With scores :math:`z_i = W x_i + b + o_i`, minimises

    .. math::
        F(W, b) = \frac{1}{S} \sum_i s_i \Bigl(\log \sum_k e^{z_{ik}} - \sum_k y_{ik} z_{ik}\Bigr)
                  + \frac{1}{C S} \sum_j f_j \Bigl(\frac{1 - a}{2} \lVert W_{\cdot j} \rVert_2^2
                  + a \lVert W_{\cdot j} \rVert_1\Bigr),
        \qquad S = \sum_i s_i,

    where s is `sample_weight` times the weight of the row's class, a is `l1_ratio`, f is
    `penalty_factor` (with `standardize` the columns are those over their deviations), y are one-hot
    labels or class probabilities, and the intercept b is not penalised. It is the objective of
    ``sklearn.linear_model.LogisticRegression(C=C, l1_ratio=a)``, divided by C S: same parameters,
    same minimiser. Two classes are modelled by one row of coefficients, ``P(classes_[1]) =
    sigmoid(z)``. Units of columns do not affect convergence, as the solver works in standardised
    coordinates; without `standardize` they do affect what the penalty means.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty, > 0: the variance of a Gaussian prior on the coefficients.
        ``np.inf`` means no penalty. glmnet's lambda is ``1 / (C S)``.
    l1_ratio : float in [0, 1], default=0.0
        The share a of the sparse part: 0 is the ridge, 1 the lasso, between them the elastic net.
        Coefficients that the sparse part makes zero are exactly 0.0. Above 0, columns of different
        units ask for `standardize`.
    l1_groups : None, "feature", array-like of shape (n_features,), dict or Series, default=None
        What leaves the model together, where `l1_ratio` is above 0. None: each coefficient by
        itself. "feature": a feature, for all classes (glmnet's "grouped"). Labels, one for each
        column or by column name: features with the same label, for all classes, as the levels of a
        category. The penalty is the length of a group's coefficients, whatever their number:
        ``sum_g f_g ||W_g||`` in place of the sum of absolute values. A group has one
        `penalty_factor`.
    penalty_factor : array-like of shape (n_features,), dict or Series, default=None
        Factors >= 0 on each feature's penalty, both its parts; by column name it is 1 for those
        that are not named. 0 leaves a feature unpenalised. None is all ones.
    standardize : bool, default=False
        Whether the penalty is that of columns over their standard deviations, so that units change
        no prediction: a feature's ridge part is multiplied by its variance, its sparse part by its
        deviation, and coefficients stay in the units of X. Deviations are about the mean, also
        without an intercept, divide by the sum of the weights s, and count these; a constant column
        has no penalty.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    class_weight : dict {class: weight}, "balanced" or None, default=None
        Weights >= 0 of the classes, 1 where a dict names none; it may name classes that y lacks if
        it names all that y holds. "balanced" gives all classes that have any the same total weight,
        ``S`` divided by their number.
    label_smoothing : float in [0, 1), default=0.0
        The share e of smoothing: targets y are replaced by ``(1 - e) y + e / n_classes``.
    classes : array-like of shape (n_classes,), default=None
        The classes in the order of the columns of coefficients and probabilities, also of those
        that y lacks, as a fold may: their probability is next to 0. None: sorted labels; for class
        probabilities the DataFrame's column names, else 0, 1, ...
    solver : str or object of `softreg.solvers`, default="auto"
        "auto", "lbfgs", "newton", "proximal-newton" or "minibatch".
        "auto" takes `Newton` for small tables, whose Hessians are cheap, and for columns whose Gram
        matrix is too large to factor, else `LBFGS`; where `l1_ratio` is above 0, it takes
        `ProximalNewton`, the one that can. `MiniBatch` ends near the optimum, for data larger than
        memory.
        scikit-learn's "newton-cg", "newton-cholesky", "sag" and "saga" mean "auto", as "liblinear"
        does without an intercept, which it penalises; "lbfgs" is softreg's own.
    tol : float, default=1e-9
        The fit ends when F - F* is estimated at most ``tol * F`` and proven to be at most
        ``max(tol, 1e-8) * F``; the estimate alone decides where a feature has no penalty or
        rounding hides the proof, as `optimality_gap_` then says. At least 0. `MiniBatch` has its
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
    coef_ : ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
        In the units of X, float64 whatever X is. Three or more rows sum to zero where `l1_ratio`
        is 0.
    intercept_ : ndarray of shape (n_classes,), or (1,) for two classes
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), only for X with string column names
    n_iter_ : ndarray of shape (1,)
        Iterations of the solver (epochs of `MiniBatch`); after `partial_fit` the chunks.
    objective_ : float, only after `fit` and `fit_chunks`
        F at the solution.
    optimality_gap_ : float, only after `fit` and `fit_chunks`
        Proven bound: F is at most this much above the optimum; inf where nothing is proven, as
        where features without a penalty separate classes, or after `MiniBatch`.
    converged_ : bool, only after `fit` and `fit_chunks`
        Whether the optimum was reached, by the rule of `tol`; False after `MiniBatch`.
    proven_ : bool, only after `fit` and `fit_chunks`
        Whether the gap proves what `tol` asks for: it is at most ``max(tol, 1e-8)`` times F. Where
        it is not, `converged_` rests on an estimate.
    loss_curve_ : ndarray of shape (n_iter,)
        F after each iteration, where the start is far off first that of smoother losses, or, with
        `l1_ratio` above 0, of stronger penalties, which are no less; after `partial_fit` the mean
        loss of each chunk before it was learned from.
    validation_curve_ : ndarray of shape (n_iter,)
        Mean loss of rows held out, after each epoch; only after `MiniBatch` with early stopping.
    n_samples_seen_ : int
        Rows of the fit, or of the stream so far, that have weight.
    class_prior_ : ndarray of shape (n_classes,), only after `fit` and `fit_chunks`
        The share of each class in the targets, as they were weighted and smoothed: with an
        intercept, the weighted mean of `predict_proba` over the rows of the fit. It is what
        `softreg.calibration.prior_shift` starts from.
    solver_ : object of `softreg.solvers`
        The configuration that ran.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        From `fit` and `fit_chunks`, once, if `max_iter` or rounding ended the fit before the
        optimum, or if features without a penalty separate classes. A fit that a callback ended has
        ``converged_ = False`` and no warning.

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), "The Elements of Statistical Learning", 2nd edition,
    sections 4.4 and 18.3. Zou and Hastie (2005), "Regularization and variable selection via the
    elastic net", Journal of the Royal Statistical Society B 67, 301-320. Yuan and Lin (2006),
    "Model selection and estimation in regression with grouped variables", ibid. 68, 49-67.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> X, y = load_wine(return_X_y=True)  # raw columns: magnesium, proline, ...
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.converged_, model.coef_.shape
    (True, (3, 13))
    >>> model.proven_, bool(model.optimality_gap_ <= 1e-8 * model.objective_)
    (True, True)

    A lasso, as certified, which leaves columns out:

    >>> lasso = SoftmaxRegression(C=0.05, l1_ratio=1, l1_groups="feature", standardize=True)
    >>> bool((lasso.fit(X, y).coef_ == 0).all(axis=0).any()), lasso.proven_
    (True, True)
    """

    def __init__(
        self,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        *,
        l1_groups: Any = None,
        penalty_factor: Any = None,
        standardize: bool = False,
        fit_intercept: bool = True,
        class_weight: dict | str | None = None,
        label_smoothing: float = 0.0,
        classes: ArrayLike | None = None,
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
        self.label_smoothing = label_smoothing
        self.classes = classes
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


class SoftmaxRegressionCV(SoftmaxModel, CrossValidatedClassifier):
    r"""Multinomial logistic regression whose penalty is chosen by cross-validation.

    Fits the model of `SoftmaxRegression` at each C of a path, for each of `l1_ratios`, then refits
    it without each fold. The model that is chosen is that of its path; nothing is fitted again.
    With the ridge, the default, all folds are refitted in the same passes over the data (large
    problems: in groups), from the fit to all rows, whose metric is their preconditioner. With a
    sparse penalty each fold has a path of its own, as `regularization_path` has.

    Parameters
    ----------
    Cs : int or array-like of shape (n_Cs,), default=10
        Inverse strengths of the penalty to try, > 0; they are sorted. ``np.inf`` is no penalty, as
        in `SoftmaxRegression`. An integer asks for as many, evenly spaced in log C, from where no
        model is more than 1 % better than the null model to where the penalty hardly matters (1e-4
        to 1e4 where nothing is penalised); with a ratio above 0, from the largest C at which all
        that is penalised is zero to 1e4 times it, or 1e2 times where columns are more than rows.
    l1_ratios : array-like of shape (n_ratios,), default=(0.0,)
        The shares of the sparse part to try, from 0, the ridge, to 1, the lasso, as `l1_ratio` of
        `SoftmaxRegression`. Each has its own values of C where `Cs` is an integer.
    l1_groups : None, "feature", array-like of shape (n_features,), dict or Series, default=None
        What leaves the model together where the ratio is above 0, as in `SoftmaxRegression`.
    cv : int, "loo", splitter or iterable of (train, test), default=5
        The folds, as in `sklearn.model_selection.check_cv` (an integer: stratified by class,
        without shuffling; class probabilities: consecutive rows). "loo" leaves out each row, by one
        Newton step from the fit to all rows, or a refit where that does not reach (see
        `softreg.inference.loo`), and asks for a Hessian that can be factored.
    scoring : str, callable or None, default="neg_log_loss"
        A scorer of `sklearn.metrics`, or ``scorer(estimator, X, y)``, which sees the fit without
        the fold, `coef_` and all; the larger, the better. None is "accuracy", as in
        `LogisticRegressionCV`. `score` returns its value, too, not the accuracy.
        scikit-learn's metrics know all classes, also those that a fold lacks, and score class
        probabilities as rows of each class weighted by its share. Where a score does not exist it
        is NaN, and C is chosen by the others, with a warning. With "loo" each row is scored, by
        "neg_log_loss" only.
    select : {"best", "1se"}, default="best"
        The fit of the best mean score (of equals the first ratio, then the smallest C), or, of
        those whose mean score is within one standard error of it, the one with the fewest features,
        then the smallest C.
    penalty_factor : array-like of shape (n_features,), dict or Series, default=None
        Factors >= 0 on each feature's penalty, as in `SoftmaxRegression`.
    standardize : bool, default=False
        Whether the penalty is that of columns over their standard deviations, as in
        `SoftmaxRegression`. Refits take the deviations in the rows that they learn from. Those in
        all rows are taken with "loo", and where fits are made in the span of the rows: dense X with
        more columns than rows, at most 2,000 rows and 256 MB.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    class_weight : dict {class: weight}, "balanced" or None, default=None
        Weights >= 0 of the classes in the fits, as in `SoftmaxRegression`, found from all rows;
        scores do not count them.
    label_smoothing : float in [0, 1), default=0.0
        Replaces targets y by ``(1 - a) y + a / n_classes`` in the fits, not in the scores.
    classes : array-like of shape (n_classes,), default=None
        The classes in the order of the columns of coefficients and probabilities, also of those
        that y lacks, as a fold may: their probability is next to 0. None: sorted labels; for class
        probabilities the DataFrame's column names, else 0, 1, ...
    tol : float, default=1e-9
        As in `SoftmaxRegression`, for the fits to all rows. Refits end where F is estimated at most
        ``max(tol, 1e-9)`` (relative) above its least value, with a sparse penalty proven 1e-12,
        far below the noise of their scores.
    max_iter : int, default=None
        Most iterations at each C, >= 0; None is 10,000.
    n_jobs : int, default=None
        Threads, as in `SoftmaxRegression`.
    verbose : int, default=0
        If positive, print the objective and the mean score at each C.

    Attributes
    ----------
    C_, l1_ratio_ : float
        Those chosen.
    Cs_ : ndarray of shape (n_Cs,), or (n_ratios, n_Cs) where ratios are several; ascending
    l1_ratios_ : ndarray of shape (n_ratios,)
    scores_ : ndarray of shape (n_folds, n_ratios, n_Cs)
        Score of each fold, with "loo" of each row; NaN where there is none.
    mean_score_ : ndarray of shape (n_ratios, n_Cs)
        Mean over the folds that have a score, all with the same weight; with "loo" over the rows,
        with theirs.
    se_score_ : ndarray of shape (n_ratios, n_Cs)
        Its standard error: the folds' standard deviation over the root of their number, NaN for
        one.
    n_features_path_ : ndarray of shape (n_ratios, n_Cs)
        The number of features with a coefficient that is not zero.
    results_ : DataFrame with columns fold, l1_ratio, C, n_features and score, a row each
    coef_path_ : ndarray of shape (n_ratios, n_Cs, n_classes, n_features), or (..., 1, n_features)
        Coefficients of the fits to all rows.
    intercept_path_ : ndarray of shape (n_ratios, n_Cs, n_classes), or (n_ratios, n_Cs, 1)
    coef_, intercept_, classes_, class_prior_, n_features_in_, feature_names_in_, n_samples_seen_
        As in `SoftmaxRegression`, of the fit to all rows that was chosen.
    objective_, optimality_gap_, converged_, proven_, loss_curve_
        Likewise.
    n_iter_ : ndarray of shape (n_ratios, n_Cs)
        Iterations of the fits to all rows, each from those at smaller C.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        Once, if the optimum at some C was not reached or does not exist.

    Notes
    -----
    A class that a fold's other rows lack has, in all rows of that fold, Jeffreys' prior for a class
    not seen in rows of total weight S: the probability ``1/2 / (S + n_classes / 2)``; the others
    share the rest as the model says.

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
    ((10, 1, 3), 1.0)

    Lasso and elastic net, of which the simplest model is taken that is about as good as any:

    >>> search = SoftmaxRegressionCV(10, [0.5, 1], standardize=True, select="1se").fit(X, y)
    >>> search.Cs_.shape, bool((search.coef_ == 0).any()), search.proven_
    ((2, 10), True, True)
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
        penalty_factor: Any = None,
        standardize: bool = False,
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
        self.l1_ratios = l1_ratios
        self.l1_groups = l1_groups
        self.cv = cv
        self.scoring = scoring
        self.select = select
        self.penalty_factor = penalty_factor
        self.standardize = standardize
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.classes = classes
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _has_C_per_label(self, encoding: Encoding) -> bool:
        return False
