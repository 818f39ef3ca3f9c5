"""Python runs this at its start where this directory is on PYTHONPATH: see `resemble.py`."""

import os

if "RESEMBLE" in os.environ:
    import resemble

    resemble.begin(os.environ["RESEMBLE"])
