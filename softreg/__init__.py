"""softreg: multinomial (softmax) logistic regression that reaches the optimum on raw data."""

from softreg._estimators import SoftmaxRegression

__all__ = ["SoftmaxRegression"]
