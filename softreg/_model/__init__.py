"""What is minimised: formulas only."""
