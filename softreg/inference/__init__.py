"""Inference from fitted models: standard errors, tests, margins, and which rows matter.

>>> import numpy as np
>>> from sklearn.datasets import load_wine
>>> from softreg import SoftmaxRegression, inference
>>> X, y = load_wine(return_X_y=True, as_frame=True)
>>> X = X[["ash", "magnesium"]]
>>> result = inference.infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
>>> result.p.shape, inference.joint(result)["df"].tolist()
((3, 2), [2, 2])
"""

from softreg.inference.firth import FirthFit, firth
from softreg.inference.hypotheses.coefficient_tests import (
    TestResult,
    joint,
    likelihood_ratio,
    merge_test,
    wald,
)
from softreg.inference.hypotheses.specification import independence, score_test
from softreg.inference.infer import infer
from softreg.inference.influence import Influence, influence
from softreg.inference.leave_one_out import LeaveOneOut, loo
from softreg.inference.multi_label import MultiLabelInference
from softreg.inference.probabilities.margins import Margins, margins
from softreg.inference.probabilities.predictions import average_probabilities, predict_interval
from softreg.inference.result import Inference
from softreg.inference.separation import Separation, separation

__all__ = [
    "FirthFit",
    "Inference",
    "Influence",
    "LeaveOneOut",
    "Margins",
    "MultiLabelInference",
    "Separation",
    "TestResult",
    "average_probabilities",
    "firth",
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
    "separation",
    "wald",
]
