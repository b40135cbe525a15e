"""Kernels: loops written as LLVM IR around the functions of ops, which Numba compiles."""
