"""Named points at which a test lets the process kill itself: `EDGED_CRASH_AT=after-commit:3` is SIGKILL at the third commit.

Nearly free while nothing is armed. Used by tests/faults; points are named where they stand (`reach("before-commit")`).
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "before-commit",
    "after-commit",
    "before-journal-commit",
    "after-journal-commit",
    "after-puback",
    "before-inbox-put",
    "after-inbox-put",
    "after-app-answer",
    "before-checkpoint",
    "after-checkpoint",
    "before-shrink",
    "before-prune",
    "in-migration",
    "in-salvage",
)


class _Fuse:
    """Which point is armed, and how often it may still be passed."""

    point = ""
    left = 0


def arm(setting: str) -> None:
    """`<point>[:<n>]`: the process ends at the n-th time that the point is reached; "" disarms."""
    _Fuse.point, _, nth = setting.partition(":")
    _Fuse.left = int(nth or 1)


def reach(point: str) -> None:
    """The program is at `point`."""
    if _Fuse.point and point == _Fuse.point:
        _Fuse.left -= 1
        if _Fuse.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get("EDGED_CRASH_AT", ""))
