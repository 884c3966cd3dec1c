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

# Files of pickle and skops name a class by its module: theirs stay readable where code moves.
for _estimator in (SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV):
    _estimator.__module__ = __name__
