"""Pictures of fitted models: what they predict, how well, and what their fits did.

In scikit-learn's Display style: a Display stores arrays, `plot` only draws them and returns the
Display, and `from_estimator` does both. Drawing needs matplotlib, the extra ``plot``.
"""

from softreg.display._calibration import ReliabilityDisplay, ThresholdDisplay
from softreg.display._class_regions import ClassRegionsDisplay
from softreg.display._coefficient_path import CoefficientPathDisplay
from softreg.display._coefficients import CoefficientDisplay
from softreg.display._loss_curve import LossCurveDisplay
from softreg.display._probabilities import ProbabilityDisplay
from softreg.display._score_curve import CVCurveDisplay

__all__ = [
    "CVCurveDisplay",
    "ClassRegionsDisplay",
    "CoefficientDisplay",
    "CoefficientPathDisplay",
    "LossCurveDisplay",
    "ProbabilityDisplay",
    "ReliabilityDisplay",
    "ThresholdDisplay",
]
