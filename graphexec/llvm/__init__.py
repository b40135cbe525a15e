"""LLVM: compiles IR to object code, caches it and loads it."""
