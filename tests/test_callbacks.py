"""scikit-learn's callbacks: seen at every iteration, able to stop the fit, never in the way."""

import warnings

import numpy as np
import pytest
from problems import overlapping
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController

from softreg import SigmoidRegression, SoftmaxRegression

callback = pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")

X, y = overlapping()
SOLVERS = pytest.mark.parametrize("solver", ["lbfgs", "newton", "proximal-newton"])


def options(solver):
    """A model that the solver fits: an elastic net if it can."""
    return {"solver": solver, "l1_ratio": 0.5 if solver == "proximal-newton" else 0.0}


class Recorder:
    """Notes every hook, with a copy of the model as of that moment; may stop or raise."""

    def __init__(self, stop_after=None, error=None):
        self.stop_after, self.error = stop_after, error
        self.hooks, self.starts, self.models = [], [], []

    def setup(self, estimator, context):
        self.hooks.append("setup")

    def teardown(self, estimator, context):
        self.hooks.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self.hooks.append("fit begins" if context.parent is None else "iteration begins")
        if context.parent is not None:
            self.starts.append(fitted_estimator)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.parent is None:
            self.hooks.append("fit ends")
            return False
        self.hooks.append("iteration ends")
        if fitted_estimator is None:  # an iteration that never ran
            return False
        self.models.append(fitted_estimator)
        if self.error:
            raise self.error
        return len(self.models) == self.stop_after


@SOLVERS
def test_every_iteration_is_a_task(solver):
    """setup, the fit begins, iterations begin and end, the fit ends, teardown: as in scikit-learn.

    There are n_iter_ iterations, and one that never ran.
    """
    ours, theirs = Recorder(), Recorder()
    model = SoftmaxRegression(**options(solver)).set_callbacks(ours).fit(X, y)
    LogisticRegression(max_iter=1000).set_callbacks(theirs).fit(X, y)
    for recorder in (ours, theirs):
        iterations = ["iteration begins", "iteration ends"] * (len(recorder.models) + 1)
        assert recorder.hooks == ["setup", "fit begins", *iterations, "fit ends", "teardown"]
    assert len(ours.models) == model.n_iter_


class Arguments:
    """Notes the arguments of the hooks that scikit-learn offers."""

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.begun.append((context.parent is None, X, y, metadata, fitted_estimator))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.ended.append((context.parent is None, X, y, metadata, fitted_estimator))


@pytest.mark.parametrize("weight", [None, np.linspace(1, 2, len(y))], ids=["plain", "weighted"])
def test_hooks_get_what_those_of_scikit_learn_get(weight):
    """X, y, the metadata and the model, or None, in the same hooks of the same tasks."""
    ours, theirs = Arguments(), Arguments()
    for model, arguments in [
        (SoftmaxRegression(solver="lbfgs"), ours),
        (LogisticRegression(max_iter=1000), theirs),
    ]:
        model.set_callbacks(arguments).fit(X, y, sample_weight=weight)
    for found, expected in [(ours.begun, theirs.begun), (ours.ended, theirs.ended)]:
        for place in (0, 1, -2, -1):
            is_fit, *arguments = found[place]
            is_fit_there, *arguments_there = expected[place]
            assert is_fit == is_fit_there
            assert [a is None for a in arguments] == [a is None for a in arguments_there]


@SOLVERS
def test_an_iteration_begins_with_the_model_that_the_one_before_ended_with(solver):
    """The first begins at class frequencies, where the fit starts."""
    recorder = Recorder()
    SoftmaxRegression(**options(solver)).set_callbacks(recorder).fit(X, y)
    frequencies = np.bincount(y) / len(y)
    np.testing.assert_allclose(recorder.starts[0].predict_proba(X[:1])[0], frequencies)
    for start, end in zip(recorder.starts[1:], recorder.models, strict=True):
        np.testing.assert_array_equal(start.coef_, end.coef_)
        np.testing.assert_array_equal(start.intercept_, end.intercept_)


@pytest.mark.parametrize("stopped_by", ["max_iter", "a callback"])
@pytest.mark.parametrize("n_iter", [1, 2, 3, 5])
@pytest.mark.parametrize("solver", ["lbfgs", "newton", "proximal-newton", "minibatch"])
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stopped_fit_is_the_model_after_its_last_iteration(
    kind, solver, n_iter, stopped_by, dtype
):
    """What the last callback saw, F at its coefficients, and the end of loss_curve_: one model."""
    X, y = load_iris(return_X_y=True)
    X = X.astype(dtype)
    by_callback = stopped_by == "a callback"
    recorder = Recorder(stop_after=n_iter if by_callback else None)
    parameters = {"max_iter": None if by_callback else n_iter, "tol": 0.0, "random_state": 0}
    model = kind(**options(solver), **parameters).set_callbacks(recorder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    assert model.n_iter_ == len(recorder.models) == n_iter
    np.testing.assert_array_equal(recorder.models[-1].coef_, model.coef_)
    np.testing.assert_array_equal(recorder.models[-1].intercept_, model.intercept_)
    if solver != "minibatch":  # which measures each epoch before it has ended
        rounding = 1e-5 if dtype == np.float32 else 1e-12
        assert model.loss_curve_[-1] == pytest.approx(model.objective_, rel=rounding)


@SOLVERS
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_iteration_has_a_model_that_predicts(dtype, K, solver):
    """fitted_estimator is usable at each iteration, improves, and ends as the fitted model."""
    X, y = overlapping(K=K)
    X = X.astype(dtype)
    recorder = Recorder()
    model = SoftmaxRegression(C=np.inf, **options(solver)).set_callbacks(recorder).fit(X, y)
    losses = [log_loss(y, stage.predict_proba(X)) for stage in recorder.models]
    assert losses[0] > losses[-1] == pytest.approx(model.objective_, rel=1e-6)
    for stage in recorder.models:
        assert stage.coef_.shape == model.coef_.shape and stage.coef_.dtype == np.float64
        assert set(stage.predict(X)) <= set(model.classes_)
    np.testing.assert_allclose(recorder.models[-1].coef_, model.coef_, rtol=1e-5, atol=1e-6)


@SOLVERS
def test_callbacks_only_look(solver):
    """The fit is the same to the last bit with and without a callback."""
    watched = SoftmaxRegression(**options(solver)).set_callbacks(Recorder()).fit(X, y)
    alone = SoftmaxRegression(**options(solver)).fit(X, y)
    np.testing.assert_array_equal(watched.coef_, alone.coef_)
    assert watched.n_iter_ == alone.n_iter_


@SOLVERS
def test_a_callback_that_returns_true_stops_the_fit(solver):
    """The fit ends after that iteration, usable, unconverged, and without a warning."""
    recorder = Recorder(stop_after=2)
    model = SoftmaxRegression(**options(solver), tol=1e-15).set_callbacks(recorder).fit(X, y)
    assert model.n_iter_ == len(recorder.models) == 2
    assert model.converged_ is False
    assert recorder.hooks[-2:] == ["fit ends", "teardown"]
    np.testing.assert_allclose(recorder.models[-1].coef_, model.coef_)


@SOLVERS
@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=repr)
def test_an_error_in_a_callback_leaves_everything_as_it_was(error, solver):
    """The error comes through, after teardown; BLAS threads and the fitted model are untouched."""
    blas = ThreadpoolController().select(user_api="blas")
    model = SoftmaxRegression(**options(solver)).fit(X, y)
    coef, threads = model.coef_, [library["num_threads"] for library in blas.info()]
    recorder = Recorder(error=error)
    with pytest.raises(type(error)):
        model.set_callbacks(recorder).fit(X[:90], y[:90])
    assert recorder.hooks.count("iteration ends") == 1 and recorder.hooks[-1] == "teardown"
    assert model.coef_ is coef
    assert [library["num_threads"] for library in blas.info()] == threads


def test_a_scoring_monitor_sees_the_data():
    """ScoringMonitor gets X and y at each iteration and logs the score of the model so far."""
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = SoftmaxRegression().set_callbacks(monitor).fit(X, y)
    scores = [
        row["neg_log_loss"] for row in monitor.get_logs().data if len(row["task_id_path"]) > 1
    ]
    assert len(scores) == model.n_iter_
    assert scores[-1] == pytest.approx(-log_loss(y, model.predict_proba(X)), rel=1e-6)


@pytest.mark.parametrize("max_iter", [None, 200])
def test_a_progress_bar_shows_the_fit(capsys, max_iter):
    """ProgressBar works whether or not the number of iterations is bounded in advance."""
    bar = callback.ProgressBar()
    model = SoftmaxRegression(max_iter=max_iter).set_callbacks(bar).fit(X, y)
    assert model.converged_
    assert "SoftmaxRegression" in capsys.readouterr().out


def test_callbacks_reach_the_estimator_inside_a_pipeline_in_a_search(capsys):
    """A ProgressBar on a grid search is handed down to SoftmaxRegression without a complaint."""
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    search = GridSearchCV(pipeline, {"softmaxregression__C": [0.1, 10.0]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, y)
    assert "SoftmaxRegression" in capsys.readouterr().out
