"""How predictions of held-out rows are scored, and what that chooses."""
