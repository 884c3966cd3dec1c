"""The same model for scikit-learn's LogisticRegression, wherever it stands: one table says how."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.utils.metadata_routing import UNUSED

from softreg._encoding import validation
from softreg._estimators.sigmoid import SigmoidRegression, SigmoidRegressionCV
from softreg._estimators.softmax import SoftmaxRegression, SoftmaxRegressionCV

# ---- The table: what becomes of each parameter -------------------------------------------------

Params = dict[str, Any]


class Answer(NamedTuple):
    """What becomes of a parameter: `says` it in Markdown, `becomes` returns softreg's parameters.

    `becomes` gets all parameters of the estimator; ValueError if they have no counterpart.
    """

    says: str
    becomes: Callable[[Params], Params]


def _same(name: str, says: str = "the same") -> Answer:
    return Answer(says, lambda params: {name: params[name]})


def _dropped(says: str) -> Answer:
    return Answer(f"dropped: {says}", lambda params: {})


def _C(params: Params) -> Params:
    return {"C": np.inf if params.get("penalty", "l2") is None else params["C"]}


def _Cs(params: Params) -> Params:
    Cs = [np.inf] if params.get("penalty", "l2") is None else params["Cs"]
    return {"Cs": np.logspace(-4, 4, Cs) if isinstance(Cs, numbers.Integral) else Cs}


def _l1_ratio(params: Params) -> Params:
    """Return l1_ratio, or of a CV class l1_ratios.

    The name of a penalty counts before the number; from 1.8 on there is none at the default.
    """
    penalty = params.get("penalty", "deprecated")
    given = params.get("l1_ratio", params.get("l1_ratios"))
    if isinstance(given, str) or (given is None and penalty != "elasticnet"):
        given = 0.0  # its default in the CV class, and in the other one
    ratio = {"l1": 1.0, "l2": 0.0, None: 0.0}.get(penalty, given)
    if "l1_ratios" in params:
        return {"l1_ratios": (ratio,) if np.isscalar(ratio) else ratio}
    return {"l1_ratio": ratio}


def _cv(params: Params) -> Params:
    return {"cv": 5 if params["cv"] is None else params["cv"]}


def _scoring(params: Params) -> Params:
    is_default = isinstance(params["scoring"], str) and params["scoring"] == "warn"
    return {"scoring": None if is_default else params["scoring"]}


def _refit(params: Params) -> Params:
    if not params["refit"]:
        raise ValueError(
            "refit=False averages the coefficients of the folds, which no penalty makes optimal: "
            "softreg's CV classes fit all rows at the C chosen; leave refit=True."
        )
    return {}


def _solver(params: Params) -> Params:
    if params["solver"] == "liblinear" and params["fit_intercept"]:
        raise ValueError(
            'solver="liblinear" with fit_intercept=True penalises the intercept, which softreg '
            "never does: take another solver of scikit-learn, or fit_intercept=False."
        )
    return {}


def _multi_class(params: Params) -> Params:
    if params["multi_class"] not in ("auto", "deprecated"):
        raise ValueError(
            f"multi_class={validation.shown(params['multi_class'])} is another model: leave it "
            'out for softmax ("multinomial" halves the penalty where there are two classes: '
            'double C for that); for "ovr" convert OneVsRestClassifier(LogisticRegression(...)).'
        )
    return {}


# Each parameter of LogisticRegression and LogisticRegressionCV, of any version from 1.6 on.
TABLE: dict[str, Answer] = {
    "C": Answer("the same; `penalty=None` becomes `C=np.inf`", _C),
    "Cs": Answer("the same, also `np.inf`; an integer becomes as many from 1e-4 to 1e4", _Cs),
    "penalty": Answer(
        '`"l2"` becomes `l1_ratio=0`, `"l1"` `l1_ratio=1`, `"elasticnet"` the `l1_ratio` beside '
        "it, `None` `C=np.inf`",
        _l1_ratio,
    ),
    "l1_ratio": Answer("the same, unless `penalty` is a name that makes it 0 or 1", _l1_ratio),
    "l1_ratios": Answer("the same, unless `penalty` is a name that makes them 0 or 1", _l1_ratio),
    "fit_intercept": _same("fit_intercept"),
    "class_weight": _same(
        "class_weight", "the same; a dict within one of the wrappers above is an error"
    ),
    "warm_start": _same("warm_start"),
    "verbose": _same("verbose"),
    "cv": Answer("the same; `None` becomes 5", _cv),
    "scoring": Answer('the same, `None` being accuracy; `"warn"` becomes `None`', _scoring),
    "refit": Answer("`True` is what softreg does; `False` is an error", _refit),
    "solver": Answer(
        'dropped: all reach the same optimum, except `"liblinear"` with an intercept, which it '
        "penalises: an error",
        _solver,
    ),
    "multi_class": Answer(
        'dropped if `"auto"`; `"multinomial"` and `"ovr"` are errors that say what to write',
        _multi_class,
    ),
    "tol": _dropped("softreg's default proves 1e-8"),
    "max_iter": _dropped("softreg's default ends no fit on real data"),
    "n_jobs": _dropped("softreg's threads are those that BLAS may use"),
    "dual": _dropped("it has the same optimum"),
    "intercept_scaling": _dropped('it matters to `"liblinear"` with an intercept alone'),
    "random_state": _dropped("nothing is drawn"),
    "use_legacy_attributes": _dropped("the fitted attributes are softreg's"),
}

# ---- One estimator -----------------------------------------------------------------------------

_ONE_CLASS_A_ROW: dict[type, Any] = {
    LogisticRegression: SoftmaxRegression,
    LogisticRegressionCV: SoftmaxRegressionCV,
}
_LABELS: dict[type, Any] = {
    LogisticRegression: SigmoidRegression,
    LogisticRegressionCV: SigmoidRegressionCV,
}
_ONE_MODEL_A_LABEL = (OneVsRestClassifier, MultiOutputClassifier)


def from_sklearn(estimator: Any) -> Any:
    """Return the unfitted softreg estimator that minimises the same objective.

    `LogisticRegression` becomes `SoftmaxRegression`, `LogisticRegressionCV` (its grid of C, its
    accuracy as score) `SoftmaxRegressionCV`; ``OneVsRestClassifier`` and ``MultiOutputClassifier``
    of one become `SigmoidRegression`, or `SigmoidRegressionCV` with a C per label. So do those
    within pipelines, column transformers, searches, calibrators, ensembles: the names of steps
    stay, and those of a grid, except that ``ovr__estimator__C`` becomes ``ovr__C``. The guide has a
    table of all parameters.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Fitted or not; it is not touched. Strengths, weights and requests of metadata are kept;
        `solver`, `tol`, `max_iter`, `n_jobs` and the callbacks of a LogisticRegression are dropped.

    Returns
    -------
    converted : estimator
        A clone in which every such classifier is softreg's.

    Raises
    ------
    ValueError
        If a parameter has no counterpart: a penalised intercept (``solver="liblinear"``), weights
        of classes as a dict within ``OneVsRestClassifier``, a search over `penalty`, `solver` or
        what is dropped.
    TypeError
        If `estimator` holds none of these classifiers, or a class derived from them.

    Notes
    -----
    `SigmoidRegression.predict_proba` has the form of ``OneVsRestClassifier``: (n_samples,
    n_classes), for labels a probability each, for one class a row rows that sum to 1.
    ``MultiOutputClassifier`` returns a list with an (n_samples, 2) array per label instead, whose
    columns ``[:, 1]`` are softreg's columns.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from softreg import from_sklearn
    >>> from_sklearn(make_pipeline(StandardScaler(), LogisticRegression(C=3, solver="saga")))
    Pipeline(steps=[('standardscaler', StandardScaler()),
                    ('logisticregression', SoftmaxRegression(C=3))])
    """
    if not _is_estimator(estimator):
        raise TypeError(f"from_sklearn takes an estimator of scikit-learn; {estimator!r} is none.")
    unfitted = clone(estimator)
    converted = _converted(unfitted)
    if converted is unfitted:
        raise TypeError(
            f"{type(estimator).__name__} holds no LogisticRegression or LogisticRegressionCV that "
            "from_sklearn could convert."
        )
    return converted


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _has_counterpart(value: Any) -> bool:
    """Return whether a softreg estimator takes the place of this one as a whole."""
    inner = value.estimator if type(value) in _ONE_MODEL_A_LABEL else value
    return type(inner) in _ONE_CLASS_A_ROW


def _counterpart(value: Any) -> Any:
    """Return the softreg estimator of one that has a counterpart."""
    per_label = type(value) in _ONE_MODEL_A_LABEL
    inner = value.estimator if per_label else value
    if per_label and isinstance(inner.class_weight, Mapping):
        raise ValueError(
            f"class_weight={validation.shown(inner.class_weight)} within {type(value).__name__} "
            "weighs what each label is; softreg's weights go by label: pass "
            "SigmoidRegression(class_weight={label: weight of the rows that have it}), or "
            '"balanced".'
        )
    params = inner.get_params(deep=False)
    made: Params = {}
    for name in params:
        made |= _answer_for(inner, name).becomes(params)
    if per_label and isinstance(inner, LogisticRegressionCV):
        made["per_label"] = True
    converted = (_LABELS if per_label else _ONE_CLASS_A_ROW)[type(inner)](**made)
    _copy_requests(inner, converted)
    return converted


def _answer_for(estimator: Any, name: str) -> Answer:
    """Return the table's answer; ValueError if it has none, of a version that came later."""
    if name in TABLE:
        return TABLE[name]
    value, kind = getattr(estimator, name), type(estimator)
    default = inspect.signature(kind).parameters[name].default
    if repr(value) == repr(default):
        return _dropped("at its default")
    raise ValueError(
        f"{kind.__name__}({name}={validation.shown(value)}): this version of softreg does not "
        f"know {name!r}; leave it at its default."
    )


def _copy_requests(source: BaseEstimator, target: Any) -> None:
    """Ask for the metadata that `source` asks for, with metadata routing enabled only."""
    if not get_config()["enable_metadata_routing"]:
        return
    # Of the estimator itself; LogisticRegressionCV would answer for its splitter and scorer too.
    routing = BaseEstimator.get_metadata_routing(source)
    for method in ("fit", "score"):
        requests = getattr(routing, method).requests
        asked = {name: alias for name, alias in requests.items() if alias not in (None, UNUSED)}
        if asked:
            getattr(target, f"set_{method}_request")(**asked)


# ---- Estimators within others ------------------------------------------------------------------


def _converted(value: Any) -> Any:
    """Return what `value` becomes with all within converted, or itself if there is nothing."""
    if isinstance(value, list | tuple):
        items = [_converted(item) for item in value]
        unchanged = all(new is old for new, old in zip(items, value, strict=True))
        return value if unchanged else items if isinstance(value, list) else tuple(items)
    if not _is_estimator(value):
        return value
    if _has_counterpart(value):
        return _counterpart(value)
    if isinstance(value, LogisticRegression):
        raise TypeError(
            f"{type(value).__name__} is derived from LogisticRegression, and from_sklearn does not "
            "know what it changes: derive it from SoftmaxRegression."
        )
    params = value.get_params(deep=False)
    new = {name: _converted(param) for name, param in params.items()}
    new |= _search_space(params) | _selection_threshold(value, new)
    changed = {name: param for name, param in new.items() if param is not params[name]}
    if changed and isinstance(value, FrozenEstimator):
        raise ValueError(
            f"{value!r} holds a fitted model, which from_sklearn does not fit again: fit the "
            "softreg estimator, and freeze that."
        )
    return clone(value).set_params(**changed) if changed else value


def _selection_threshold(value: Any, new: Params) -> Params:
    """Return the default threshold of a SelectFromModel over a lasso, which it knows by its class.

    `new` are the converted parameters.
    """
    over_lasso = isinstance(value, SelectFromModel) and type(value.estimator) is LogisticRegression
    if over_lasso and value.threshold is None and new["estimator"].l1_ratio == 1:
        return {"threshold": 1e-5}
    return {}


def _search_space(params: Params) -> Params:
    """Return the parameters of a search that name parameters of its estimator, translated."""
    grid_names = {"param_grid", "param_distributions"} & params.keys()
    if not grid_names or "estimator" not in params:
        return {}
    root = params["estimator"]
    new = {name: _translated_grid(root, params[name]) for name in grid_names}
    if params.get("resource", "n_samples") != "n_samples":  # halving a parameter's value
        new["resource"] = _translated_entry(root, {}, params["resource"], [])[0]
    return new


def _translated_grid(root: Any, grid: Any) -> Any:
    """Return a grid, or list of grids, for the converted estimator; itself if it needs no change.

    `root` is the estimator that is searched, before it is converted.
    """
    if not isinstance(grid, Mapping):
        grids = [_translated_grid(root, one) for one in grid]
        return grid if all(map(lambda new, old: new is old, grids, grid)) else grids
    entries = {key: _translated_entry(root, grid, key, values) for key, values in grid.items()}
    if all(new is key and values is grid[key] for key, (new, values) in entries.items()):
        return grid
    return dict(entries.values())


def _translated_entry(root: Any, grid: Mapping, key: str, values: Any) -> tuple[str, Any]:
    """Return a parameter's new name and values, or distribution; ValueError if it has none."""
    is_distribution = hasattr(values, "rvs")
    tried = [values.rvs(random_state=0)] if is_distribution else list(values)
    found = [_translated_values(*place, tried) for place in _places(root, grid, key)]
    new_key, translated = found[0] if found else (key, tried)
    agree = all(repr(other) == repr(found[0]) for other in found)
    if not agree or (is_distribution and repr(translated) != repr(tried)):
        raise ValueError(
            f"The search varies {key!r}, whose values {validation.shown(tried)} would have to "
            f"become {validation.shown(found)}, which one search cannot say: write it with "
            "softreg's estimators."
        )
    unchanged = all(new is old for new, old in zip(translated, tried, strict=True))
    return new_key, values if is_distribution or unchanged else translated


def _places(root: Any, grid: Mapping, key: str) -> Iterator[tuple[str, Any, str]]:
    """Yield where a parameter of a search is set: (prefix, estimator, name) with key their join.

    The estimator is the first on the way that has a counterpart, else the one whose parameter it
    is. A grid may replace a step: then there is a place in each estimator that stands in for it.
    """
    replaced = [name for name in grid if key.startswith(f"{name}__")]
    start = max(replaced, key=len, default="")
    for candidate in grid[start] if start else [root]:
        prefix, name = (f"{start}__", key.removeprefix(f"{start}__")) if start else ("", key)
        while "__" in name and not _has_counterpart(candidate) and _is_estimator(candidate):
            step, _, name = name.partition("__")
            prefix, candidate = f"{prefix}{step}__", candidate.get_params().get(step)
        yield prefix, candidate, name


def _translated_values(
    prefix: str, estimator: Any, name: str, values: list[Any]
) -> tuple[str, list[Any]]:
    """Return the new name of a parameter of `estimator`, and what its values become."""
    if not _has_counterpart(estimator):
        return prefix + name, [_converted(value) for value in values]
    is_wrapped = type(estimator) in _ONE_MODEL_A_LABEL
    own = name.removeprefix("estimator__") if is_wrapped else name
    params = (estimator.estimator if is_wrapped else estimator).get_params(deep=False)
    became = TABLE[own].becomes(params) if own in TABLE and is_wrapped == (own != name) else {}
    if own not in became:
        remedy = f"search over {', '.join(became)}" if became else "take it out of the search"
        raise ValueError(
            f"The search varies {prefix + name!r}, which has no counterpart in softreg: {remedy}."
        )
    tried = (clone(estimator).set_params(**{name: value}) for value in values)
    return prefix + own, [getattr(_counterpart(model), own) for model in tried]
