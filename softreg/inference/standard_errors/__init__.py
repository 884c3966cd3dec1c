"""Coefficients of a fit at its optimum, and their covariances."""
