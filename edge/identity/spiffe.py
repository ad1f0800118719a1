"""SPIFFE ids of workloads: `spiffe://<trust domain>/ns/<namespace>/<app id>`."""

from __future__ import annotations

import re

from edge.record import record

ID = re.compile(r"spiffe://([^/]+)/ns/([^/]+)/([^/]+)")


@record
class Identity:
    """Who calls, or is called."""

    trust_domain: str
    namespace: str
    app_id: str

    @property
    def url(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/{self.app_id}"

    @classmethod
    def parse(cls, url: str) -> Identity | None:
        """Of a certificate's URI; None when it is no workload of ours."""
        match = ID.fullmatch(url)
        return None if match is None else cls(match[1], match[2], match[3])
