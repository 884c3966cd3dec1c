"""A fitted estimator as an ONNX model: softreg.export.onnx, where skl2onnx is imported."""

from __future__ import annotations

from typing import Any

import numpy as np

from softreg.export.linear_model import check_exportable


def to_onnx(estimator: Any, *, dtype: Any = np.float64, target_opset: int | None = None) -> Any:
    """Return an ONNX model that predicts as a fitted estimator does.

    Its input is "X" (n_samples, n_features), its outputs are "label" and "probabilities": the class
    of each row, (n_samples,), or 0 and 1 for each label, (n_samples, n_labels), and the
    probabilities in the order of `classes_`. Thresholds count, as in `predict`.

    Parameters
    ----------
    estimator : SoftmaxRegression, SoftmaxRegressionCV, SigmoidRegression or SigmoidRegressionCV
        A fitted one.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        The type of "X" and of the probabilities. Whatever it is, scores are computed in double
        precision, as softreg does, so that columns may be as far from zero as float32 can tell
        their values apart.
    target_opset : int, default=None
        The version of ONNX's operators to write, for older runtimes. None is skl2onnx's.

    Returns
    -------
    model : onnx.ModelProto
        ``model.SerializeToString()`` is the file. Its `metadata_props` are "classes" and
        "feature_names", lists in JSON.

    Raises
    ------
    ImportError
        If skl2onnx is not installed, the extra ``softreg[onnx]``.
    sklearn.exceptions.NotFittedError
        Before `fit`.
    TypeError
        If `estimator` is not one of softreg's.
    ValueError
        If `dtype` is another type, or if classes are neither texts nor whole numbers, the labels
        that ONNX has.

    Notes
    -----
    Importing ``softreg.export.onnx`` registers converters with skl2onnx, so that
    ``skl2onnx.to_onnx(pipeline, X)`` converts pipelines and searches that hold softreg's
    estimators. Offsets are not part of the model, and rows with NaN have NaN probabilities and a
    label that means nothing, where softreg raises an error.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softreg import SoftmaxRegression
    >>> from softreg.export import to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> model = to_onnx(SoftmaxRegression().fit(X, y))
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    """
    from softreg.export.onnx import converted

    check_exportable("to_onnx", estimator)
    if dtype not in (np.float64, np.float32, "float64", "float32"):
        raise ValueError(f"dtype={dtype!r} must be numpy.float64 or numpy.float32.")
    return converted(estimator, np.dtype(dtype), target_opset)
