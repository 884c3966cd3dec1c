"""Fitted models as values of JSON, which run no code when they are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from softreg._encoding import penalty_checks, validation
from softreg._encoding.class_values import column_of, distinct_with_codes, missing
from softreg.export.json_values import from_json, to_json
from softreg.export.linear_model import ESTIMATORS, SIGMOID_ESTIMATORS, check_exportable
from softreg.export.parameter_checks import check_parameters

# What skops asks its users to trust in files of softreg's fitted estimators: none of these runs
# anything when it is loaded. The names are in the files, so they stay what they are.
TRUSTED_TYPES = (
    "scipy.sparse._csr.csr_array",  # coefficients after `sparsify`
    "softreg.SigmoidRegression",
    "softreg.SigmoidRegressionCV",
    "softreg.SoftmaxRegression",
    "softreg.SoftmaxRegressionCV",
    "softreg.solvers.LBFGS",
    "softreg.solvers.MiniBatch",
    "softreg.solvers.Newton",
    "softreg.solvers.ProximalNewton",
)

_FORMAT, _VERSION = "softreg", 1
_KEYS = {"format", "version", "estimator", "parameters", "fitted"}
_PREDICTING = {"classes_", "coef_", "intercept_", "n_features_in_"}
_OF_LABELS = {"multilabel_", "sparse_output_"}
# Written where they are there: names of columns, the certificate, and what was chosen. Not written
# are the tables and paths of CV classes, the solver that ran, and the state of a stream.
_DESCRIBING = {
    "C_",
    "class_prior_",
    "converged_",
    "feature_names_in_",
    "l1_ratio_",
    "label_objective_",
    "label_optimality_gap_",
    "label_proven_",
    "loss_curve_",
    "n_iter_",
    "n_samples_seen_",
    "objective_",
    "optimality_gap_",
    "proven_",
    "validation_curve_",
}


def to_dict(estimator: Any) -> dict[str, Any]:
    """Return a fitted estimator as values of JSON, for ``json.dump``.

    They hold no code, and `from_dict` reads them back to the bit, in this version of softreg and in
    later ones. Strict JSON has no infinity: ``json.dump(..., allow_nan=False)`` is fine.

    Parameters
    ----------
    estimator : SoftmaxRegression, SoftmaxRegressionCV, SigmoidRegression or SigmoidRegressionCV
        A fitted one. After `sparsify` its coefficients are written, and read, as arrays.

    Returns
    -------
    saved : dict
        "format" and "version" of the form, the "estimator", its "parameters", and what was
        "fitted": what predictions are made of, the certificate and loss curve, and what
        cross-validation chose. The tables and paths of CV classes, `solver_` and what continues a
        stream are not part of it.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Before `fit`.
    TypeError
        If `estimator` is not one of softreg's, or if a parameter or class is no value: functions,
        splitters, random generators, Decimals. (Solvers are written with their options; so are
        texts, numbers, dates of NumPy, tuples, arrays, dicts and Series.)
    ValueError
        If a parameter that was set after `fit` is none that it takes.

    Examples
    --------
    >>> import json
    >>> from softreg import SoftmaxRegression
    >>> from softreg.export import from_dict, to_dict
    >>> model = SoftmaxRegression().fit([[0.0], [1.0], [2.0]], ["no", "no", "yes"])
    >>> text = json.dumps(to_dict(model))
    >>> from_dict(json.loads(text)).predict([[5.0]])
    array(['yes'], dtype='<U3')
    """
    check_exportable("to_dict", estimator)
    names = sorted((_PREDICTING | _OF_LABELS | _DESCRIBING) & vars(estimator).keys())
    fitted = {name: getattr(estimator, name) for name in names}
    fitted["coef_"], fitted["intercept_"] = estimator._dense_coef, estimator._dense_intercept
    parameters = {
        name: _without_index(name, value)
        for name, value in estimator.get_params(deep=False).items()
    }
    remedy = "set_params({}=...) on a copy of the estimator changes no prediction"
    saved = {
        "format": _FORMAT,
        "version": _VERSION,
        "estimator": type(estimator).__name__,
        "parameters": _written(parameters, remedy),
        "fitted": _written(fitted, "fit y.astype(str) for other classes"),
    }
    check_parameters(estimator)
    return saved


def from_dict(saved: dict[str, Any]) -> Any:
    """Return the fitted estimator that `to_dict` has written.

    Whatever `saved` holds, nothing of it is run: it is read as numbers, texts and names of softreg.

    Parameters
    ----------
    saved : dict
        As `to_dict` returned it, or as ``json.load`` reads it.

    Returns
    -------
    estimator : SoftmaxRegression, SoftmaxRegressionCV, SigmoidRegression or SigmoidRegressionCV
        Fitted. Parameters that it has and `saved` lacks, of later versions, have their defaults.

    Raises
    ------
    ValueError
        If `saved` is not of this form, of a version that this softreg does not know, if its
        coefficients, classes and columns do not fit together, or if a parameter is none that `fit`
        takes.

    Examples
    --------
    >>> from softreg import SoftmaxRegression
    >>> from softreg.export import from_dict, to_dict
    >>> saved = to_dict(SoftmaxRegression(C=3).fit([[0.0], [1.0], [2.0]], [0, 0, 1]))
    >>> from_dict(saved)
    SoftmaxRegression(C=3)
    """
    _check_form(saved)
    kinds = {kind.__name__: kind for kind in ESTIMATORS}
    name = saved["estimator"]
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"the estimator {validation.shown(name)} is none of {sorted(kinds)}.")
    kind, parameters, attributes = kinds[name], saved["parameters"], saved["fitted"]
    needed = _PREDICTING | (_OF_LABELS if kind in SIGMOID_ESTIMATORS else set())
    _check_names("parameters", parameters, set(), set(kind().get_params(deep=False)))
    _check_names("fitted", attributes, needed, needed | _DESCRIBING)
    estimator = kind(**_read(parameters))
    estimator._store(_checked_attributes(_read(attributes)))
    check_parameters(estimator)
    return estimator


def _without_index(name: str, value: Any) -> Any:
    """Return a Series as a dict by column name, or values in order, as `fit` takes it."""
    if not hasattr(value, "iloc"):
        return value
    by_name = name in ("l1_groups", "penalty_factor") and penalty_checks.is_by_name(value)
    return dict(value.items()) if by_name else column_of(value)


def _written(values: dict[str, Any], remedy: str) -> dict[str, Any]:
    """Return values by name as JSON has them; TypeError with the name of one that it has not."""
    written = {}
    for name, value in values.items():
        try:
            written[name] = to_json(value)
        except TypeError as error:
            message = f"{name} holds {error}, which JSON has not: {remedy.format(name)}."
            raise TypeError(message) from error
    return written


def _read(values: dict[str, Any]) -> dict[str, Any]:
    """Return values by name; ValueError with the name of one that is of no form."""
    read = {}
    for name, value in values.items():
        try:
            read[name] = from_json(value)
        except (ValueError, RecursionError) as error:  # the latter of lists in lists in lists ...
            raise ValueError(f"{name} is no value that to_dict writes: {error}.") from error
    return read


def _check_form(saved: Any) -> None:
    """Raise a ValueError unless `saved` is a model, of the version that this softreg reads."""
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        raise ValueError(
            f"saved={str(saved)[:200]} is no model of softreg: pass what to_dict returned, or what "
            "json.load reads of it."
        )
    version = saved.get("version")
    if type(version) is not int or version != _VERSION:
        raise ValueError(
            f"saved is of version {validation.shown(version)}, and this softreg reads {_VERSION}: "
            "install a newer one."
        )
    _check_names("saved", saved, _KEYS, _KEYS)


def _check_names(what: str, values: Any, needed: Iterable[str], known: set[str]) -> None:
    """Raise a ValueError unless a dict has the names that are needed, and none that is unknown."""
    if not isinstance(values, dict):
        raise ValueError(f"{what} must be a dict, got {str(values)[:200]}.")
    missing, unknown = sorted(set(needed) - values.keys()), sorted(values.keys() - known, key=str)
    if missing or unknown:
        raise ValueError(
            f"{what} lacks {missing}, and has {unknown}, which this version does not know: it is "
            "incomplete, or of a later softreg."
        )


def _checked_attributes(fitted: dict[str, Any]) -> dict[str, Any]:
    """Return fitted attributes that predictions can be made of; ValueError if they cannot."""
    W, b, classes = fitted["coef_"], fitted["intercept_"], fitted["classes_"]
    d, names = fitted["n_features_in_"], fitted.get("feature_names_in_")
    for name in {"coef_", "intercept_", "classes_", "feature_names_in_"} & fitted.keys():
        if not isinstance(fitted[name], np.ndarray):
            raise ValueError(f"{name} must be an array.")
    for name, value in (("coef_", W), ("intercept_", b)):
        if value.dtype != np.float64 or np.isnan(value).any():
            raise ValueError(f"{name} must be of float64, and without NaN.")
    if np.isinf(W).any():
        raise ValueError("coef_ must be finite.")
    validation.check_shape("classes_", classes, "K")
    has_labels = fitted.get("multilabel_", False)
    is_missing = missing(classes).size and not has_labels  # columns of labels may have any name
    if is_missing or len(distinct_with_codes(classes)[0]) < len(classes):
        shown = validation.shown(classes)
        raise ValueError(f"classes_={shown} must be different, and none missing.")
    rows = 1 if len(classes) == 2 and not has_labels else len(classes)
    if type(d) is not int or d < 1:
        raise ValueError(f"n_features_in_={validation.shown(d)} must be an integer >= 1.")
    validation.check_shape("coef_", W, rows, d)
    validation.check_shape("intercept_", b, rows)
    if names is not None:
        validation.check_shape("feature_names_in_", names, d)
        if not all(isinstance(name, str) for name in names.tolist()):
            raise ValueError(f"feature_names_in_={validation.shown(names)} must be texts.")
    if (priors := fitted.get("class_prior_")) is not None:
        validation.check_shape("class_prior_", np.asarray(priors), "K")
    for name in _OF_LABELS & fitted.keys():
        validation.check_flag(name, fitted[name])
    if fitted.get("sparse_output_", False) and not has_labels:
        raise ValueError("sparse_output_=True needs multilabel_=True: classes are never sparse.")
    return fitted
