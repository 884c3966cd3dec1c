"""From probabilities to decisions: thresholds, other base rates, costs, and sets of classes.

>>> from sklearn.datasets import load_wine
>>> from sklearn.model_selection import train_test_split
>>> from softreg import SoftmaxRegression, calibration
>>> X, X_new, y, y_new = train_test_split(*load_wine(return_X_y=True), random_state=0)
>>> model = calibration.prior_shift(SoftmaxRegression().fit(X, y), [0.6, 0.3, 0.1])
>>> calibration.decide(model, X_new, [[0, 1, 1], [1, 0, 1], [5, 5, 0]]).shape
(45,)
>>> calibration.prediction_sets(model, X_new, y_new, coverage=0.8).predict(X_new).shape
(45, 3)
"""

from softreg.calibration.decisions import decide
from softreg.calibration.priors import PriorChange, prior_shift
from softreg.calibration.sets import PredictionSets, prediction_sets
from softreg.calibration.thresholds import tune_thresholds

__all__ = [
    "PredictionSets",
    "PriorChange",
    "decide",
    "prediction_sets",
    "prior_shift",
    "tune_thresholds",
]
