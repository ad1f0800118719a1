"""SIGKILL where a file is changed as a whole or in many rows: checkpoint, shrinking, migration, pruning. KILLS=n: so many times each."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import tools
from tests.faults.points import BURST, MOST
from tests.harness import ROOT

KILLS = int(os.environ.get("KILLS", "0")) or 1


def run(file: Path, crash_at: str, bursts: int = 1) -> tuple[int, list[int]]:
    """Exit code, and the numbers that were accepted."""
    command = [sys.executable, "-m", "tests.faults.points", str(file), str(bursts)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "EDGED_CRASH_AT": crash_at}, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, [int(line) for line in done.stdout.split("\n")[:-1]]


def kept(file: Path) -> list[int]:
    """What the file holds, once it is sound and its numbers are those of its rows."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with tools.opened(file) as connection:
        rows = [int(entry.message.data) for entry in tools.entries(connection)]
        (lane,) = tools.lanes(connection) or [None]
    assert lane is None or (lane.stats.balanced and lane.stats.pending == len(rows)), lane
    return rows


@pytest.mark.parametrize("point", ["before-checkpoint", "after-checkpoint", "before-shrink", "before-prune"])
def test_what_was_accepted_survives_a_kill_at(point: str, tmp_path: Path) -> None:
    for nth in range(1, 3 * KILLS, 2):
        file = tmp_path / f"{nth}.db"
        code, accepted = run(file, f"{point}:{nth}", 4)
        rows = kept(file)

        assert code == -9 or nth > 1, f"{point} was not reached"
        assert rows[-1] - accepted[-1] in (0, 1)  # one may be on disk whose answer was cut off
        assert rows == list(range(max(0, rows[-1] + 1 - MOST), rows[-1] + 1))


def test_a_kill_in_a_migration_is_made_good_by_the_next_start(tmp_path: Path) -> None:
    for nth in range(1, 4):
        file = tmp_path / f"{nth}.db"
        assert run(file, f"in-migration:{nth}") == (-9, [])

        assert run(file, "") == (0, list(range(BURST)))
        assert len(kept(file)) == MOST
