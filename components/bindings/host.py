"""`bindings.host` (not in daprd): readings of this machine, by a schedule as events and by operation `get` on demand.

An event is a JSON object with the groups that were asked for; what this machine does not have is left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from components.bindings._ticks import go_time, read_schedule, ticks
from edge.component import Context, DeliverEvent, Feature, Unsubscribe
from edge.cron import Schedule
from edge.errors import Closed, ComponentError, Invalid, Unsupported
from edge.model import BindingEvent, BindingResult
from edge.record import record
from edge.spec import meta
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
GROUPS = ("cpu", "memory", "disk", "network", "temperatures", "battery", "uptime")


@record
class Fields:
    """Metadata of the component."""

    schedule: str = meta("@every 60s", doc="When to read, as in `bindings.cron`.")
    readings: tuple[str, ...] = meta(GROUPS[:-2], doc=f"What to read, comma separated: {', '.join(GROUPS)}.")
    disks: tuple[str, ...] = meta(("/",), doc="Folders whose file systems are read for `disk`.")


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.INPUT_BINDING, Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = ("get",)
    journal_in: ClassVar[bool] = False
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._schedule: Schedule
        self._tasks: Tasks | None = None

    async def open(self) -> None:
        """Raises Invalid for a schedule or a reading that does not exist."""
        self._schedule = read_schedule(self.metadata.schedule)
        _check(self.metadata.readings)
        await asyncio.to_thread(_read, self.metadata.readings, self.metadata.disks)  # the first cpu reading is of no time at all
        self._tasks = self._context.tasks

    async def close(self) -> None:
        self._tasks = None

    async def read(self, deliver: DeliverEvent) -> Unsubscribe:
        """An event at each time of the schedule, with metadata `readTimeUTC`. A reading that the app did not take is gone."""
        if self._tasks is None:
            raise Closed(f"binding {self._context.name} is closed")
        task = self._tasks.spawn(f"host[{self._context.name}]", lambda: self._run(deliver))

        async def stop() -> None:
            task.cancel()

        return stop

    async def _run(self, deliver: DeliverEvent) -> None:
        async for _ in ticks(self._schedule, time.time()):
            data = await asyncio.to_thread(_read, self.metadata.readings, self.metadata.disks)
            try:
                await deliver(BindingEvent(data, {"readTimeUTC": go_time(time.time())}))
            except ComponentError as error:
                log.debug("binding %s: the app did not take a reading: %s", self._context.name, error)

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """`get`: the readings of now. metadata: `readings` instead of the component's. Raises Invalid."""
        if operation != "get":
            raise Unsupported(f"operation {operation} is not supported")
        wanted = self.metadata.readings
        if text := metadata.get("readings", ""):
            wanted = tuple(part.strip() for part in text.split(","))
            _check(wanted)
        return BindingResult(await asyncio.to_thread(_read, wanted, self.metadata.disks))


def _check(wanted: tuple[str, ...]) -> None:
    if unknown := [name for name in wanted if name not in GROUPS]:
        raise Invalid(f"readings: there is no {unknown[0]}; there are {', '.join(GROUPS)}")


def _read(wanted: tuple[str, ...], disks: tuple[str, ...]) -> bytes:
    """The readings as JSON; for a thread, since some of them are slow on a Pi."""
    found: dict[str, Any] = {"time": time.time()}
    for name in wanted:
        if (values := _disks(disks) if name == "disk" else READERS[name]()) is not None:
            found[name] = values
    return orjson.dumps(found)


def _cpu() -> dict[str, Any]:
    import psutil  # 3 MB, only for those who configured this

    load = dict(zip(("load_1m", "load_5m", "load_15m"), os.getloadavg(), strict=True))
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    more = {} if frequency is None or not frequency.current else {"mhz": frequency.current}
    return {"pct": psutil.cpu_percent(), "count": psutil.cpu_count(), **load, **more}


def _memory() -> dict[str, Any]:
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {"total_bytes": memory.total, "available_bytes": memory.available, "pct": memory.percent, "swap_pct": swap.percent}


def _disks(folders: tuple[str, ...]) -> dict[str, Any]:
    import psutil

    found: dict[str, Any] = {}
    for folder in folders:
        try:
            usage = psutil.disk_usage(folder)
        except OSError:
            continue
        found[folder] = {"total_bytes": usage.total, "free_bytes": usage.free, "pct": usage.percent}
    return found


def _network() -> dict[str, Any] | None:
    import psutil

    counters = psutil.net_io_counters(pernic=True) or {}
    return {
        name: {"sent_bytes": one.bytes_sent, "received_bytes": one.bytes_recv, "errors": one.errin + one.errout, "drops": one.dropin}
        for name, one in counters.items()
        if name != "lo"
    } or None


def _temperatures() -> dict[str, Any] | None:
    import psutil

    found: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)() or {}
    return {f"{name}/{one.label or at}": one.current for name, entries in found.items() for at, one in enumerate(entries)} or None


def _battery() -> dict[str, Any] | None:
    import psutil

    battery = getattr(psutil, "sensors_battery", lambda: None)()
    return None if battery is None else {"pct": battery.percent, "plugged": battery.power_plugged}


def _uptime() -> dict[str, Any]:
    import psutil

    return {"seconds": time.time() - psutil.boot_time(), "boot_time": psutil.boot_time()}


READERS: Mapping[str, Callable[[], dict[str, Any] | None]] = {
    "cpu": _cpu, "memory": _memory, "network": _network, "temperatures": _temperatures, "battery": _battery, "uptime": _uptime,
}  # fmt: skip
