"""Pictures of fitted models: scores and coefficients against C, the loss against iterations.

In scikit-learn's Display style: a Display stores arrays, `plot` only draws them and returns the
Display, and `from_estimator` does both. Drawing needs matplotlib, the extra ``plot``.
"""

from softreg.display._coefficient_path import CoefficientPathDisplay
from softreg.display._loss_curve import LossCurveDisplay
from softreg.display._score_curve import CVCurveDisplay

__all__ = ["CVCurveDisplay", "CoefficientPathDisplay", "LossCurveDisplay"]
