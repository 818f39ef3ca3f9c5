"""Where the course lies, and its modules, which belong to no package."""

import importlib.util
from pathlib import Path

COURSE = Path(__file__).parent.parent / "notebooks"


def module(name):
    """A module of notebooks/, loaded anew."""
    spec = importlib.util.spec_from_file_location(name, COURSE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
