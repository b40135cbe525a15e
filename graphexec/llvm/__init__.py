"""What is emitted as LLVM IR, and how it is compiled, cached and loaded."""
