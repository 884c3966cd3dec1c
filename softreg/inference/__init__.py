"""Inference from fitted models: what each row would be predicted without it.

>>> from sklearn.datasets import load_iris
>>> from softreg import SoftmaxRegression, inference
>>> X, y = load_iris(return_X_y=True)
>>> held_out = inference.loo(SoftmaxRegression().fit(X, y), X, y)
>>> held_out.probabilities.shape, held_out.leverage.shape
((150, 3), (150,))
"""

from softreg.inference.infer import infer
from softreg.inference.influence import Influence, influence
from softreg.inference.leave_one_out import LeaveOneOut, loo
from softreg.inference.margins import Margins, margins
from softreg.inference.predictions import average_probabilities, predict_interval
from softreg.inference.result import Inference, MultiLabelInference
from softreg.inference.specification import independence, score_test
from softreg.inference.tests import TestResult, joint, likelihood_ratio, merge_test, wald

__all__ = [
    "Inference",
    "Influence",
    "LeaveOneOut",
    "Margins",
    "MultiLabelInference",
    "TestResult",
    "average_probabilities",
    "independence",
    "infer",
    "influence",
    "joint",
    "likelihood_ratio",
    "loo",
    "margins",
    "merge_test",
    "predict_interval",
    "score_test",
    "wald",
]
