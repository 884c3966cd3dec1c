"""Where the data are: only these know."""
