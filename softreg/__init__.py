"""softreg."""
