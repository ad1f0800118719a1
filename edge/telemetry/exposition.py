"""The Prometheus text of the numbers of one or more apps. Imported at the first scrape.

By hand because the client library names every counter `…_total`, which daprd's counters are not.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge.telemetry.families import FAMILIES
from edge.telemetry.metrics import Histogram, Labels, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
PREFIX = "dapr_"
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def text(apps: Iterable[Metrics]) -> str:
    """All families, each with the series of every app."""
    lines: dict[str, list[str]] = {}
    for metrics in apps:
        for read in metrics.read:
            read(metrics)
        for family, counted in metrics.counters.items():
            lines.setdefault(_typed(family, "counter"), []).extend(
                _plain(metrics, family, {labels: cell[0] for labels, cell in counted.items()})
            )
        for family, gauges in metrics.gauges.items():
            lines.setdefault(_typed(family, "gauge"), []).extend(_plain(metrics, family, gauges))
        for family, series in metrics.histograms.items():
            lines.setdefault(_typed(family, "histogram"), []).extend(_histogram(metrics, family, series))
    found = [line for head, rows in sorted(lines.items()) for line in (head, *rows)]
    return "\n".join([*found, *_process()]) + "\n"


def _typed(family: str, kind: str) -> str:
    name = _name(family)
    return f"# HELP {name} {FAMILIES[family].help}\n# TYPE {name} {kind}"


def _name(family: str) -> str:
    return family if family.startswith("edged_") else PREFIX + family


def _labels(metrics: Metrics, family: str, values: Labels) -> list[str]:
    pairs = {"app_id": metrics.app_id, **dict(zip(FAMILIES[family].labels, values, strict=True))}
    if FAMILIES[family].own_namespace:
        pairs["namespace"] = metrics.namespace
    return [f'{key}="{value.translate(ESCAPES)}"' for key, value in sorted(pairs.items())]


def _plain(metrics: Metrics, family: str, series: dict[Labels, float]) -> Iterator[str]:
    for values, number in series.items():
        yield f"{_name(family)}{{{','.join(_labels(metrics, family, values))}}} {number:g}"


def _histogram(metrics: Metrics, family: str, series: dict[Labels, Histogram]) -> Iterator[str]:
    for values, histogram in series.items():
        own = _labels(metrics, family, values)
        so_far, joined = 0, ",".join(own)
        for bound, count in zip([*map(_number, histogram.buckets), "+Inf"], histogram.counts, strict=True):
            so_far += count
            yield f'{_name(family)}_bucket{{{joined},le="{bound}"}} {so_far}'
        yield f"{_name(family)}_sum{{{joined}}} {histogram.total:.10g}"
        yield f"{_name(family)}_count{{{joined}}} {so_far}"


def _number(bound: float) -> str:
    """As Go prints a float."""
    return str(bound) if bound < 1_000_000 else _go_float(bound)


def _go_float(bound: float) -> str:
    mantissa, exponent = f"{bound:.15e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def _process() -> Iterator[str]:
    """The process as Prometheus clients describe theirs (Linux)."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    booted = next(int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    received, sent = _network()
    rows = (
        (
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time in seconds.",
            (int(stat[11]) + int(stat[12])) / ticks,
        ),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", soft),
        ("process_network_receive_bytes_total", "counter", "Number of bytes received by the process over the network.", received),
        ("process_network_transmit_bytes_total", "counter", "Number of bytes sent by the process over the network.", sent),
        ("process_open_fds", "gauge", "Number of open file descriptors.", len(os.listdir("/proc/self/fd"))),  # noqa: PTH208
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", int(stat[21]) * page),
        ("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", booted + int(stat[19]) / ticks),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", int(stat[20])),
    )
    for name, kind, help_, value in rows:
        yield f"# HELP {name} {help_}"
        yield f"# TYPE {name} {kind}"
        yield f"{name} {value}"


def _network() -> tuple[int, int]:
    received = sent = 0
    for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            fields = numbers.split()
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent
