"""The matrix product C = A B: any strides, one compiled entry for each dtype.

    gemm(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces) -> 0

    C[m, n] = (C if accumulate else 0) + A[m, k] B[k, n] (+ bias[n] on every row, if `bias` is not 0)

Every argument is an int64. Addresses are plain integers; strides count elements. C is row-major with leading dimension `ldc`. One
stride of A and one of B is 1, or the dimension next to it has size 1, so all four transpositions are covered. `work` is scratch
memory of this thread: `Target.work_bytes` bytes, aligned to 64. If k is 0, the sum of products is 0.

Scheme (Goto and van de Geijn 2008; BLIS, Van Zee and van de Geijn 2015): k is cut into passes of equal depth, a function of k
alone; columns into blocks whose packed panels fit the second-level cache; rows into blocks of register tiles (`blocked`). An
operand is packed if reading it in place would miss the cache, and read in place otherwise.

Special shapes have ways of their own (`Driver.ways`, `special_shapes`). A few rows use wider register tiles. A few columns of an A
by columns use the transposed product. A small C does too, if transposing it is less work than packing a transposed B. One column of
an A by rows, and a few rows by a transposed B, are dot products along k. A few last columns that would need a vector of their own
are computed apart from the others. A k over `Target.deep` is cut into slabs; their rounding errors are added apart (`deep`).
All of it is LLVM IR (`driver`, `blocked`, `deep`, `special_shapes`, `microkernels`, `packing`).

Threads: each calls with the same arguments except its own `piece` < `pieces` and its own `work`, and computes a rectangle of C. k
is never divided among threads, and the order of the operations for an element does not depend on `pieces`, nor do its bits.

The entry that kernels call takes one more argument: the address of an epilogue, which the thread that finishes a part of C runs on
it (`Loops.epilogue`), or 0.
"""
