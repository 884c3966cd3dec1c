"""Pictures of models: what is drawn is what they predict, and nothing is cut off."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit, softmax
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_iris, load_wine, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score, recall_score

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.display import (
    ClassRegionsDisplay,
    CoefficientDisplay,
    ProbabilityDisplay,
    ReliabilityDisplay,
    ThresholdDisplay,
)
from softreg.inference import infer, predict_interval

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

IRIS, SPECIES = load_iris(return_X_y=True, as_frame=True)
SPECIES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
PETALS = IRIS[["petal length (cm)", "petal width (cm)"]]
WINE, GROWER = load_wine(return_X_y=True, as_frame=True)
FEW = WINE[["alcohol", "color_intensity", "ash"]]
TAGS_X, TAGS = make_multilabel_classification(
    200, n_features=4, n_classes=3, n_labels=2, random_state=0
)
LONG = [
    f"a class whose $name$ is long, of which the last word tells: number {i}" for i in range(10)
]


@pytest.fixture(autouse=True)
def closed():
    """No figure outlives its test."""
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def unpenalised():
    """A maximum-likelihood fit of three classes to three features, and its inference."""
    model = SoftmaxRegression(C=np.inf).fit(FEW, GROWER)
    return model, infer(model, FEW, GROWER)


def texts(legend):
    """The entries of a legend."""
    return [text.get_text() for text in legend.get_texts()]


def ten_classes(units=(1.0, 1.0)):
    """Rows about ten centres, in these units, and their classes."""
    rng = np.random.default_rng(0)
    centres, codes = 4 * rng.normal(size=(10, 2)), rng.integers(10, size=300)
    return (centres[codes] + rng.normal(size=(300, 2))) * units, np.array(LONG)[codes]


def assert_drawn_inside(figure):
    """Nothing that says something is cut off at the edge of the figure, or covered by a legend."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    legends = [legend.get_window_extent() for legend in figure.legends]
    titles = [ax.title for ax in figure.axes if ax.get_title()] + [figure._suptitle]
    labels = [label for ax in figure.axes for label in (ax.xaxis.label, ax.yaxis.label)]
    drawn = [text for text in (*titles, *labels) if text is not None and text.get_text()]
    boxes = [text.get_window_extent() for text in drawn] + legends
    boxes += [ax.get_tightbbox() for ax in figure.axes if ax.get_visible()]
    for box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
    for text in titles:
        box = text.get_window_extent()
        assert not any(box.overlaps(legend) for legend in legends), text.get_text()


# Regions


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e-3, 1e6)])
def test_on_a_boundary_two_classes_score_the_same_and_no_other_more(units):
    """At both ends of each line z_j = z_k >= z_l, inside the axes; beside it, predictions change.

    Whatever the units of the features.
    """
    X, y = ten_classes(units)
    model = SoftmaxRegression(standardize=True).fit(X, y)
    display = ClassRegionsDisplay.from_estimator(model, X, y)
    assert len(display.boundaries) >= 10
    codes = {name: code for code, name in enumerate(model.classes_)}
    box = np.array([display.x[[0, -1]], display.y[[0, -1]]])
    for (one, other), ends in display.boundaries.items():
        scores, pair = model.decision_function(ends), [codes[one], codes[other]]
        np.testing.assert_allclose(*scores[:, pair].T, rtol=0, atol=1e-9 * np.abs(scores).max())
        assert (scores[:, pair[0]] >= scores.max(axis=1) - 1e-9).all()
        assert (ends >= box[:, 0] - 1e-9 * np.ptp(box, axis=1)).all()
        assert (ends <= box[:, 1] + 1e-9 * np.ptp(box, axis=1)).all()
        slope = model.coef_[pair[0]] - model.coef_[pair[1]]
        step = 1e-6 * slope / np.square(slope * units).sum() * np.square(units)
        middle = ends.mean(axis=0)
        assert list(model.predict([middle + step, middle - step])) == [one, other]


def test_every_change_of_predictions_has_its_boundary():
    """Along the edges of pixels on the grid the most probable class changes only between pairs."""
    X, y = ten_classes()
    model = SoftmaxRegression().fit(X, y)
    display = ClassRegionsDisplay.from_estimator(model, X)
    best = model.classes_[display.probabilities.argmax(axis=2)]
    beside = zip(best[:, 1:].ravel(), best[:, :-1].ravel(), strict=True)
    changes = {frozenset(pair) for pair in beside if pair[0] != pair[1]}
    assert changes <= {frozenset(pair) for pair in display.boundaries}


def test_regions_hold_the_probabilities_of_the_grid():
    """They are predict_proba of its points, the others at the means of X or at given values."""
    model = SoftmaxRegression().fit(WINE, GROWER)
    features = ["proline", "hue"]
    display = ClassRegionsDisplay.from_estimator(
        model, WINE, features=features, at={"alcohol": 12.5, 3: 20}
    )
    rows = pd.DataFrame([WINE.mean()] * 3).assign(alcohol=12.5, alcalinity_of_ash=20)
    for i, j in ((0, 0), (7, 151), (199, 30)):
        rows["proline"], rows["hue"] = display.x[j], display.y[i]
        expected = model.predict_proba(rows)[0]
        np.testing.assert_allclose(display.probabilities[i, j], expected, rtol=1e-9)
    assert list(display.held)[:2] == ["alcohol", "alcalinity_of_ash"]
    assert display.held["ash"] == pytest.approx(WINE["ash"].mean())
    title = display.figure_.get_suptitle()
    assert title.endswith("held: alcohol = 12.5, alcalinity_of_ash = 20; 9 others at their\nmeans")
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == tuple(features)


@pytest.mark.parametrize("kind", [ClassRegionsDisplay, ProbabilityDisplay])
def test_a_series_by_feature_holds_the_others_as_a_mapping_does(kind):
    """Such as the medians of X, or a row of it, without the features that are varied."""
    model = SoftmaxRegression().fit(WINE, GROWER)
    given = {"features": ["hue", "ash"]} if kind is ClassRegionsDisplay else {"feature": "hue"}
    for values in (WINE.median(), WINE.iloc[3], pd.Series({"proline": 500, 3: 20})):
        series = values.drop(["hue", "ash"], errors="ignore")
        of_series = kind.from_estimator(model, WINE, at=series, **given)
        of_mapping = kind.from_estimator(model, WINE, at=dict(series), **given)
        assert of_series.held == of_mapping.held and of_series.n_given == len(series)
        assert of_series.held["proline"] == series["proline"]
        np.testing.assert_array_equal(of_series.probabilities, of_mapping.probabilities)


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_two_classes_are_parted_at_their_threshold(threshold):
    """At both ends of the one line P(second) is the threshold."""
    model = SigmoidRegression(threshold=threshold).fit(PETALS, SPECIES == "virginica")
    display = ClassRegionsDisplay.from_estimator(model, PETALS)
    ((between, ends),) = display.boundaries.items()
    assert between == (False, True)
    rows = pd.DataFrame(ends, columns=PETALS.columns)
    np.testing.assert_allclose(model.predict_proba(rows)[:, 1], threshold, rtol=1e-9)


def test_labels_have_lines_at_their_thresholds_in_panels_of_their_own():
    """At both ends of a label's line its probability is its threshold, 0.5 by default."""
    for threshold in (0.5, [0.5, 0.3, 0.6]):
        model = SigmoidRegression(threshold=threshold).fit(TAGS_X[:, :2], TAGS)
        display = ClassRegionsDisplay.from_estimator(model, TAGS_X[:, :2], TAGS)
        assert len(display.axes_) == 3 and len(display.boundaries) >= 2
        for label, ends in display.boundaries.items():
            at_line = model.predict_proba(ends)[:, label]
            np.testing.assert_allclose(at_line, np.broadcast_to(threshold, 3)[label], rtol=1e-9)
            (drawn,) = display.axes_[label].get_lines()
            np.testing.assert_array_equal(drawn.get_xydata(), ends)
        assert texts(display.figure_.legends[0]) == ["has the label", "has it not", "threshold"]


def test_points_are_drawn_by_class_where_they_lie():
    """Each class has its points, its marker and its colour; an unknown label has none."""
    model = SoftmaxRegression().fit(PETALS, SPECIES)
    display = ClassRegionsDisplay.from_estimator(model, PETALS, SPECIES)
    for name, points in zip(model.classes_, display.ax_.collections, strict=True):
        assert points.get_label() == name
        np.testing.assert_array_equal(points.get_offsets(), PETALS[name == SPECIES])
    looks = [p.get_facecolor().tobytes() for p in display.ax_.collections]
    assert len(set(looks)) == 3
    unknown = TAGS.astype(float)
    unknown[:50, 1] = np.nan
    model = SigmoidRegression().fit(TAGS_X, unknown)
    display = ClassRegionsDisplay.from_estimator(model, TAGS_X, unknown, features=["x0", 3])
    has_it, has_not = display.axes_[1].collections[:2]
    np.testing.assert_array_equal(has_it.get_offsets(), TAGS_X[50:][TAGS[50:, 1] == 1][:, [0, 3]])
    assert len(has_not.get_offsets()) == (TAGS[50:, 1] == 0).sum()


def test_the_colour_is_that_of_the_most_probable_class_and_fades_with_its_probability():
    """Mixed with white: the more, the less probable; equally probable ones are the faintest."""
    P = [[[1, 0, 0], [0.6, 0.4, 0]], [[0, 0, 1], [0.34, 0.33, 0.33]]]
    display = ClassRegionsDisplay(x=[0, 1], y=[0, 1], probabilities=P, classes=list("abc")).plot()
    (image,) = display.ax_.get_images()
    shown = np.asarray(image.get_array())
    sure, less, faintest = 1 - shown[0, 0], 1 - shown[0, 1], 1 - shown[1, 1]
    for paler in (less, faintest):
        np.testing.assert_allclose(paler / paler.max(), sure / sure.max())
    assert sure.max() > less.max() > faintest.max() > 0.1
    assert image.get_extent() == [-0.5, 1.5, -0.5, 1.5]


def test_sparse_rows_and_coefficients_are_drawn_as_dense_ones():
    """CSR rows and a `sparsify`ed model give the same picture."""
    X, y = ten_classes()
    model = SoftmaxRegression(l1_ratio=0.5).fit(X, y)
    dense = ClassRegionsDisplay.from_estimator(model, X, y)
    thin = ClassRegionsDisplay.from_estimator(model.sparsify(), sp.csr_array(X), y)
    np.testing.assert_allclose(thin.probabilities, dense.probabilities, rtol=1e-12)
    assert thin.boundaries.keys() == dense.boundaries.keys()
    np.testing.assert_array_equal(thin.points, dense.points)


# Probabilities


def test_curves_are_the_probabilities_of_rows_that_differ_in_one_feature():
    """They are predict_proba, the others at the means of X or at given values."""
    model = SoftmaxRegression().fit(WINE, GROWER)
    display = ProbabilityDisplay.from_estimator(model, WINE, "hue", at={"proline": 500})
    rows = pd.DataFrame([WINE.mean()] * len(display.values)).assign(proline=500, hue=display.values)
    np.testing.assert_allclose(display.probabilities, model.predict_proba(rows), rtol=1e-9)
    for line, values in zip(display.ax_.get_lines(), display.probabilities.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert display.values[0] < WINE["hue"].min() and display.values[-1] > WINE["hue"].max()
    assert display.ax_.get_xlabel() == "hue"
    assert texts(display.figure_.legends[0]) == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize("with_names", [True, False])
def test_intervals_of_probabilities_are_those_of_predict_interval(unpenalised, with_names):
    """The bands end where `predict_interval` of the same rows says, with and without names."""
    X = FEW if with_names else FEW.to_numpy()
    model = SoftmaxRegression(C=np.inf).fit(X, GROWER)
    result = infer(model, X, GROWER)
    display = ProbabilityDisplay.from_estimator(
        model, X, 0, intervals=lambda rows: predict_interval(result, rows, level=0.8)
    )
    rows = pd.DataFrame([FEW.mean()] * len(display.values)).assign(alcohol=display.values)
    expected = predict_interval(unpenalised[1], rows, level=0.8)
    np.testing.assert_allclose(display.lower, expected["lower"], rtol=1e-6)
    np.testing.assert_allclose(display.upper, expected["upper"], rtol=1e-6)
    for band, k in zip(display.ax_.collections, range(3), strict=True):
        heights = band.get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose(heights.max(), display.upper[:, k].max())
        np.testing.assert_allclose(heights.min(), display.lower[:, k].min())
    assert "with intervals" in display.figure_.get_suptitle()


def test_intervals_of_labels_are_those_of_each_result():
    """A mapping holds a frame for each label, of which the second class counts."""
    model = SigmoidRegression(C=np.inf).fit(TAGS_X, TAGS)
    results = infer(model, TAGS_X, TAGS)
    display = ProbabilityDisplay.from_estimator(
        model,
        TAGS_X,
        "x2",
        intervals=lambda rows: {k: predict_interval(r, rows) for k, r in results.items()},
    )
    rows = np.tile(TAGS_X.mean(axis=0), (len(display.values), 1))
    rows[:, 2] = display.values
    for label in range(3):
        expected = predict_interval(results[label], rows)["upper"][1]
        np.testing.assert_allclose(display.upper[:, label], expected, rtol=1e-9)


def test_many_classes_have_a_panel_each_unless_they_are_asked_together():
    """Ten do not share a panel; a single Axes of the user's is one; `together` decides."""
    X, y = ten_classes()
    display = ProbabilityDisplay.from_estimator(SoftmaxRegression().fit(X, y), X, 1)
    assert len(display.axes_) == 10 and not display.figure_.legends
    assert len(display.plot(together=True).axes_) == 1
    assert len(display.plot(plt.subplots()[1]).axes_) == 1
    assert len(display.plot(classes=LONG[:2], together=False).axes_) == 2
    display.plot(plt.subplots(1, 2)[1], classes=LONG[:2], together=False)
    assert [ax.get_legend() for ax in display.axes_] == [None, None]  # titles name the classes


# Coefficients


def test_coefficients_are_drawn_in_the_order_of_the_columns():
    """A dot for each feature, in a panel for each class; per standard deviation with `scale`."""
    model = SoftmaxRegression().fit(WINE, GROWER)
    for scale in (None, WINE.std()):
        display = CoefficientDisplay.from_estimator(model, scale=scale)
        for ax, coef in zip(display.axes_, model.coef_, strict=True):
            dots = ax.get_lines()[-1]
            np.testing.assert_allclose(
                dots.get_xdata(), coef * (1 if scale is None else scale.to_numpy())
            )
        assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == list(WINE)
        unit = "unit" if scale is None else "s.d."
        assert display.figure_.get_supxlabel() == f"Coefficient per {unit} of the feature"


def test_the_largest_coefficients_are_drawn_if_there_are_more():
    """Of any drawn class, times `scale`, in the order of the columns, which the title says."""
    coef = [[0, 9, 0, 1, 2], [-3, 0, 0.5, 0, 0]]
    display = CoefficientDisplay(coef=coef, classes=["a", "b"], scale=[1, 0.1, 1, 1, 1])
    ticks = [tick.get_text() for tick in display.plot(top=3).ax_.get_yticklabels()]
    assert ticks == ["x0", "x3", "x4"]
    assert display.figure_.get_suptitle().endswith("the 3 largest of 5 features")
    ticks = [tick.get_text() for tick in display.plot(top=1, classes="b").ax_.get_yticklabels()]
    assert ticks == ["x0"]


def test_coefficients_that_are_zero_are_hollow():
    """As most are under a lasso."""
    display = CoefficientDisplay(coef=[[0.0, 1.0, 0.0]], classes=["no", "yes"]).plot()
    hollow = display.ax_.get_lines()[-1]
    assert hollow.get_markerfacecolor() == "white"
    np.testing.assert_array_equal(hollow.get_xydata(), [[0, 0], [0, 2]])
    assert display.ax_.get_title() == "yes against no"
    assert texts(display.figure_.legends[0]) == ["coefficient", "zero"]
    display = CoefficientDisplay(coef=[[1.0, 0.0], [2.0, 1.0]], classes=["a", "b"]).plot()
    assert texts(display.figure_.legends[0]) == ["coefficient", "zero"]
    assert not display.plot(classes="b").figure_.legends


@pytest.mark.parametrize("reference", [0, 1, "sum-to-zero"])
def test_intervals_of_coefficients_are_those_of_the_inference(unpenalised, reference):
    """A line from `lower` to `upper` of conf_int, at each coefficient; the intercepts are out."""
    result = unpenalised[1].against(reference)
    display = CoefficientDisplay.from_inference(result, level=0.9, scale=FEW.std())
    table = result.conf_int(0.9)
    assert list(display.classes) == list(result.params.columns)
    for ax, name in zip(display.axes_, result.params.columns, strict=True):
        (lines,) = ax.collections
        for place, (segment, feature) in enumerate(zip(lines.get_segments(), FEW, strict=True)):
            ends = table.loc[(name, feature)] * FEW[feature].std()
            np.testing.assert_allclose(segment, [[ends["lower"], place], [ends["upper"], place]])
        against = "" if reference == "sum-to-zero" else f" against {reference}"
        assert ax.get_title() == f"class {name}{against}"
    assert display.figure_.get_suptitle() == "Coefficients, with 90 % intervals"


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_intervals_of_labels_have_a_panel_each(fit_intercept):
    """The results of all labels are one picture."""
    model = SigmoidRegression(C=np.inf, fit_intercept=fit_intercept).fit(TAGS_X, TAGS)
    results = infer(model, TAGS_X, TAGS)
    display = CoefficientDisplay.from_inference(results)
    np.testing.assert_allclose(display.coef, model.coef_, atol=1e-4)  # `infer` goes on a bit
    for label in range(3):
        ends = results[label].conf_int()["upper"].to_numpy()[:4]
        np.testing.assert_array_equal(display.upper[label], ends)


# Reliability


def test_reliability_by_hand():
    """Two bins of three and two rows, the bound in the first: means, frequencies and counts."""
    display = ReliabilityDisplay.from_predictions(
        ["no", "yes", "no", "yes", "yes"],
        np.column_stack([1 - np.array(p := [0.1, 0.5, 0.1, 0.6, 0.9]), p]),
        classes=["no", "yes"],
        n_bins=2,
    )
    np.testing.assert_allclose(display.predicted, [[0.7 / 3, 0.75]])
    np.testing.assert_allclose(display.observed, [[1 / 3, 1]])
    np.testing.assert_array_equal(display.counts, [[3, 2]])
    diagonal, curve = display.ax_.get_lines()
    np.testing.assert_allclose(curve.get_xydata(), [[0.7 / 3, 1 / 3], [0.75, 1]])
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    (strip,) = display.ax_.child_axes
    assert [bar.get_height() for bar in strip.patches] == [3, 2]
    assert [text.get_text() for text in strip.texts] == ["3 rows"]
    assert display.ax_.get_title() == "yes against no"


def test_reliability_counts_every_row_of_every_class():
    """Counts add up to the rows, sums over bins to those of probabilities and of classes."""
    model = SoftmaxRegression().fit(WINE[::2], GROWER[::2])
    display = ReliabilityDisplay.from_estimator(model, WINE[1::2], GROWER[1::2])
    P = model.predict_proba(WINE[1::2])
    assert len(display.axes_) == 3
    for k in range(3):
        assert display.counts[k].sum() == len(P)
        for values, expected in (
            (display.predicted, P[:, k]),
            (display.observed, GROWER[1::2] == k),
        ):
            total = np.nansum(values[k] * display.counts[k])
            assert total == pytest.approx(expected.sum())


def weighted_and_repeated(draw, *data):
    """A display of rows with weights 0 to 3, and that of the rows repeated as often."""
    weight = np.random.default_rng(3).integers(4, size=len(data[0]))
    repeated = (np.repeat(values, weight, axis=0) for values in data)
    return draw(*data, sample_weight=weight), draw(*repeated)


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels"])
def test_weights_in_bins_are_rows_repeated(kind):
    """Counts, mean probabilities and frequencies, of an estimator and of its predictions."""
    X, y = (TAGS_X, TAGS) if kind == "labels" else (FEW.to_numpy(), GROWER.to_numpy())
    y = y == 1 if kind == "two classes" else y
    model = (SigmoidRegression if kind == "labels" else SoftmaxRegression)().fit(X, y)
    draw = partial(ReliabilityDisplay.from_estimator, model)
    of_estimator = weighted_and_repeated(draw, X, y)
    draw = partial(ReliabilityDisplay.from_predictions, classes=model.classes_)
    of_predictions = weighted_and_repeated(draw, y, model.predict_proba(X))
    for weighted, repeated in (of_estimator, of_predictions):
        for name in ("counts", "predicted", "observed"):
            values = getattr(repeated, name)
            np.testing.assert_allclose(getattr(weighted, name), values, rtol=1e-12)
        texts_of = [d.ax_.child_axes[0].texts[0].get_text() for d in (weighted, repeated)]
        assert texts_of[0] == texts_of[1] and texts_of[0].endswith(" rows")


def test_bins_are_those_of_scikit_learn():
    """Frequencies and mean probabilities of the bins that are not empty, at their edges too."""
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.integers(11, size=300) / 10, rng.uniform(size=300) ** 2])
    y = (rng.uniform(size=600) < p).astype(int)
    display = ReliabilityDisplay.from_predictions(y, np.column_stack([1 - p, p]), n_bins=10)
    is_filled = display.counts[0] > 0
    drawn = display.observed[0, is_filled], display.predicted[0, is_filled]
    np.testing.assert_allclose(drawn, calibration_curve(y, p, n_bins=10), rtol=1e-12)


def test_weights_that_count_no_rows_are_named_weights():
    """By hand: of the bin of 0.1 and 0.3, weights 0.5 and 1; each label may have its own."""
    display = ReliabilityDisplay.from_predictions(
        [[0, 1], [1, 0], [np.nan, 1]],
        [[0.1, 0.9], [0.3, 0.2], [0.4, 0.7]],
        sample_weight=[[0.5, 2], [1, 0], [7, 1]],
        n_bins=2,
    )
    np.testing.assert_allclose(display.counts, [[1.5, 0], [0, 3]])
    np.testing.assert_allclose(display.predicted, [[0.35 / 1.5, np.nan], [np.nan, 2.5 / 3]])
    np.testing.assert_allclose(display.observed, [[1 / 1.5, np.nan], [np.nan, 1]])
    strips = [ax.child_axes[0].texts[0].get_text() for ax in display.axes_]
    assert strips == ["weight 1.5", "3 rows"]
    half, huge = [[0.5]], [[1e300]]
    display = ReliabilityDisplay(predicted=half, observed=half, counts=huge, classes=["a"]).plot()
    assert display.ax_.child_axes[0].texts[0].get_text() == "weight 1e+300"


def test_unknown_labels_are_in_no_bin():
    """Of 200 rows 50 are not known for one label."""
    unknown = TAGS.astype(float)
    unknown[:50, 1] = np.nan
    model = SigmoidRegression().fit(TAGS_X, unknown)
    display = ReliabilityDisplay.from_estimator(model, TAGS_X, unknown)
    assert display.counts.sum(axis=1).tolist() == [200, 150, 200]


def test_classes_with_a_column_each_are_no_labels():
    """A softmax fitted to columns of 0 and 1 is drawn as one fitted to the classes."""
    for n_classes in (2, 3):
        classes = np.arange(178) % n_classes
        columns = np.eye(n_classes)[classes]
        one = SoftmaxRegression().fit(FEW, classes)
        other = SoftmaxRegression().fit(FEW, columns)
        counts = ReliabilityDisplay.from_estimator(one, FEW, classes).counts
        same = ReliabilityDisplay.from_estimator(other, FEW, columns).counts
        np.testing.assert_array_equal(same, counts)
    with pytest.raises(ValueError, match="one of 3 classes in each row"):
        ThresholdDisplay.from_estimator(other, FEW, columns)


# Thresholds


def test_scores_at_thresholds_are_those_of_scikit_learn():
    """Precision, recall and F1 of what is predicted where P > t, at each threshold t."""
    model = SigmoidRegression(threshold=[0.5, 0.3, 0.6]).fit(TAGS_X, TAGS)
    P = model.predict_proba(TAGS_X)
    display = ThresholdDisplay.from_estimator(model, TAGS_X, TAGS)
    metrics = {"precision": precision_score, "recall": recall_score, "F1": f1_score}
    assert set(display.scores) == set(metrics)
    for t in (0, 25, 77, 140, len(display.thresholds) - 1):
        predicted = np.greater(P, display.thresholds[t])
        for name, metric in metrics.items():
            expected = metric(TAGS, predicted, average=None, zero_division=0)
            if name == "precision":
                expected[predicted.sum(axis=0) == 0] = np.nan
            np.testing.assert_allclose(display.scores[name][:, t], expected)
    for ax, threshold in zip(display.axes_, (0.5, 0.3, 0.6), strict=True):
        *curves, mark = ax.get_lines()
        assert [curve.get_label() for curve in curves] == list(metrics)
        assert list(mark.get_xdata()) == [threshold] * 2
        assert ax.get_title().endswith(f"chosen: {threshold:g}")
    model.set_params(threshold=display.thresholds[77])
    np.testing.assert_allclose(
        f1_score(TAGS, model.predict(TAGS_X), average=None), display.scores["F1"][:, 77]
    )


def test_costs_take_the_place_of_F1():
    """By hand: what is wrongly predicted costs 1, what is missed 5; at its P nothing is."""
    display = ThresholdDisplay.from_predictions(
        [0, 1, 0, 1], [[0.9, 0.1], [0.7, 0.3], [0.5, 0.5], [0.2, 0.8]], costs=[[0, 1], [5, 0]]
    )
    assert list(display.scores) == ["precision", "recall", "mean cost"]
    at = [np.abs(display.thresholds - t).argmin() for t in (0, 0.2, 0.5, 0.7, 1)]
    assert list(display.scores["mean cost"][0, at]) == [0.5, 0.25, 1.25, 1.25, 2.5]
    assert display.chosen is None and len(display.ax_.get_lines()) == 3


@pytest.mark.parametrize("costs", [None, [[0, 1], [5, 0]]])
def test_scores_of_weights_are_those_of_rows_repeated(costs):
    """At the thresholds that both have: precision, recall, and F1 or the mean cost."""
    unknown = np.where(np.arange(600).reshape(200, 3) % 7, TAGS, np.nan)
    model = SigmoidRegression().fit(TAGS_X, unknown)
    draw = partial(ThresholdDisplay.from_estimator, model, costs=costs)
    of_estimator = weighted_and_repeated(draw, TAGS_X, unknown)
    draw = partial(ThresholdDisplay.from_predictions, costs=costs)
    of_predictions = weighted_and_repeated(draw, unknown, model.predict_proba(TAGS_X))
    for weighted, repeated in (of_estimator, of_predictions):
        both, *places = np.intersect1d(weighted.thresholds, repeated.thresholds, False, True)
        assert len(both) > 100
        for name, values in repeated.scores.items():
            scores = weighted.scores[name][:, places[0]]
            np.testing.assert_allclose(scores, values[:, places[1]], rtol=1e-12)


def test_a_tenth_of_a_weight_leaves_the_scores_as_they_are():
    """Also where nothing is predicted: 0 / 0 is not known, whatever sums of 0.1 round to."""
    P = SigmoidRegression().fit(TAGS_X, TAGS).predict_proba(TAGS_X)
    whole = ThresholdDisplay.from_predictions(TAGS, P)
    tenth = ThresholdDisplay.from_predictions(TAGS, P, sample_weight=np.full(200, 0.1))
    for name, values in whole.scores.items():
        np.testing.assert_allclose(tenth.scores[name], values, rtol=1e-12)
        assert tenth.scores[name][np.isfinite(values)].max() <= 1


def test_the_best_threshold_of_costs_of_true_probabilities_is_their_share():
    """Where missing costs 4 times as much as a false alarm, it is 1/5, whatever the label."""
    z = np.linspace(-4, 4, 2001)
    p = np.repeat(expit(z), 200)
    share = np.tile((np.arange(200) + 0.5) / 200, len(z))
    y = (share < p).astype(int)
    display = ThresholdDisplay.from_predictions(
        y, np.column_stack([1 - p, p]), costs=[[0, 1], [4, 0]]
    )
    best = display.thresholds[display.scores["mean cost"][0].argmin()]
    assert logit(best) == pytest.approx(logit(0.2), abs=0.1)


# All of them


def drawn(kind, model, X, y):
    """The display of a kind, of a fitted model and rows."""
    if kind is CoefficientDisplay:
        return kind.from_estimator(model)
    if kind is ProbabilityDisplay:
        return kind.from_estimator(model, X, 0)
    return kind.from_estimator(model, X, y)


KINDS = [
    ClassRegionsDisplay,
    CoefficientDisplay,
    ProbabilityDisplay,
    ReliabilityDisplay,
    ThresholdDisplay,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3, 10, "labels"])
def test_nothing_is_cut_off_or_covered(kind, n_classes):
    """However long the names are: titles, labels and legends lie inside and beside each other."""
    if n_classes == "labels":
        X, Y = TAGS_X[:, :2], pd.DataFrame(TAGS, columns=LONG[:3])
        model = SigmoidRegression().fit(pd.DataFrame(X, columns=[LONG[3], "_b"]), Y)
        display = drawn(kind, model, pd.DataFrame(X, columns=[LONG[3], "_b"]), Y)
        return assert_drawn_inside(display.figure_)
    X, y = ten_classes()
    kept = np.isin(y, LONG[:n_classes])
    X, y = pd.DataFrame(X[kept], columns=["$a$", LONG[3]]), y[kept]
    model = SoftmaxRegression().fit(X, y)
    if kind is ThresholdDisplay and n_classes > 2:
        with pytest.raises(ValueError, match=f"one of {n_classes} classes in each row"):
            drawn(kind, model, X, y)
        return None
    assert_drawn_inside(drawn(kind, model, X, y).figure_)
    return None


def test_names_that_differ_at_their_end_are_told_apart():
    """Long names are broken into lines, not cut; only very long ones lack their middle."""
    X, y = ten_classes()
    display = ClassRegionsDisplay.from_estimator(SoftmaxRegression().fit(X, y), X, y)
    entries = [text.replace("\n", " ") for text in texts(display.figure_.legends[0])]
    assert entries[:-1] == [name.replace("$", r"\$") for name in LONG]
    ends = [f"{'word ' * 99}{i}" for i in range(2)]
    names = CoefficientDisplay(coef=[[1.0, 2.0]], classes=["a"], feature_names=ends).plot()
    shown = [tick.get_text() for tick in names.ax_.get_yticklabels()]
    assert shown[0] != shown[1] and all("…" in name and len(name) < 200 for name in shown)


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimator_that_is_not_fitted_or_of_another_kind_is_named(kind):
    """Unfitted: NotFittedError. Fitted, but none of softreg: TypeError."""
    with pytest.raises(NotFittedError, match="SoftmaxRegression is not fitted: call fit"):
        drawn(kind, SoftmaxRegression(), PETALS, SPECIES)
    other = LogisticRegression(max_iter=1000).fit(PETALS, SPECIES)
    with pytest.raises(TypeError, match="an estimator of softreg, got LogisticRegression"):
        drawn(kind, other, PETALS, SPECIES)


def regions(**changes):
    """A call that draws regions of a model of wine."""
    model = SoftmaxRegression().fit(WINE, GROWER)
    return ClassRegionsDisplay.from_estimator(model, WINE, **changes)


def curves(**changes):
    """A call that draws probabilities of a model of three features of wine."""
    model = SoftmaxRegression().fit(FEW, GROWER)
    return ProbabilityDisplay.from_estimator(model, FEW, **{"feature": "ash"} | changes)


def thresholds(**changes):
    """A call that draws thresholds."""
    given = {"y": [0, 1, 1], "probabilities": softmax([[0, 1], [1, 2], [2, 1]], axis=1)}
    return ThresholdDisplay.from_predictions(**given | changes)


def dates(**changes):
    """A call that draws the coefficients of classes that are dates, in nanoseconds."""
    days = np.array(["2021-03-01", "2021-04-01"], dtype="M8[ns]")
    return CoefficientDisplay(coef=[[1], [2]], classes=days).plot(**changes)


P22 = np.full((2, 2, 3), 1 / 3)
BAD = [
    (regions, {}, ValueError, "features=None needs an X of two features, and X has 13: pass the"),
    (regions, {"features": "hue"}, ValueError, "features='hue' must be two of the features"),
    (regions, {"features": ["hue"]}, ValueError, r"features=\['hue'\] must be two"),
    (regions, {"features": ["hue", "hue"]}, ValueError, "features names 'hue' twice"),
    (regions, {"features": ["hue", "colour"]}, ValueError, "features names 'colour', .*'color_int"),
    (regions, {"features": [0, 13]}, ValueError, "features names 13, .* from 0 to 12"),
    (regions, {"features": [0, 1], "at": {0: 1}}, ValueError, "at holds 'alcohol', which is var"),
    (regions, {"features": [0, 1], "classes": 1}, ValueError, "classes=1, but all classes share"),
    (regions, {"features": [0, 1], "y": GROWER[1:]}, ValueError, r"inconsistent .*\[178, 177\]"),
    (curves, {"feature": "Ash!"}, ValueError, "feature names 'Ash!', .* nearest names are 'ash'"),
    (curves, {"at": 3}, TypeError, "at=3 must be a mapping or Series from features"),
    (curves, {"at": [13, 5, 2]}, TypeError, r"at=\[13, 5, 2\] must be a mapping or Series"),
    (curves, {"at": {"alcohol": 1, 0: 2}}, ValueError, "at names 'alcohol' twice; give it one"),
    (curves, {"at": FEW.mean()}, ValueError, "at holds 'ash', which is varied: leave it out of at"),
    (curves, {"at": pd.Series({"hue": 1})}, ValueError, "at names 'hue', which is no feature"),
    (curves, {"at": {"alcohol": np.nan}}, ValueError, r"at\['alcohol'\]=nan must be a finite"),
    (curves, {"at": {"alcohol": "high"}}, ValueError, r"at\['alcohol'\]='high' must be a finite"),
    (curves, {"intervals": "result"}, TypeError, "intervals must be a function, got str: pass"),
    (thresholds, {"y": [0, 1, 2]}, ValueError, r"y holds 2 in row 2, .* classes \[0, 1\]"),
    (thresholds, {"y": [0, 1]}, ValueError, r"y must have shape \(3, 2\), as probabilities; got"),
    (thresholds, {"probabilities": [[0, 2]] * 3}, ValueError, "probabilities must lie in .* got 2"),
    (thresholds, {"sample_weight": [1, 2]}, ValueError, r"sample_weight must have shape \(3,\)"),
    (thresholds, {"sample_weight": [1, 2, -1]}, ValueError, "sample_weight must be fin"),
    (thresholds, {"threshold": 1.5}, ValueError, "threshold must lie between 0 and 1"),
    (thresholds, {"costs": [1, 2]}, ValueError, r"costs must have shape \(2, 2\); got \(2,\)"),
    (thresholds, {"costs": [[0, 1], [np.inf, 0]]}, ValueError, "costs must be finite"),
    (thresholds, {"y": [[0, 0.5]] * 3}, ValueError, "y must hold 0 and 1, or NaN"),
    (ReliabilityDisplay.from_predictions, {"y": [0], "probabilities": [[1.0]], "n_bins": 0},
     ValueError, "n_bins=0 must be an integer >= 1"),
    (CoefficientDisplay.from_inference, {"result": "it"}, TypeError, "str has no features"),
    (CoefficientDisplay, {"coef": [[1]], "classes": ["a"], "lower": [[0]]}, ValueError, "together"),
    (CoefficientDisplay, {"coef": [[1]], "classes": ["a", "b", "c"]}, ValueError, "classes must"),
    (CoefficientDisplay, {"coef": [[1]], "classes": ["a"], "scale": [-1]}, ValueError, "scale mu"),
    (ProbabilityDisplay, {"values": [1], "probabilities": [[1, 0]], "classes": [0, 1],
                          "upper": [[1, 1]]}, ValueError, "lower and upper belong together"),
    (ClassRegionsDisplay, {"x": [0, 1], "y": [0, 1, 2], "probabilities": P22, "classes": [0, 1, 2]},
     ValueError, r"probabilities must have shape \(3, 2, n_classes\); got \(2, 2, 3\)"),
    (ClassRegionsDisplay, {"x": [0, 1], "y": [0, 1], "probabilities": P22, "classes": [0, 1, 2],
                           "answers": [[1, 0, 0]]}, ValueError, "points and answers belong tog"),
    (ClassRegionsDisplay, {"x": [0, 1, 3], "y": [0, 1], "probabilities": P22, "classes": [0, 1, 2]},
     ValueError, r"x=\[0.0, 1.0, 3.0\] must be two or more values that ascend in equal steps"),
    (ClassRegionsDisplay, {"x": [0, 1], "y": [1], "probabilities": P22, "classes": [0, 1, 2]},
     ValueError, "y=.* must be two or more values"),
    (curves, {"intervals": lambda rows: rows}, ValueError, "intervals must return .*'lower'"),
    (curves, {"intervals": lambda rows: {}}, ValueError, "intervals must return what .* in dict"),
    (curves, {"intervals": lambda rows: None}, ValueError, "intervals must return .* in NoneType"),
    (curves, {"intervals": lambda rows: {"lower": "a", "upper": "b"}}, ValueError, "intervals mu"),
    (dates, {"classes": "March"}, ValueError, "classes='March' .*are: '2021-03-01T00"),
    (ThresholdDisplay, {"thresholds": [0.5], "scores": {}, "classes": ["a"]}, TypeError, "scores="),
]  # fmt: skip


@pytest.mark.parametrize(("call", "given", "error", "message"), BAD)
def test_what_does_not_fit_is_named(call, given, error, message):
    """The message says which argument, what it is and what it must be."""
    with pytest.raises(error, match=message):
        call(**given)


def test_one_feature_has_no_regions_but_curves():
    """The message says what draws one."""
    model = SoftmaxRegression().fit(PETALS.iloc[:, :1], SPECIES)
    with pytest.raises(ValueError, match="X has 1: ProbabilityDisplay draws one"):
        ClassRegionsDisplay.from_estimator(model, PETALS.iloc[:, :1])
    display = ProbabilityDisplay.from_estimator(model, PETALS.iloc[:, :1], 0)
    assert display.held == {} and display.figure_.get_suptitle() == "Probability of each class"


def test_a_penalised_fit_without_intervals_says_so():
    """Of a sandwich about a shrunken estimate there are none: the inference's own message."""
    model = SoftmaxRegression().fit(FEW, GROWER)
    result = infer(model, FEW, GROWER, covariance="sandwich")
    with pytest.raises(ValueError, match="There is no interval"):
        CoefficientDisplay.from_inference(result)
