"""Native code of `graphexec.math`: free of branches, so LLVM inlines it into a loop and vectorises the loop.

A function is written once, over `Scalar` (`scalar`): a scalar whose Python operators emit LLVM instructions, in
float32 or float64 like its operand. There are no branches (`select` replaces them) and no conversions between
float64 and int64, which AVX2 lacks. A product and a sum are rounded together exactly where `fma` says so: the
instructions carry no fast-math flags whatever flags the calling loop has, because NaN, infinity and compensated sums
need their usual meaning. Polynomials are minimax fits (Remez's exchange in 60 digits) of the quantity named next to
them, lowest power first.

`numba_overloads.register` makes Numba use these functions wherever `graphexec.math` is called.
"""
