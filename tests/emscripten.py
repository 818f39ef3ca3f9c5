"""Makes this process resemble Python in a browser (Pyodide): `import emscripten` first.

What has no build for browsers cannot be imported, `sys.platform` is "emscripten", and no process can be
started. `.ci/browser` is for a browser itself.
"""

import subprocess
import sys

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot
import numpy  # noqa: F401  these ask for the platform when they are imported

WITHOUT = ("numba", "llvmlite", "safetensors", "filelock", "tqdm", "scipy", "torch")
for name in list(sys.modules):
    if name.partition(".")[0] in WITHOUT:
        raise RuntimeError(f"{name} is imported already")
for name in WITHOUT:
    sys.modules[name] = None  # importing it raises ImportError


def no_processes(*args, **kwargs):
    """What Emscripten does when a process is to be started."""
    raise OSError(52, "emscripten does not support processes.")


subprocess.Popen.__init__ = no_processes
sys.platform = "emscripten"
