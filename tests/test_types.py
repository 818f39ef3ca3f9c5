"""Users' type checkers know the type of everything that is public."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn


@pytest.mark.long
def test_every_public_name_has_a_known_type(tmp_path):
    pytest.importorskip("pyright")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(minicnn.__file__).parents[1]), *sys.path])
    }
    command = [sys.executable, "-m", "pyright", "--verifytypes", "minicnn", "--ignoreexternal"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert "Type completeness score: 100%" in done.stdout, done.stdout
