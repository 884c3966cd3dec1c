"""Fitted models outside of softreg: in scikit-learn, ONNX, JSON and SQL.

All of these hold what `predict` and `predict_proba` do, without offsets: where scores have a known
part, whoever predicts has to add it. Importing this module needs nothing but softreg's own
requirements; `to_onnx` needs skl2onnx, the extra ``onnx``. `TRUSTED_TYPES` are the types that
files of skops hold.
"""

from softreg.export.onnx_model import to_onnx
from softreg.export.saved import TRUSTED_TYPES, from_dict, to_dict
from softreg.export.scikit_learn import to_sklearn
from softreg.export.sql import to_sql

__all__ = ["TRUSTED_TYPES", "from_dict", "to_dict", "to_onnx", "to_sklearn", "to_sql"]
