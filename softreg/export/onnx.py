"""Converters for skl2onnx, registered when this module is imported.

``skl2onnx.to_onnx`` and ``skl2onnx.convert_sklearn`` then take softreg's estimators, alone and
within pipelines. Its own converter of scikit-learn's LogisticRegression must not be registered for
them: of two classes it would take the softmax of one score for its sigmoid.
"""

from __future__ import annotations

import json
import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._encoding import validation
from softreg._estimators.base import feature_names, has_labels
from softreg.export.linear_model import ESTIMATORS, LinearModel, linear_model

try:
    from onnx import TensorProto
    from onnx.helper import set_model_props
    from skl2onnx import convert_sklearn, update_registered_converter
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
        guess_proto_type,
    )
    from skl2onnx.common.utils_classifier import get_label_classes
except ImportError as error:
    raise ImportError(
        "ONNX models need skl2onnx (the extra softreg[onnx]), which is not installed: "
        'python -m pip install "skl2onnx>=1.18".'
    ) from error

_DOUBLE = TensorProto.DOUBLE
# What may be asked of classifiers in skl2onnx: its own take the same.
_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "raw_scores": [True, False],
}


def converted(estimator: Any, dtype: np.dtype, target_opset: int | None) -> Any:
    """Return the ONNX model of one estimator, described by metadata."""
    kind = DoubleTensorType if dtype == np.float64 else FloatTensorType
    model = convert_sklearn(
        estimator,
        name=type(estimator).__name__,
        initial_types=[("X", kind([None, estimator.n_features_in_]))],
        target_opset=target_opset,
        options={id(estimator): {"zipmap": False}},
    )
    classes = (_column_names if has_labels(estimator) else _label_values)(estimator.classes_)
    names = {"classes": classes, "feature_names": feature_names(estimator)}
    set_model_props(model, {key: json.dumps(values.tolist()) for key, values in names.items()})
    return model


# ---- What skl2onnx calls -----------------------------------------------------------------------


def _set_output_types(operator: Any) -> None:
    """Say the types and shapes of the two outputs."""
    estimator, (label, probabilities) = operator.raw_operator, operator.outputs
    n, K = operator.inputs[0].get_first_dimension(), len(estimator.classes_)
    if has_labels(estimator):
        label.set_type(Int64TensorType([n, K]))
    else:
        classes = _label_values(get_label_classes(operator.scope_inst, estimator))
        label.set_type((StringTensorType if classes.dtype.kind == "U" else Int64TensorType)([n]))
    in_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    probabilities.set_type((DoubleTensorType if in_double else FloatTensorType)([n, K]))


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of one estimator."""
    estimator, (label, probabilities) = operator.raw_operator, operator.outputs
    model, graph = linear_model("to_onnx", estimator), _Graph(scope, container)
    columns = [graph.node("Cast", part.onnx_name, to=_DOUBLE) for part in operator.inputs]
    X = columns[0] if len(columns) == 1 else graph.node("Concat", *columns, axis=1)
    Z = graph.node("Add", graph.node("MatMul", X, graph.constant(model.W.T)), _row(graph, model.b))
    excess = graph.node("Sub", Z, _row(graph, model.cuts)) if np.any(model.cuts) else Z
    raw_scores = scope.get_options(estimator, {"raw_scores": False})["raw_scores"]
    P = Z if raw_scores else _probabilities(graph, model, Z)
    graph.node("Cast", P, to=guess_proto_type(probabilities.type), output=probabilities.onnx_name)
    if model.has_labels:
        is_above = graph.node("Greater", excess, graph.constant(np.zeros((1, 1))))
        graph.node("Cast", is_above, to=TensorProto.INT64, output=label.onnx_name)
    else:
        best = graph.node("ArgMax", excess, axis=1, keepdims=0)
        classes = graph.constant(_label_values(get_label_classes(scope, estimator)))
        graph.node("Gather", classes, best, axis=0, output=label.onnx_name)


for _estimator in ESTIMATORS:
    update_registered_converter(
        _estimator, f"Softreg{_estimator.__name__}", _set_output_types, _convert, options=_OPTIONS
    )


# ---- The graph ---------------------------------------------------------------------------------


class _Graph:
    """Adds nodes and constants to what skl2onnx collects, under names that are not taken."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def node(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        name = self._scope.get_unique_variable_name(op) if output is None else output
        label = self._scope.get_unique_operator_name(op)
        self._container.add_node(op, list(inputs), [name], name=label, **attributes)
        return name

    def constant(self, values: NDArray) -> str:
        """Add an array of doubles, integers or texts, and return its name."""
        name = self._scope.get_unique_variable_name("constant")
        kinds = {"f": _DOUBLE, "i": TensorProto.INT64, "U": TensorProto.STRING}
        items = values.ravel().tolist()
        if values.dtype.kind == "U":
            items = [item.encode() for item in items]
        self._container.add_initializer(name, kinds[values.dtype.kind], values.shape, items)
        return name


def _row(graph: _Graph, values: NDArray) -> str:
    return graph.constant(values[None])


def _probabilities(graph: _Graph, model: LinearModel, Z: str) -> str:
    """Return the name of the probabilities (n, K) of scores in double precision."""
    if model.link == "sigmoid":
        return graph.node("Sigmoid", Z)
    is_softmax = model.link == "softmax"
    return graph.node("Softmax", Z if is_softmax else _log_sigmoid(graph, Z), axis=1)


def _log_sigmoid(graph: _Graph, Z: str) -> str:
    """Return the name of min(z, 0) - log(1 + exp(-|z|)): runtimes have no Softplus of doubles."""
    e = graph.node("Exp", graph.node("Neg", graph.node("Abs", Z)))
    log = graph.node("Log", graph.node("Add", e, graph.constant(np.ones((1, 1)))))
    return graph.node("Sub", graph.node("Sub", Z, graph.node("Relu", Z)), log)


def _column_names(labels: NDArray) -> NDArray:
    """Return names of labels, whose values are 0 and 1: texts, unless all are whole numbers."""
    try:
        return _label_values(labels)
    except ValueError:
        return np.array([str(name) for name in labels.tolist()])


def _label_values(classes: NDArray) -> NDArray:
    """Return classes as ONNX has labels: texts, or whole numbers as int64."""
    items = classes.tolist()
    if all(isinstance(item, str) for item in items):
        return np.array(items)
    numbers_alone = all(isinstance(item, numbers.Real) for item in items)
    if numbers_alone and all(item == int(item) and abs(item) < 2**63 for item in items):
        return np.array(items, dtype=np.int64)
    raise ValueError(
        f"classes_={validation.shown(classes)} are no labels of ONNX, which has texts and whole "
        "numbers: fit y.astype(str), or numbers of the classes."
    )
