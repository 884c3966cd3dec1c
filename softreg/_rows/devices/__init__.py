"""Rows on a device, or in another library's arrays, as PyTorch's or CuPy's."""
