"""Linear algebra of the solvers."""
