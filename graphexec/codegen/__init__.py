"""The loops of kernels as LLVM IR, around what Numba compiles of an op."""
