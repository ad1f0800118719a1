"""SIGUSR1: another process changed a journal's file (`edged journal retry`, `drop`, `import`), so look again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from edge.journal.journal import Journal


class _Open:
    """The journals of this process that are told."""

    journals: list[Journal] = []  # noqa: RUF012 (one list for the process, as the signal is)


@contextlib.contextmanager
def told(journal: Journal) -> Iterator[None]:
    """While the block runs, SIGUSR1 refreshes the journal; elsewhere than on the main thread's loop nothing happens."""
    with contextlib.suppress(RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _refresh)
    _Open.journals.append(journal)
    try:
        yield
    finally:
        _Open.journals.remove(journal)


def _refresh() -> None:
    for journal in tuple(_Open.journals):
        journal.refresh()
