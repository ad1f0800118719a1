"""The command line as a user types it, in real processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.harness import EDGED, ROOT

__all__ = ["EDGED", "ROOT", "alive", "edged", "until"]


def until(condition: Callable[[], object], timeout: float = 30.0, what: str = "it") -> None:
    """Wait until it is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {timeout:g} s"
        time.sleep(0.01)


def edged(
    *words: str, home: Path | None = None, env: Mapping[str, str] | None = None, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. home: where the data directories are."""
    about = {k: v for k, v in os.environ.items() if not k.startswith(("DAPR_", "APP_"))} | dict(env or {})
    if home is not None:
        about["XDG_STATE_HOME"] = str(home)
    done = subprocess.run([*EDGED, *words], capture_output=True, text=True, env=about, input=text, timeout=50, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def alive(pid: int) -> bool:
    """The process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
