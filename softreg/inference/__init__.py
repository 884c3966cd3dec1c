"""Inference from fitted models: what each row would be predicted without it.

>>> from sklearn.datasets import load_iris
>>> from softreg import SoftmaxRegression, inference
>>> X, y = load_iris(return_X_y=True)
>>> held_out = inference.loo(SoftmaxRegression().fit(X, y), X, y)
>>> held_out.probabilities.shape, held_out.leverage.shape
((150, 3), (150,))
"""

from softreg.inference.firth import FirthFit, firth
from softreg.inference.leave_one_out import LeaveOneOut, loo
from softreg.inference.separation import Separation, separation

__all__ = [
    "FirthFit",
    "LeaveOneOut",
    "Separation",
    "firth",
    "loo",
    "separation",
]
