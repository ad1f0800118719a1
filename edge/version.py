"""The one place edged's version is written; `DAPR` is the Dapr runtime whose API it speaks."""

from __future__ import annotations

VERSION = "0.1.0"
DAPR = "1.18.3"
