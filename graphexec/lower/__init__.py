"""From a function to a program: layout, buffers, kernels and their arguments, barriers."""
