"""``python -m graphexec``: the command line."""

from graphexec.cli import main

if __name__ == "__main__":
    main()
