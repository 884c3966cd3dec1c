"""Probabilities: what features change in them, and how sure they are."""
