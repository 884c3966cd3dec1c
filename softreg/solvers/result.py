"""The record that every solver returns."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray

from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore


@dataclass(frozen=True, eq=False)
class Result:
    """Where a solver ended, and what it says of that.

    Attributes
    ----------
    coef : ndarray of shape (d, K), in the user's units
    intercept : ndarray of shape (K,)
    objective : ndarray of shape (B,), each problem's part of F
    gap : ndarray of shape (B,), a bound on F - F*; inf if a feature that varies has no penalty
    n_iter : int
    converged : ndarray of shape (B,) of bool, whether the one stopping rule was met (`Monitor`)
    message : str, what happened and what to change
    stopped : bool, whether the fit ended where the user said: by a callback or number of epochs
    diverging : tuple of int, the scores that grow without end (separated classes, no penalty)
    loss_curve : ndarray of shape (n_iter,), F after each iteration
    validation_curve : ndarray of shape (n_iter,) or None, the mean loss of rows held out
    """

    coef: Coef
    intercept: PerScore
    objective: PerProblem
    gap: PerProblem
    n_iter: int
    converged: Mask
    message: str
    stopped: bool
    diverging: tuple[int, ...]
    loss_curve: NDArray
    validation_curve: NDArray | None = None
