"""Pictures: what is drawn is what is stored, on axes and in legends that a reader can use."""

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softreg import SigmoidRegression, SoftmaxRegression, regularization_path
from softreg.display import (
    ClassRegionsDisplay,
    CoefficientDisplay,
    CoefficientPathDisplay,
    CVCurveDisplay,
    LossCurveDisplay,
    ProbabilityDisplay,
    ReliabilityDisplay,
    ThresholdDisplay,
)
from softreg.solvers import MiniBatch

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

CS = np.array([0.01, 0.1, 1.0, 10.0])
MEAN = np.array([-0.9, -0.33, -0.3, -0.4])
SE = np.array([0.1, 0.05, 0.04, 0.2])
LABELS = np.array(["blue", "dress", "jeans"])
PATH = np.random.default_rng(0).normal(size=(4, 3, 5))
X, Y = load_wine(return_X_y=True)


@pytest.fixture(autouse=True)
def closed():
    """No figure outlives its test."""
    yield
    plt.close("all")


def cv_estimator(**changes):
    """What a fitted SoftmaxRegressionCV holds, of arrays of its one ratio."""
    fitted = {"mean_score_": MEAN, "se_score_": SE, "coef_path_": PATH} | changes
    if "l1_ratios_" not in changes:
        of_ratio = {name: fitted[name][None] for name in ("mean_score_", "se_score_", "coef_path_")}
        fitted |= of_ratio | {"l1_ratios_": np.zeros(1), "l1_ratio_": 0.0}
    same = {"Cs_": CS, "classes_": LABELS, "scoring": "neg_log_loss", "C_": 0.1}
    is_in = fitted["coef_path_"] != 0
    counts = (is_in if fitted["mean_score_"].ndim > 2 else is_in.any(axis=2)).sum(axis=-1)
    return SimpleNamespace(**same | {"n_features_path_": counts} | fitted)


def path_result(**changes):
    """What `regularization_path` returns, of coefficients (n_Cs, n_rows, n_features)."""
    coef = changes.pop("coef", PATH)
    fields = {"Cs": CS, "coefficients": coef.reshape(-1, coef.shape[2]), "intercept": coef[..., 0]}
    fields |= {"classes": LABELS, "feature_names": np.array(list("abcde"))}
    return SimpleNamespace(**fields | changes)


def per_label(n=3):
    """A fitted SigmoidRegressionCV with a C for each label; label l peaks at C l of four."""
    rows = np.arange(n)
    mean = -np.abs(np.arange(4)[:, None] - rows % 4).astype(float)
    classes = np.array([f"label {row}" for row in rows])
    coef = np.ones((4, n, 5))
    return cv_estimator(
        mean_score_=mean, se_score_=np.full((4, n), 0.1), classes_=classes, coef_path_=coef
    )


def texts(legend):
    """The entries of a legend."""
    return [text.get_text() for text in legend.get_texts()]


def line(ax, label):
    """The one line of an Axes that has this label."""
    (found,) = [one for one in ax.get_lines() if one.get_label() == label]
    return found


def without_matplotlib(monkeypatch):
    """Make `import matplotlib` fail."""
    for name in ["matplotlib", *(name for name in sys.modules if name.startswith("matplotlib."))]:
        monkeypatch.setitem(sys.modules, name, None)


# Scores against C


def test_the_curve_is_the_mean_loss_on_a_log_axis():
    """The first line holds the loss that was negated, on a logarithmic x axis; all is named."""
    display = CVCurveDisplay.from_estimator(cv_estimator())
    drawn = display.ax_.get_lines()[0]
    np.testing.assert_array_equal(drawn.get_xdata(), CS)
    np.testing.assert_array_equal(drawn.get_ydata(), -MEAN)
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel().startswith("C ")
    assert display.ax_.get_ylabel() == "Held-out log loss (nats)\nmean ± 1 s.e."
    assert display.figure_.get_suptitle() == "Held-out log loss against C\n(lower is better)"
    assert display.figure_ is display.ax_.figure


def test_the_band_is_one_standard_error_to_either_side():
    """The filled area reaches from mean - s.e. to mean + s.e. at every C."""
    (band,) = CVCurveDisplay.from_estimator(cv_estimator()).ax_.collections
    vertices = band.get_paths()[0].vertices
    for C, mean, se in zip(CS, -MEAN, SE, strict=True):
        heights = vertices[vertices[:, 0] == C, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [mean - se, mean + se])


def test_the_legend_states_both_choices():
    """By hand: the best is -0.3 at C = 1; -0.33 at C = 0.1 is within its s.e. 0.04, -0.9 is not."""
    display = CVCurveDisplay.from_estimator(cv_estimator())
    assert (display.best_C, display.one_se_C) == (1.0, 0.1)
    assert texts(display.ax_.get_legend()) == ["best: C = 1", "1 s.e. rule: C = 0.1"]
    assert list(line(display.ax_, "best: C = 1").get_xdata()) == [1.0, 1.0]
    assert list(line(display.ax_, "1 s.e. rule: C = 0.1").get_xdata()) == [0.1, 0.1]


@pytest.mark.parametrize(
    ("mean", "se", "best", "one_se"),
    [
        ([1, 3, 3, 2], [0, 0, 0, 0], 0.1, 0.1),  # Equals: the smallest C.
        ([1, 2, 3, 4], [9, 9, 9, 1], 10, 1),  # The best's own s.e., its bound included.
        ([3.5, 1, 3, 4], [0, 0, 0, 0.5], 10, 0.01),  # The smallest, not the next.
        ([np.nan, 2, 1, 0], [np.nan, 3, 0, 0], 0.1, 0.1),  # No score there.
    ],
)
def test_the_one_standard_error_choice_is_the_smallest_C_near_the_best(mean, se, best, one_se):
    """It is the smallest C whose mean is at least the best mean minus the s.e. of the best."""
    display = CVCurveDisplay(Cs=CS, mean_score=mean, se_score=se)
    assert (display.best_C, display.one_se_C) == (best, one_se)


def test_without_standard_errors_there_is_neither_band_nor_second_choice():
    """One fold has NaN for them: the curve and the best C remain."""
    display = CVCurveDisplay.from_estimator(cv_estimator(se_score_=np.full(4, np.nan)))
    assert len(display.ax_.collections) == 0
    assert texts(display.ax_.get_legend()) == ["best: C = 1"]
    assert np.isnan(display.one_se_C)
    assert "s.e." not in display.ax_.get_ylabel()


def test_without_any_score_there_is_an_empty_picture():
    """Where all means are NaN nothing is chosen, and nothing crashes."""
    nothing = np.full(4, np.nan)
    display = CVCurveDisplay.from_estimator(cv_estimator(mean_score_=nothing, se_score_=nothing))
    assert np.isnan(display.best_C)
    assert display.ax_.get_legend() is None


def test_each_label_with_a_C_of_its_own_has_a_panel():
    """The panel of a label shows its scores, its name and its choices."""
    estimator = per_label()
    display = CVCurveDisplay.from_estimator(estimator)
    assert len(display.axes_) == 3
    for row, ax in enumerate(display.axes_):
        drawn = ax.get_lines()[0].get_ydata()
        np.testing.assert_array_equal(drawn, -estimator.mean_score_[0, :, row])
        assert ax.get_legend().get_title().get_text() == f"label {row}"
        assert texts(ax.get_legend())[0] == f"best: C = {CS[row]:g}"
    np.testing.assert_array_equal(display.best_C, CS[:3])
    display = CVCurveDisplay(Cs=CS, mean_score=PATH[..., 0], se_score=PATH[..., 0] ** 2).plot()
    titles = [ax.get_legend().get_title().get_text() for ax in display.axes_]
    assert titles == ["class 0", "class 1", "class 2"]


def test_a_page_shows_twelve_labels_and_says_so_or_those_that_are_named():
    """More than twelve are not drawn unasked, which the title says; `classes` names others."""
    estimator = per_label(20)
    display = CVCurveDisplay.from_estimator(estimator)
    assert len(display.axes_) == 12
    assert "the first 12 of 20 classes" in display.figure_.get_suptitle()
    display = CVCurveDisplay.from_estimator(estimator, classes=["label 15", "label 3"])
    titles = [ax.get_legend().get_title().get_text() for ax in display.axes_]
    assert titles == ["label 15", "label 3"]
    assert "first" not in display.figure_.get_suptitle()


@pytest.mark.parametrize(
    ("scoring", "name", "better"),
    [
        ("accuracy", "Held-out accuracy", "higher"),
        ("neg_brier_score", "Held-out brier score", "lower"),
        (len, "Held-out score", "higher"),
        (None, "Held-out accuracy", "higher"),
    ],
)
def test_the_axis_names_the_score_and_which_way_is_better(scoring, name, better):
    """A scorer's name reads as words, what it negates is drawn positive, a callable is a score."""
    display = CVCurveDisplay.from_estimator(cv_estimator(scoring=scoring))
    assert display.ax_.get_ylabel().split("\n")[0] == name
    assert display.figure_.get_suptitle() == f"{name} against C\n({better} is better)"
    best = display.ax_.get_lines()[0].get_ydata()[display.best_C == CS]
    assert best == (0.3 if better == "lower" else -0.3)


def test_two_choices_that_coincide_are_both_seen():
    """The solid line of the best C is broader than the dashed one of the rule, and below it."""
    display = CVCurveDisplay(Cs=CS, mean_score=[-9, -5, -3, -4], se_score=SE).plot()
    best, rule = (line(display.ax_, f"{name}: C = 1") for name in ("best", "1 s.e. rule"))
    drawn = display.ax_.get_children()
    assert drawn.index(best) < drawn.index(rule) and best.get_zorder() <= rule.get_zorder()
    assert best.get_linewidth() > 2 * rule.get_linewidth()
    assert (best.get_linestyle(), rule.get_linestyle()) == ("-", "--")


RATIOS = {
    "Cs_": CS * np.array([[10], [2], [1]]),
    "l1_ratios_": np.array([0, 0.5, 1]),
    "mean_score_": np.array([[-9, -5, -4, -4.5], [-9, -3.5, -3, -4], [-8, -4, -3.2, -3.1]]),
    "se_score_": np.full((3, 4), 0.5),
    "l1_ratio_": 0.5,
}


def sparse_cv_estimator(**changes):
    """What a fitted CV estimator of three ratios holds, with 5 features at most.

    Of the ridge all are in, of the others [0, 2, 3, 5] and [1, 1, 1, 4].
    """
    coef = np.random.default_rng(4).normal(size=(3, 4, 3, 5))
    for r, counts in ((1, [0, 2, 3, 5]), (2, [1, 1, 1, 4])):
        for i, count in enumerate(counts):
            coef[r, i, :, count:] = 0
    return cv_estimator(coef_path_=coef, **RATIOS | changes)


def test_each_ratio_has_a_curve_at_its_own_C():
    """And an entry in the legend; both choices name their ratio and have its colour."""
    display = CVCurveDisplay.from_estimator(sparse_cv_estimator())
    assert (display.best_C, display.best_l1_ratio) == (2.0, 0.5)
    assert (display.one_se_C, display.one_se_l1_ratio) == (1.0, 1.0)  # One feature for two.
    names = ["l1_ratio = 0", "l1_ratio = 0.5", "l1_ratio = 1"]
    assert texts(display.figure_.legends[0]) == names
    for r, name in enumerate(names):
        np.testing.assert_array_equal(line(display.ax_, name).get_xdata(), RATIOS["Cs_"][r])
        np.testing.assert_array_equal(
            line(display.ax_, name).get_ydata(), -RATIOS["mean_score_"][r]
        )
    chosen = ["best: C = 2, ratio 0.5", "1 s.e. rule: C = 1, ratio 1"]
    assert texts(display.ax_.get_legend()) == chosen
    for mark, name in zip(chosen, names[1:], strict=True):
        assert line(display.ax_, mark).get_color() == line(display.ax_, name).get_color()
    assert len({line(display.ax_, name).get_color() for name in names}) == 3
    (band,) = display.ax_.collections
    assert set(band.get_paths()[0].vertices[:, 0]) == set(RATIOS["Cs_"][1])


@pytest.mark.parametrize(
    ("counts", "C", "l1_ratio"),
    [
        ([[5, 5, 5, 5], [0, 2, 3, 5], [1, 1, 1, 4]], 1.0, 1.0),  # The fewest, of a worse ratio.
        ([[5, 5, 5, 5], [0, 3, 3, 5], [1, 2, 3, 3]], 0.2, 0.5),  # Of equals the smallest C.
        ([[5, 5, 5, 5], [0, 3, 1, 5], [1, 2, 3, 3]], 2.0, 0.5),  # The larger C has fewer.
        (None, 0.2, 0.5),  # Without counts C alone decides.
    ],
)
def test_the_one_standard_error_choice_has_the_fewest_features(counts, C, l1_ratio):
    """By hand: the best is -3, so that those of -3.5, -3.2 and -3.1 are within its s.e. of 0.5."""
    arrays = {name.removesuffix("_"): RATIOS[name] for name in RATIOS if name != "l1_ratio_"}
    display = CVCurveDisplay(**arrays, n_features=counts)
    assert (display.best_C, display.best_l1_ratio) == (2.0, 0.5)
    assert (display.one_se_C, display.one_se_l1_ratio) == (C, l1_ratio)


def test_an_upper_axis_counts_the_features_of_the_best_ratio():
    """Those with a coefficient of any class; of a ridge, which has all, there is none."""
    display = CVCurveDisplay.from_estimator(sparse_cv_estimator())
    (upper,) = display.ax_.child_axes
    assert upper.get_xlabel() == "features in, l1_ratio = 0.5"
    np.testing.assert_array_equal(upper.get_xticks(), RATIOS["Cs_"][1])
    assert [text.get_text() for text in upper.get_xticklabels()] == ["0", "2", "3", "5"]
    ridge = -np.abs(RATIOS["mean_score_"][::-1])
    ridge[0] += 3
    display = CVCurveDisplay.from_estimator(sparse_cv_estimator(mean_score_=ridge))
    assert display.best_l1_ratio == 0 and not display.ax_.child_axes
    only = sparse_cv_estimator().coef_path_[1]
    display = CVCurveDisplay.from_estimator(cv_estimator(coef_path_=only))
    assert display.ax_.child_axes[0].get_xlabel() == "features in"
    assert texts(display.ax_.get_legend())[0] == "best: C = 1"


def test_labels_choose_ratios_of_their_own():
    """A label's features are those with a coefficient of its own; so are its path's."""
    mean = np.stack([RATIOS["mean_score_"], RATIOS["mean_score_"][::-1]], axis=-1)
    coef = sparse_cv_estimator().coef_path_[:, :, :2].copy()
    coef[2, :, 1] = 0
    changes = {"coef_path_": coef, "classes_": np.array(["a", "b"]), "mean_score_": mean}
    chosen = {"C_": np.array([2.0, 0.5]), "l1_ratio_": np.array([0.5, 1.0])}
    estimator = cv_estimator(**RATIOS | changes | chosen | {"se_score_": np.full(mean.shape, 0.3)})
    scores = CVCurveDisplay.from_estimator(estimator)
    np.testing.assert_array_equal(scores.best_l1_ratio, [0.5, 0.5])
    np.testing.assert_array_equal(scores.n_features[2], [[1, 0], [1, 0], [1, 0], [4, 0]])
    assert texts(scores.axes_[0].get_legend())[0] == "best: C = 2, ratio 0.5"
    assert len(scores.figure_.legends) == 1
    paths = CoefficientPathDisplay.from_estimator(estimator)
    np.testing.assert_array_equal(paths.Cs, RATIOS["Cs_"][1:])
    np.testing.assert_array_equal(paths.coef_path[:, 0], coef[1, :, 0])
    np.testing.assert_array_equal(paths.coef_path[:, 1], coef[2, :, 1])


def test_the_path_of_the_chosen_ratio_is_drawn():
    """At its own C, also where one array serves all ratios."""
    estimator = sparse_cv_estimator(C_=2.0)
    display = CoefficientPathDisplay.from_estimator(estimator)
    np.testing.assert_array_equal(display.coef_path, estimator.coef_path_[1])
    np.testing.assert_array_equal(line(display.axes_[2], "x1").get_xdata(), RATIOS["Cs_"][1])
    display = CoefficientPathDisplay.from_estimator(sparse_cv_estimator(Cs_=CS, l1_ratio_=1.0))
    np.testing.assert_array_equal(display.coef_path, estimator.coef_path_[2])
    np.testing.assert_array_equal(line(display.axes_[2], "x0").get_xdata(), CS)


@pytest.mark.parametrize("size", [(3, 3), (12, 5)])
def test_the_legend_of_scores_stands_above_the_upper_axis(size):
    """On the user's Axes it names the ratios too; it covers neither the counts nor their name."""
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    CVCurveDisplay.from_estimator(sparse_cv_estimator(), ax=ax)
    figure.draw_without_rendering()
    assert len(texts(ax.get_legend())) == 5 and not figure.legends
    assert ax.get_legend().get_window_extent().y0 >= ax.child_axes[0].get_tightbbox().y1


@pytest.mark.parametrize("size", [(3, 2.4), (12, 4)])
def test_legends_hide_nothing_of_a_curve(size):
    """However narrow the Axes: a legend of scores or losses stands outside them."""
    solver = MiniBatch(n_epochs=3, early_stopping=True)
    stopped = SoftmaxRegression(solver=solver, random_state=0).fit(X, Y)
    figure, axes = plt.subplots(1, 4, figsize=(4 * size[0], size[1]), layout="constrained")
    CVCurveDisplay.from_estimator(cv_estimator(), ax=axes[0])
    LossCurveDisplay(loss_curve=[3, 2, 1], objective=1).plot(axes[1])
    LossCurveDisplay.from_estimator(stopped, ax=axes[2:])
    figure.draw_without_rendering()
    for ax in axes:
        assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


# Coefficients against C


@pytest.mark.parametrize("scale", [None, np.array([1, 2, 3, 4, 50.0])])
def test_each_class_has_a_panel_and_each_feature_a_named_line(scale):
    """The line of a feature is its coefficient in that class, times the scale if there is one."""
    display = CoefficientPathDisplay.from_path(path_result(), scale=scale)
    assert [ax.get_title() for ax in display.axes_] == list(LABELS)
    for row, ax in enumerate(display.axes_):
        assert ax.get_xscale() == "log"
        for j, name in enumerate("abcde"):
            expected = PATH[:, row, j] * (1 if scale is None else scale[j])
            np.testing.assert_array_equal(line(ax, name).get_ydata(), expected)
            np.testing.assert_array_equal(line(ax, name).get_xdata(), CS)
    unit = "unit" if scale is None else "s.d."
    assert display.figure_.get_supylabel() == f"Coefficient per {unit}\nof the feature"
    assert display.figure_.get_suptitle() == "Coefficients against C"


def test_no_named_feature_has_the_colour_of_those_without_names():
    """Of forty colours and styles none is a grey, which is a colour of three equal parts."""
    coef = np.random.default_rng(3).normal(size=(4, 1, 41))
    display = CoefficientPathDisplay(Cs=CS, coef_path=coef, classes=["a"]).plot(top=40)
    lines = display.figure_.legends[0].get_lines()
    grey = [len({*matplotlib.colors.to_rgb(one.get_color())}) == 1 for one in lines]
    assert grey == [False] * 40 + [True]


def test_the_chosen_C_is_marked_in_every_panel():
    """A line at C_, or at each label's C, with an entry in the legend; a path has none."""
    display = CoefficientPathDisplay.from_estimator(cv_estimator())
    assert texts(display.figure_.legends[0])[-1] == "chosen: C = 0.1"
    for ax in display.axes_:
        assert list(line(ax, "chosen: C = 0.1").get_xdata()) == [0.1, 0.1]
    display = CoefficientPathDisplay.from_estimator(cv_estimator(C_=CS[[2, 0, 1]]), classes="jeans")
    assert list(line(display.axes_[0], "chosen: C = 0.1").get_xdata()) == [0.1, 0.1]
    display.plot()
    for ax, C in zip(display.axes_, CS[[2, 0, 1]], strict=True):
        assert list(line(ax, "C chosen for the label").get_xdata()) == [C, C]
    display = CoefficientPathDisplay.from_path(path_result())
    assert not any("chosen" in entry for entry in texts(display.figure_.legends[0]))


def test_only_the_largest_features_are_named_the_largest_first():
    """`top` of them by absolute value anywhere, times the scale; the rest is grey."""
    coef = np.zeros((4, 3, 5))
    coef[1, 2] = [1, -5, 3, 0.1, 2]
    display = CoefficientPathDisplay.from_path(path_result(coef=coef), top=2)
    (legend,) = display.figure_.legends
    assert texts(legend) == ["b", "c", "3 other features"]
    grey = [one.get_ydata() for one in display.axes_[2].get_lines() if one.get_color() == "0.75"]
    np.testing.assert_array_equal(grey, [[0, v, 0, np.nan] for v in (2, 1, 0.1)])
    display = CoefficientPathDisplay.from_path(
        path_result(coef=coef), top=2, scale=[1, 0.1, 1, 90, 1]
    )
    assert texts(display.figure_.legends[0])[:2] == ["d", "c"]


def test_a_legend_takes_no_space_for_others_that_there_are_not():
    """Where all features are named the figure is narrower than with "4 other features" beside."""
    display = CoefficientPathDisplay(**PATHS).plot()
    width = display.figure_.get_figwidth()
    assert display.plot(top=1).figure_.get_figwidth() > width


def test_thousands_of_features_without_names_are_drawn_as_the_range_they_fill():
    """Of more than 500 grey lines a band reaches from the least to the largest at each C."""
    coef = np.random.default_rng(2).normal(size=(4, 1, 600))
    display = CoefficientPathDisplay(Cs=CS, coef_path=coef, classes=["a"]).plot(top=0)
    assert texts(display.figure_.legends[0]) == ["range of 600 other features"]
    vertices = display.axes_[0].collections[0].get_paths()[0].vertices
    for C, values in zip(CS, coef, strict=True):
        heights = vertices[vertices[:, 0] == C, 1]
        assert (heights.min(), heights.max()) == (values.min(), values.max())


@pytest.mark.parametrize(("top", "entries"), [(0, 1), (4, 5), (5, 5), (99, 5)])
def test_top_may_be_none_or_more_than_all(top, entries):
    """Nothing is named with 0, and all features with more than there are."""
    display = CoefficientPathDisplay.from_path(path_result(), top=top)
    assert len(texts(display.figure_.legends[0])) == entries


def test_two_classes_are_one_panel_that_names_both():
    """The one row is the second class against the first."""
    display = CoefficientPathDisplay.from_path(
        path_result(coef=PATH[:, :1], classes=np.array(["no", "yes"]))
    )
    assert [ax.get_title() for ax in display.axes_] == ["yes against no"]


def test_features_without_names_and_classes_without_words_are_readable():
    """Columns are x0, x1, ..., and a class that is a number is called a class."""
    display = CoefficientPathDisplay.from_estimator(cv_estimator(classes_=np.arange(3)), top=1)
    assert [ax.get_title() for ax in display.axes_] == ["class 0", "class 1", "class 2"]
    assert texts(display.figure_.legends[0])[0] in {"x0", "x1", "x2", "x3", "x4"}


def test_feature_names_of_the_estimator_are_used():
    """`feature_names_in_` is there if X had column names; long ones take several lines."""
    names = np.array(["age", "income", "_id", "price in $ or $$", "n" * 60], dtype=object)
    display = CoefficientPathDisplay.from_estimator(cv_estimator(feature_names_in_=names))
    shown = set(texts(display.figure_.legends[0]))
    named = {"age", "income", " _id", r"price in \$ or \$\$", "n" * 40 + "\n" + "n" * 20}
    assert shown == named | {"chosen: C = 0.1"}


def test_a_grid_has_no_empty_panels_and_labels_below_every_column():
    """Five classes in a grid of six: the sixth is hidden, the panel above it has its own ticks."""
    classes = np.array(list("vwxyz"))
    coef = np.random.default_rng(1).normal(size=(4, 5, 2))
    display = CoefficientPathDisplay(Cs=CS, coef_path=coef, classes=classes).plot()
    assert [ax.get_visible() for ax in display.figure_.axes] == [True] * 5 + [False]
    display.figure_.canvas.draw()
    shown = [any(t.label1.get_visible() for t in a.xaxis.get_major_ticks()) for a in display.axes_]
    assert shown == [False, False, True, True, True]


def test_one_C_is_drawn_as_points():
    """A line through one point would not be seen."""
    display = CoefficientPathDisplay(Cs=[1], coef_path=PATH[:1], classes=LABELS).plot()
    assert line(display.axes_[0], "x0").get_marker() == "."


def test_the_path_of_real_fits_with_labels():
    """Labels are classes of their own: as many panels, and `classes` picks one."""
    targets = np.column_stack([Y == 0, X[:, 0] > 13]).astype(float)
    fits = [SigmoidRegression(C=C).fit(X, targets) for C in CS]
    path = np.array([fit.coef_ for fit in fits])
    display = CoefficientPathDisplay(
        Cs=CS, coef_path=path, classes=["first", "strong"], scale=X.std(axis=0)
    ).plot(classes="strong")
    (ax,) = display.axes_
    assert ax.get_title() == "strong"
    assert texts(display.figure_.legends[0])[-1] == "5 other features"


def test_the_features_that_enter_first_are_named_first():
    """By the least C at which a class that is drawn has a coefficient; those that never do, not."""
    coef = np.zeros((4, 3, 5))
    coef[3:, 0, 0], coef[2:, 1, 2], coef[1:, 2, 4], coef[2:, 2, 3] = 9, 0.1, 0.2, 3
    display = CoefficientPathDisplay(Cs=CS, coef_path=coef, classes=LABELS).plot()
    assert texts(display.figure_.legends[0]) == ["x4", "x3", "x2", "x0"]
    display.plot(top=2)
    assert texts(display.figure_.legends[0]) == ["x4", "x3", "2 other features"]
    assert texts(display.plot(classes="dress").figure_.legends[0]) == ["x2"]
    display = CoefficientPathDisplay.from_path(path_result(coef=coef), scale=[1, 1, 80, 1, 1])
    assert texts(display.figure_.legends[0]) == ["e", "c", "d", "a"]
    assert display.coef_path.shape == (4, 3, 4)


def test_features_of_arrays_may_be_given_names():
    """Those of all columns, such as words, of which a path keeps those that have a coefficient."""
    coef = PATH * [1, 0, 1, 0, 1]
    words = ["ham", "and", "eggs", "or", "tea"]
    for display in (
        CoefficientPathDisplay.from_path(path_result(coef=coef), feature_names=words),
        CoefficientPathDisplay.from_estimator(cv_estimator(coef_path_=coef), feature_names=words),
    ):
        shown = {name for name in texts(display.figure_.legends[0]) if "chosen" not in name}
        assert shown == {"ham", "eggs", "tea"}
        np.testing.assert_array_equal(line(display.axes_[1], "eggs").get_ydata(), coef[:, 1, 2])
    with pytest.raises(ValueError, match=r"feature_names must have shape \(5,\), a name each; got"):
        CoefficientPathDisplay.from_path(path_result(coef=coef), feature_names=words[:3])
    with pytest.raises(ValueError, match=r"scale must have shape \(5,\); got"):
        CoefficientPathDisplay.from_path(path_result(coef=coef), scale=[1, 2, 3])


def test_a_line_begins_and_ends_where_its_feature_does():
    """At the zero before the first coefficient and at the one behind the last; none elsewhere."""
    coef = np.array([0, 0, 1, 2, 0, 0, 0, 3.0])[:, None, None]
    Cs = np.logspace(-3, 4, 8)
    display = CoefficientPathDisplay(Cs=Cs, coef_path=coef, classes=["a"]).plot()
    expected = [np.nan, 0, 1, 2, 0, np.nan, 0, 3]
    np.testing.assert_array_equal(line(display.axes_[0], "x0").get_ydata(), expected)
    named_none = display.plot(top=0).axes_[0].get_lines()[-1]
    np.testing.assert_array_equal(named_none.get_ydata(), expected)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_a_path_without_any_coefficient_is_a_line_at_zero(container):
    """Below the largest C of no use there is nothing to name, and nothing crashes."""
    path = path_result(coefficients=container(np.zeros((12, 5))))
    for display in (
        CoefficientPathDisplay.from_path(path),
        CoefficientPathDisplay(Cs=CS, coef_path=0 * PATH, classes=LABELS).plot(),
    ):
        display.figure_.draw_without_rendering()
        assert not display.figure_.legends
        for ax in display.axes_:
            (zero,) = ax.get_lines()
            np.testing.assert_array_equal(zero.get_data(), [CS, np.zeros(4)])
            assert ax.get_xlim()[0] < CS[0] and ax.get_xlim()[1] > CS[-1]


def test_rows_may_have_grids_of_their_own():
    """As labels whose C were chosen of different ratios: each panel has its own."""
    Cs = CS * np.array([[1], [10], [1]])
    display = CoefficientPathDisplay(Cs=Cs, coef_path=PATH, classes=LABELS, chosen_C=[1, 10, 0.1])
    for ax, grid, C in zip(display.plot().axes_, Cs, (1, 10, 0.1), strict=True):
        np.testing.assert_array_equal(line(ax, "x0").get_xdata(), grid)
        assert list(line(ax, "C chosen for the label").get_xdata()) == [C, C]


def test_the_path_of_a_lasso_counts_what_is_not_zero_above_each_panel():
    """The first strength of its grid leaves nothing; the upper axis ends with the last count."""
    lasso = SoftmaxRegression(l1_ratio=1, standardize=True)
    path = regularization_path(X, Y, 12, estimator=lasso)
    display = CoefficientPathDisplay.from_path(path, chosen_C=path.Cs[7])
    chosen = f"chosen: C = {path.Cs[7]:.3g}"
    assert texts(display.figure_.legends[0])[-1] == chosen
    for row, ax in enumerate(display.axes_):
        (upper,) = ax.child_axes
        assert upper.get_xlabel() == "features in" and line(ax, chosen).get_xdata()[0] == path.Cs[7]
        counts = np.count_nonzero(path.coef[:, row], axis=1)
        ticks = dict(
            zip(upper.get_xticks(), (t.get_text() for t in upper.get_xticklabels()), strict=True)
        )
        assert ticks == {path.Cs[i]: str(counts[i]) for i in np.searchsorted(path.Cs, list(ticks))}
        assert list(ticks.values())[0] == "0" and list(ticks)[-1] == path.Cs[-1]


def test_a_class_without_features_has_an_upper_axis_of_zeros_beside_the_others():
    """If the features that are in change in any class, all panels say how many they are."""
    coef = np.zeros((4, 3, 5))
    coef[2:, 1, 0] = 1
    display = CoefficientPathDisplay(Cs=CS, coef_path=coef, classes=LABELS).plot()
    counts = [[t.get_text() for t in a.child_axes[0].get_xticklabels()] for a in display.axes_]
    assert counts == [list("0000"), list("0011"), list("0000")]


def test_a_path_without_zeros_has_no_upper_axis():
    """Ridge coefficients are not zero, and there is nothing to count."""
    assert not CoefficientPathDisplay.from_path(path_result()).axes_[0].child_axes


# The loss


@pytest.mark.parametrize("solver", ["lbfgs", "newton", MiniBatch(n_epochs=3)])
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_the_loss_of_a_fit_is_drawn_from_its_first_iteration_on(kind, solver):
    """x is 1, 2, ..., n_iter_; y is `loss_curve_`; a line states F at the solution."""
    model = kind(solver=solver, random_state=0).fit(X, Y)
    display = LossCurveDisplay.from_estimator(model)
    curve, solution = display.ax_.get_lines()
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(1, model.n_iter_[0] + 1))
    np.testing.assert_array_equal(curve.get_ydata(), model.loss_curve_)
    assert set(solution.get_ydata()) == {model.objective_}
    assert f"{model.objective_:.4g}" in texts(display.ax_.get_legend())[1]
    assert display.ax_.get_ylabel() == "Loss (nats per row)"
    assert display.ax_.get_xlabel() == ("Iteration" if isinstance(solver, str) else "Epoch")


def test_the_loss_of_rows_held_out_has_a_panel_of_its_own():
    """It has no penalty as F has; F of all rows, at the solution, is in neither panel."""
    solver = MiniBatch(n_epochs=5, early_stopping=True, validation_fraction=0.2)
    model = SoftmaxRegression(solver=solver, random_state=0).fit(X, Y)
    display = LossCurveDisplay.from_estimator(model)
    for ax, curve in zip(display.axes_, (model.loss_curve_, model.validation_curve_), strict=True):
        drawn, least = ax.get_lines()
        np.testing.assert_array_equal(drawn.get_ydata(), curve)
        assert set(least.get_xdata()) == {1 + int(np.argmin(model.validation_curve_))}
    assert texts(display.axes_[0].get_legend())[0].endswith("mean loss + penalty")
    assert texts(display.axes_[1].get_legend())[0] == "rows held out:\nmean loss"
    with pytest.raises(ValueError, match="objective of the same rows"):
        LossCurveDisplay.from_estimator(model, above_solution=True)


def test_the_axis_reaches_from_the_loss_of_class_frequencies():
    """Of wine 59, 71 and 48 rows: the line at their entropy is inside the axis of every panel."""
    shares = np.array([59, 71, 48]) / 178
    entropy = -(shares * np.log(shares)).sum()
    solver = MiniBatch(n_epochs=3, early_stopping=True)
    for model in (SoftmaxRegression(), SoftmaxRegression(solver=solver, random_state=0)):
        display = LossCurveDisplay.from_estimator(model.fit(X, Y), null_loss=entropy)
        for ax in display.axes_:
            null = line(ax, f"class frequencies alone: {entropy:.4g}")
            assert set(null.get_ydata()) == {entropy} and ax.get_ylim()[1] > entropy


def test_a_stream_has_chunks_and_no_solution():
    """After `partial_fit` the values are the chunks' losses, and no line pretends an optimum."""
    model = SoftmaxRegression(random_state=0)
    for start in range(3):
        model.partial_fit(X[start::3], Y[start::3], classes=[0, 1, 2])
    display = LossCurveDisplay.from_estimator(model)
    (curve,) = display.ax_.get_lines()
    np.testing.assert_array_equal(curve.get_ydata(), model.loss_curve_)
    assert display.ax_.get_xlabel() == "Chunk"
    assert display.figure_.get_suptitle() == "Loss after each chunk"
    with pytest.raises(ValueError, match="above_solution=True needs an objective"):
        display.plot(above_solution=True)


def test_the_loss_above_the_solution_is_drawn_on_a_log_axis():
    """F minus F at the solution, where that is positive."""
    display = LossCurveDisplay(loss_curve=[3, 1.5, 1, 0.9], objective=1)
    (curve,) = display.plot(above_solution=True).ax_.get_lines()
    np.testing.assert_array_equal(curve.get_ydata(), [2, 0.5, np.nan, np.nan])
    assert display.ax_.get_yscale() == "log"


@pytest.mark.parametrize("n", [1, 2, 3, 300])
@pytest.mark.parametrize("above_solution", [False, True])
def test_ticks_of_iterations_are_whole_numbers(n, above_solution):
    """However few or many there are; there is no iteration 1.5."""
    display = LossCurveDisplay(loss_curve=1 + 1 / np.arange(1, n + 1), objective=1 + 1 / n)
    display.plot(above_solution=above_solution)
    ticks = display.ax_.get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


# All of them


GRID = np.arange(4)
DISPLAYS = {
    "scores": (CVCurveDisplay(Cs=CS, mean_score=MEAN, se_score=SE), 1),
    "paths": (CoefficientPathDisplay(Cs=CS, coef_path=PATH, classes=LABELS), 3),
    "loss": (LossCurveDisplay(loss_curve=[3, 2, 1]), 1),
    "regions": (
        ClassRegionsDisplay(
            x=GRID, y=GRID, probabilities=np.full((4, 4, 3), 1 / 3), classes=LABELS
        ),
        1,
    ),
    "regions of labels": (
        ClassRegionsDisplay(
            x=GRID, y=GRID, probabilities=np.full((4, 4, 3), 0.5), classes=LABELS, has_labels=True
        ),
        3,
    ),
    "probabilities": (
        ProbabilityDisplay(values=CS, probabilities=np.full((4, 3), 1 / 3), classes=LABELS),
        1,
    ),
    "coefficients": (CoefficientDisplay(coef=PATH[0], classes=LABELS), 3),
    "reliability": (
        ReliabilityDisplay(
            predicted=PATH[0] ** 2, observed=PATH[0] ** 2, counts=PATH[0] ** 2, classes=LABELS
        ),
        3,
    ),
    "thresholds": (
        ThresholdDisplay(thresholds=CS, scores={"recall": PATH[..., 0].T}, classes=LABELS),
        3,
    ),
}


@pytest.mark.parametrize(("display", "n"), DISPLAYS.values(), ids=DISPLAYS)
def test_plot_draws_on_the_axes_that_are_given_and_returns_itself(display, n):
    """It makes no figure of its own then, names every axis, and puts the legend inside."""
    figure, axes = plt.subplots(1, n)
    assert display.plot(axes) is display
    assert display.figure_ is figure and display.ax_ is np.ravel(axes)[0]
    assert plt.get_fignums() == [figure.number]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in np.ravel(axes))
    assert np.ravel(axes)[-1].get_legend() is not None


def test_a_single_axes_has_the_title_of_the_picture_above_that_of_its_panel():
    """What would be the figure's title is not lost where the figure is the user's."""
    two = {"classes": ["no", "yes"]}
    paths = CoefficientPathDisplay(Cs=CS, coef_path=PATH[:, :1], **two)
    curves = ProbabilityDisplay(values=CS, probabilities=PATH[0, :, :4].T, classes=list("abc"))
    for display, titles in (
        (paths, "Coefficients against C\nyes against no"),
        (CoefficientDisplay(coef=PATH[0, :1], **two), "Coefficients\nyes against no"),
    ):
        assert display.plot(plt.subplots()[1]).ax_.get_title() == titles
    curves.plot(plt.subplots()[1], classes="b", together=False)
    assert curves.ax_.get_title() == "Probability of each class\nb"


@pytest.mark.parametrize(("display", "n"), DISPLAYS.values(), ids=DISPLAYS)
def test_axes_of_the_wrong_kind_or_number_are_refused(display, n):
    """The message says what `ax` may be."""
    with pytest.raises(TypeError, match="ax must be matplotlib Axes"):
        display.plot("left")
    with pytest.raises(ValueError, match=f"ax holds 0 Axes for {n} panels"):
        display.plot([])


@pytest.mark.parametrize(("display", "n"), DISPLAYS.values(), ids=DISPLAYS)
def test_a_missing_matplotlib_is_named_with_the_extra(display, n, monkeypatch):
    """Its command installs what the extra requires, from a checkout or an index alike."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    (requirement,) = project["project"]["optional-dependencies"]["plot"]
    without_matplotlib(monkeypatch)
    with pytest.raises(ImportError, match=r"softreg\[plot\]") as caught:
        display.plot()
    assert str(caught.value).endswith(f'python -m pip install "{requirement}".')


@pytest.mark.parametrize("kind", [CVCurveDisplay, CoefficientPathDisplay, LossCurveDisplay])
def test_an_estimator_that_is_not_fitted_or_of_another_kind_is_named(kind):
    """Unfitted: NotFittedError. Fitted, but without what is drawn: TypeError that says what."""
    with pytest.raises(NotFittedError, match="SoftmaxRegression is not fitted: call fit"):
        kind.from_estimator(SoftmaxRegression())
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    foreign = LogisticRegression(), LogisticRegressionCV(), MLPClassifier(max_iter=200)
    for other in (pipeline, *foreign):
        with pytest.raises(
            TypeError, match="(?s)softreg, got .*pass the last step.*from_sklearn"
        ) as error:
            kind.from_estimator(other)
        assert repr(other) in str(error.value)
    with pytest.raises(TypeError, match="str has no "):
        kind.from_estimator("model")
    with pytest.raises(TypeError, match="class"):
        kind.from_estimator(SoftmaxRegression)


def test_an_estimator_without_cross_validation_has_no_curve_and_no_path():
    """The message names what is missing and what was wanted."""
    model = SoftmaxRegression().fit(X, Y)
    for kind in (CVCurveDisplay, CoefficientPathDisplay):
        with pytest.raises(TypeError, match="a fitted CV estimator .*SoftmaxRegression has no Cs_"):
            kind.from_estimator(model)
    with pytest.raises(TypeError, match="the result of regularization_path"):
        CoefficientPathDisplay.from_path(model)


@pytest.mark.parametrize("Cs", [[np.inf], [0.3, np.inf], [1e-3, 1, 1e12, np.inf]])
def test_no_penalty_has_a_place_of_its_own(Cs):
    """C=inf is drawn beyond the other C, at a tick that says so, and so are choices of it."""
    n = len(Cs)
    scores = CVCurveDisplay(Cs=Cs, mean_score=np.arange(n), se_score=[0.1] * n).plot()
    paths = CoefficientPathDisplay(
        Cs=Cs, coef_path=PATH[:n], classes=LABELS, chosen_C=np.inf
    ).plot()
    curves = [scores.ax_.get_lines()[0], *(ax.get_lines()[1] for ax in paths.axes_)]
    for ax, curve in zip((scores.ax_, *paths.axes_), curves, strict=True):
        places = curve.get_xdata()
        assert np.isfinite(places).all() and list(places[:-1]) == Cs[:-1]
        assert (np.diff(np.log10(places)) > 0).all()
        names = [tick.get_text() for tick in ax.get_xticklabels()]
        assert ax.get_xticks()[names.index("∞")] == places[-1]
        marks = [line.get_xdata()[0] for line in ax.get_lines() if "C = inf" in line.get_label()]
        assert marks and set(marks) == {places[-1]}


SCORES = {"Cs": CS, "mean_score": MEAN, "se_score": SE}
PATHS = {"Cs": CS, "coef_path": PATH, "classes": LABELS}
BAD = [
    (CVCurveDisplay, SCORES, {"Cs": [0, 1, 2, 3]}, r"Cs must be > 0, got 0 at .*\(0,\)"),
    (CVCurveDisplay, SCORES, {"Cs": [1, 2, 3, np.nan]}, "Cs must be > 0, got nan"),
    (CVCurveDisplay, SCORES, {"Cs": [1, 3, 2, 4]}, "Cs must be in ascending order; got "),
    (CoefficientPathDisplay, PATHS, {"Cs": CS[::-1]}, "Cs must be in ascending order; got "),
    (CVCurveDisplay, SCORES, {"l1_ratios": []}, r"l1_ratios must have shape \(n_ratios,\)"),
    (CVCurveDisplay, SCORES, {"l1_ratios": [0]}, r"mean_score must have shape \(1, 4\); got"),
    (CVCurveDisplay, SCORES, {"n_features": [1]}, r"n_features must have shape \(4,\); got \(1,"),
    (CVCurveDisplay, SCORES, {"Cs": [CS, CS]}, r"Cs must have shape \(n_Cs,\); got \(2, 4\)"),
    (CoefficientPathDisplay, PATHS, {"Cs": [CS, CS]}, r"coef_path must have shape \(4, 2, n_feat"),
    (CoefficientPathDisplay, PATHS, {"Cs": [CS, CS, CS[::-1]]}, "Cs must be in ascending order"),
    (CVCurveDisplay, SCORES, {"Cs": []}, r"Cs must have shape \(n_Cs,\); got \(0,\)"),
    (CVCurveDisplay, SCORES, {"mean_score": [1, 2]}, r"mean_score must have shape \(4,\)"),
    (CVCurveDisplay, SCORES, {"se_score": SE[:, None]}, r"se_score must have shape \(4,\); got"),
    (CoefficientPathDisplay, PATHS, {"coef_path": PATH[0]}, r"\(4, n_rows, n_features\); got"),
    (CoefficientPathDisplay, PATHS, {"classes": ["a", "b"]}, r"classes must have shape \(3,\)"),
    (CoefficientPathDisplay, PATHS, {"feature_names": ["a"]}, r"feature_names must .* \(5,\)"),
    (CoefficientPathDisplay, PATHS, {"scale": [1, 2]}, r"scale must have shape \(5,\); got \(2,\)"),
    (CoefficientPathDisplay, PATHS, {"scale": [1, 2, 3, 4, -1]}, r"scale must be finite and >= 0"),
    (CoefficientPathDisplay, PATHS, {"chosen_C": 0}, "chosen_C must be > 0, got 0"),
    (CoefficientPathDisplay, PATHS, {"chosen_C": [1, 2]}, r"chosen_C must have shape \(3,\); got"),
    (LossCurveDisplay, {}, {"loss_curve": []}, r"loss_curve must have shape \(n_iter,\); got \(0"),
    (LossCurveDisplay, {"loss_curve": [2, 1]}, {"validation_curve": [1]}, "validation_curve must"),
]


@pytest.mark.parametrize(("kind", "good", "bad", "message"), BAD)
def test_arrays_that_do_not_fit_are_named(kind, good, bad, message):
    """The message says which array, what it must be and what it is."""
    with pytest.raises(ValueError, match=message):
        kind(**good | bad)


def test_arrays_that_are_no_numbers_are_named():
    """Words or ragged lists are a TypeError that names the argument."""
    with pytest.raises(TypeError, match="coef_path must be a regular array of numbers"):
        CoefficientPathDisplay(Cs=[1, 2], coef_path=[[[1, 2]], [[1]]], classes=["a", "b"])


@pytest.mark.parametrize("top", [-1, 2.5, "all", None])
def test_top_must_count_features(top):
    """An integer >= 0; the message repeats what was given."""
    with pytest.raises(ValueError, match=f"top={top!r} must be an integer >= 0"):
        CoefficientPathDisplay(**PATHS).plot(top=top)


def test_classes_that_are_not_known_are_answered_with_those_that_are():
    """The names to choose from stand in the message; without a C per label there is no choice."""
    with pytest.raises(ValueError, match=r"classes='red' .*: 'blue', 'dress', 'jeans'"):
        CoefficientPathDisplay(**PATHS).plot(classes="red")
    with pytest.raises(ValueError, match="one C serves all classes"):
        CVCurveDisplay(**SCORES).plot(classes="blue")


@pytest.mark.parametrize("n", [1, 4, 13])
def test_pictures_are_laid_out_without_a_warning(n):
    """Neither names that matplotlib reads as markup nor many panels upset it (warnings raise)."""
    names = np.array(["_a", "$b$", "c_d", "%", "x" * 60], dtype=object)
    classes = [f"_a class of $many$ words, number {i}" for i in range(n)]
    coef = np.random.default_rng(n).normal(size=(4, n, 5))
    paths = CoefficientPathDisplay(Cs=CS, coef_path=coef, classes=classes, feature_names=names)
    scores = CVCurveDisplay(Cs=CS, mean_score=coef[..., 0], se_score=coef[..., 0], classes=classes)
    for display in (paths, scores):
        display.plot().figure_.draw_without_rendering()
