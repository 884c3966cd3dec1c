"""Where the data are: no other folder asks whether rows are in memory, sparse or in chunks."""
