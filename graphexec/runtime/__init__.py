"""Runs programs: the compiled entry, the thread pool, and the choice of a number of threads."""
