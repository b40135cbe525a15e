"""Nothing here is collected: the files are broken on purpose, and `tests/test_graphfile.py` loads them."""

collect_ignore_glob = ["plugins/*"]
