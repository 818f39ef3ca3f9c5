"""Puts Python for the browser (Pyodide) together: the core, the packages of the course, minicnn itself.

    python docs/browser/collect.py CORE FILES WHEEL OUT

CORE is Pyodide's npm package, unpacked; it has the list of Pyodide's packages with their SHA-256. FILES is a
directory with these packages, from whatever place: a file that is not the one of that list is refused.
WHEEL is minicnn's. OUT gets what a web server must serve.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

CORE = ("pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
LOCK = "pyodide-lock.json"
# What the kernel of JupyterLite loads at its start, and what the notebooks import.
WANTED = ("micropip", "ssl", "sqlite3", "ipython", "jedi", "numpy", "matplotlib")


def with_dependencies(wanted: tuple[str, ...], packages: dict[str, Any]) -> dict[str, Any]:
    """The entries of the wanted packages and of all that they depend on."""
    found: dict[str, Any] = {}
    waiting = list(wanted)
    while waiting:
        name = waiting.pop().replace("_", "-")
        if name not in found:
            found[name] = packages[name]
            waiting += packages[name]["depends"]
    return found


def sha256(file: Path) -> str:
    """The digest of a file, as the list of packages has it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def entry_of(wheel: Path) -> dict[str, Any]:
    """minicnn's entry in the list: then `import minicnn` loads it."""
    name, version = wheel.name.split("-")[:2]
    return {
        "name": name,
        "version": version,
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": sha256(wheel),
        "package_type": "package",
        "imports": [name],
        "depends": ["numpy"],
        "unvendored_tests": False,
    }


def collect(core: Path, files: Path, wheel: Path, out: Path) -> None:
    """Write everything to `out`. Raises SystemExit if a package is missing or not the one of the list."""
    out.mkdir(parents=True)
    for name in CORE:
        shutil.copy(core / name, out)
    lock = json.loads((core / LOCK).read_text(encoding="utf-8"))
    lock["packages"] = with_dependencies(WANTED, lock["packages"])
    for entry in lock["packages"].values():
        file = files / entry["file_name"]
        if not file.is_file():
            raise SystemExit(f"{file.name} of Pyodide {lock['info']['version']} is not in {files}")
        if sha256(file) != entry["sha256"]:
            raise SystemExit(f"{file}: not the file that Pyodide's list names: another SHA-256")
        shutil.copy(file, out)
    shutil.copy(wheel, out)
    lock["packages"]["minicnn"] = entry_of(wheel)
    (out / LOCK).write_text(json.dumps(lock), encoding="utf-8")


if __name__ == "__main__":
    collect(*map(Path, sys.argv[1:]))
