"""Checks that a source package has every file of the repository, a wheel every file of minicnn, and no other.

python .ci/contents.py dist/*
"""

import re
import subprocess
import sys
import tarfile
import zipfile

GENERATED = re.compile(r"PKG-INFO|setup\.cfg|minicnn\.egg-info/.*")  # by setuptools, in the source package
METADATA = re.compile(r"minicnn-[^/]+\.dist-info/.*")


def names(package: str) -> set[str]:
    """The files in a package, without the directory that all of a source package lies in."""
    if package.endswith(".whl"):
        with zipfile.ZipFile(package) as wheel:
            return {name for name in wheel.namelist() if not METADATA.fullmatch(name)}
    with tarfile.open(package) as source:
        files = [member.name.partition("/")[2] for member in source if member.isfile()]
    return {name for name in files if not GENERATED.fullmatch(name)}


def differences(package: str, tracked: set[str]) -> list[str]:
    """What is missing from a package, or should not be in it."""
    expected = {name for name in tracked if name.startswith("minicnn/") or not package.endswith(".whl")}
    found = names(package)
    missing = [f"{package}: {name} is missing" for name in sorted(expected - found)]
    return missing + [f"{package}: {name} should not be in it" for name in sorted(found - expected)]


def main() -> int:
    listing = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout
    tracked = set(listing.splitlines())
    wrong = [line for package in sys.argv[1:] for line in differences(package, tracked)]
    print("\n".join(wrong) or f"{len(sys.argv) - 1} packages have the files that they should have")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
