"""When to try again: constant or exponential delays, and which status codes are worth it.

Source: dapr/kit retry, cenkalti/backoff v4, dapr pkg/resiliency/retry.go.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from edge.record import record

HTTP_CODES, GRPC_CODES = (100, 599), (0, 16)
CodeRange = tuple[int, int]


@record
class Retry:
    """Times in seconds. max_retries: -1 = unlimited (an exponential policy still ends after max_elapsed, 0 = never).

    http, grpc: the codes that are tried again, None = all. protected: a resource can't replace it.
    """

    exponential: bool = False
    duration: float = 5.0
    max_interval: float = 60.0
    max_retries: int = -1
    http: tuple[CodeRange, ...] | None = None
    grpc: tuple[CodeRange, ...] | None = None
    initial: float = 0.5
    factor: float = 1.5
    jitter: float = 0.5
    max_elapsed: float = 900.0

    def delays(self) -> Iterator[float]:
        """The waits between tries, until there is none more."""
        began, interval, count = time.monotonic(), self.initial, 0
        while self.max_retries < 0 or count < self.max_retries:
            count += 1
            if not self.exponential:
                yield self.duration
                continue
            delay = interval * random.uniform(1 - self.jitter, 1 + self.jitter)
            if self.max_elapsed and time.monotonic() - began + delay > self.max_elapsed:
                return
            yield delay
            interval = min(interval * self.factor, self.max_interval)

    def pause(self, failures: int) -> float | None:
        """The wait after so many failed tries, for a caller that counts them on disk; None: no more tries. max_elapsed is not applied."""
        if 0 <= self.max_retries < failures:
            return None
        if not self.exponential:
            return self.duration
        interval = min(self.initial * self.factor ** min(failures - 1, 64), self.max_interval)
        return interval * random.uniform(1 - self.jitter, 1 + self.jitter)

    def again(self, code: int) -> bool:
        """Whether a failure with this HTTP or gRPC status code is tried again."""
        for ends, ranges in ((GRPC_CODES, self.grpc), (HTTP_CODES, self.http)):
            if ends[0] <= code <= ends[1]:
                return ranges is None or any(low <= code <= high for low, high in ranges)
        return False


def parse_codes(text: str, ends: CodeRange) -> tuple[CodeRange, ...] | None:
    """`502,504-508` as ranges; "" is None (all codes). Raises ValueError with Dapr's texts."""
    if not text:
        return None
    return tuple(_range(pattern, ends) for pattern in text.split(",") if pattern)


def _range(pattern: str, ends: CodeRange) -> CodeRange:
    parts = pattern.split("-")
    if len(parts) > 2:
        raise ValueError(f"invalid pattern {pattern}, more than one '-' exists")
    codes: list[int] = []
    for part, word in zip(parts, ("start", "end"), strict=False):
        if not part.isascii() or not part.isdigit():
            raise ValueError(f"failed to parse {word} code {part} from pattern {pattern} to int")
        if not ends[0] <= int(part) <= ends[1]:
            raise ValueError(f"invalid pattern {pattern}, {word} code {part} is not valid")
        codes.append(int(part))
    if codes[-1] < codes[0]:
        raise ValueError(f"invalid pattern {pattern}, start value should not bigger than end value")
    return codes[0], codes[-1]
