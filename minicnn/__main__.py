"""`python -m minicnn` and the program `minicnn`: see `minicnn.cli`."""

import atexit
import contextlib
import os
import sys


def run() -> int:
    """Run the command that the shell asked for, and return its exit code, which the process must end with."""
    codes: list[int] = []
    atexit.register(_end_at_once_if_stopped, codes)  # what is registered first is called last
    try:
        from minicnn.cli import main  # inside, so that Ctrl-C in the first moment is answered, too

        codes.append(main())
    except KeyboardInterrupt:
        codes.append(130)
    return codes[0]


def _end_at_once_if_stopped(codes: list[int]) -> None:
    """After a signal, do not wait until Python has freed all objects: a compiler leaves a million of them.

    Unless MPI is in use, which ends after that, by all processes together: mpiexec kills those that skip it.
    """
    if codes and codes[0] > 128 and "mpi4py" not in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # no stream, broken or closed
                stream.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    sys.exit(run())
