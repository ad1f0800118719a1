"""Scrapes of sidecars under test: samples by name and labels."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.harness import Sidecar

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(edged: Sidecar, path: str = "/") -> str:
    """The text."""
    with urllib.request.urlopen(f"http://127.0.0.1:{edged.metrics_port}{path}") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
        return str(answer.read().decode())


def values(text: str) -> Samples:
    """Every sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, family: str, /, **labels: str) -> float | None:
    """One sample of an app's family, None if it is not there; the parser gives counters a name of its own."""
    own = frozenset(labels.items())
    return next((samples[key, own] for key in (f"dapr_{family}", f"dapr_{family}_total") if (key, own) in samples), None)
