"""Tests of coefficients, and of what a fit leaves out."""
