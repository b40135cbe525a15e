"""Nothing in these folders is collected: the files are plugins, and `test_planted_faults.py` loads them."""

collect_ignore_glob = ["planted/*", "right/*"]
