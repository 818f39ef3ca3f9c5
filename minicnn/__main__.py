"""`python -m minicnn` and the program `minicnn`: see `minicnn.cli`."""

import sys


def run() -> int:
    """Run the command that the shell asked for, and return its exit code."""
    try:
        from minicnn.cli import main  # inside, so that Ctrl-C in the first moment is answered, too

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run())
