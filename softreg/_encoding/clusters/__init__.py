"""Rows of Dask collections: their partitions, checked and encoded on the workers."""
