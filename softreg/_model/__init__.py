"""What is minimised: formulas, in terms of sums over rows, wherever the rows are."""
