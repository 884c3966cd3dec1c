"""softreg: multinomial (softmax) and multi-label (sigmoid) regression that reaches the optimum."""

from softreg._sigmoid import SigmoidRegression
from softreg._softmax import SoftmaxRegression

__all__ = ["SigmoidRegression", "SoftmaxRegression"]
