"""softreg: multinomial (softmax) and multi-label (sigmoid) regression that reaches the optimum."""

from softreg._regularization_path import RegularizationPath, regularization_path
from softreg._sigmoid import SigmoidRegression
from softreg._sigmoid_cv import SigmoidRegressionCV
from softreg._softmax import SoftmaxRegression
from softreg._softmax_cv import SoftmaxRegressionCV

__all__ = [
    "RegularizationPath",
    "SigmoidRegression",
    "SigmoidRegressionCV",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "regularization_path",
]
