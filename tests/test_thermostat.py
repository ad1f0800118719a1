"""The example of a thermostat actor per room runs by its one command and says that nothing was lost."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.harness import ROOT


def test_the_thermostats_keep_their_targets_and_nights_over_a_kill() -> None:
    env = os.environ | {"THERMOSTAT_NIGHT": "2"}
    done = subprocess.run([sys.executable, "examples/thermostat/demo.py"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=55)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "state kept over the kill: yes; night came to 3 of 3 rooms" in done.stdout
