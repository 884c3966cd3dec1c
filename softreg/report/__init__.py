"""The report of ``python -m softreg``: a table, its model on rows not seen, and warnings."""
