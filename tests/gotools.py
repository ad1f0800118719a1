"""Go programs that judge us, built once into the cache; tests that need them are skipped by name where Go is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edged-judges"


def built(module: str, version: str) -> Path:
    """The program of a Go module at a version. Skips the test when there is no Go; a build that fails is an error."""
    if shutil.which("go") is None:
        pytest.skip(f"{module} needs Go")
    folder = CACHE / f"{module.replace('/', '_')}@{version}"
    program = folder / module.rpartition("/")[2]
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["go", "install", f"{module}@{version}"], env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"}, check=True
        )
    return program
