"""Runs programs: the compiled entry, the thread pool, and how many threads to use."""
