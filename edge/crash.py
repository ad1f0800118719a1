"""Named points at which a test lets the process kill itself: `EDGED_CRASH_AT=after-commit:3` is SIGKILL at the third commit.

Free when the variable is unset. Used by tests/crash; points are named where they stand (`reach("before-commit")`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def _armed(setting: str) -> Callable[[str], None]:
    wanted, _, nth = setting.partition(":")
    left = int(nth or 1)

    def reach(point: str) -> None:
        nonlocal left
        if point == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach


def _pass(point: str) -> None:
    """No crash is asked for."""


reach: Callable[[str], None] = _armed(setting) if (setting := os.environ.get("EDGED_CRASH_AT")) else _pass
