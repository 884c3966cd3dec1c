"""softreg: multinomial (softmax) and multi-label (sigmoid) regression that reaches the optimum."""

from softreg._estimators.from_sklearn import from_sklearn
from softreg._estimators.regularization_path import RegularizationPath, regularization_path
from softreg._estimators.sigmoid import SigmoidRegression, SigmoidRegressionCV
from softreg._estimators.softmax import SoftmaxRegression, SoftmaxRegressionCV

__all__ = [
    "RegularizationPath",
    "SigmoidRegression",
    "SigmoidRegressionCV",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "from_sklearn",
    "regularization_path",
]
