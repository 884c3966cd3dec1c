"""Which strength of the penalty."""
