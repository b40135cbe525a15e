"""The matrix product C = A B of the library: any strides, one compiled entry for each dtype.

    gemm(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces) -> 0

    C[m, n] = (C if accumulate else 0) + A[m, k] B[k, n] (+ bias[n] on every row, if `bias` is not 0)

Every argument is an int64. Addresses are plain integers; strides count elements. C is row-major with leading dimension
`ldc`. One stride of A and one of B is 1, or the dimension beside it has size 1, so all four transpositions are covered.
`work` is scratch of this thread: `Target.work_bytes` bytes, aligned to 64. k == 0 leaves (C +) bias.

Scheme (Goto and van de Geijn 2008; BLIS, Van Zee and van de Geijn 2015): k is cut into blocks of equal depth, a
function of k alone; columns into blocks whose packed panels fit the second-level cache; rows into blocks of register
tiles. An operand is packed where reading it in place would miss the cache, and read in place otherwise. A few rows use
wider register tiles, a few columns of an A by columns the transposed product, and so does a small C where turning it round
is less than packing a transposed B; one column of an A by rows, and few rows by a transposed B, are dot products along k.
A few last columns, which would take a vector of their own, are done beside the others in one of these ways. All of it is
LLVM IR (`driver`, `special_shapes`, `microkernels`, `packing`).

Threads: each calls with the same arguments but its own `piece` < `pieces` and its own `work`, and computes a rectangle
of C. k is never divided and each element has one chain of operations, so the bits of C do not depend on `pieces`.

The entry that kernels call takes one argument more: what is done to parts of C as they are finished, by the thread that
finished them (`loops.Loops.then`); 0 for nothing.
"""
