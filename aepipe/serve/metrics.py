"""Figures of a running service in the text format of Prometheus.

They are counted by route, never by path.
"""

from __future__ import annotations

import os
import resource
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the times that are counted together, in seconds."""
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Times, counted by how long they are."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count a time."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Yield its lines."""
        below = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            below += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'
        yield f"{name}_sum{{{labels}}} {self.total:.6f}"
        yield f"{name}_count{{{labels}}} {below}"


class Metrics:
    """What was asked, and how long it took."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._seconds: defaultdict[str, Histogram] = defaultdict(Histogram)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests[method, route, status] += 1
        self._seconds[route].add(seconds)

    def text(self, gauges: Mapping[str, tuple[str, str, Mapping[str, float]]]) -> str:
        """Return everything in the text format.

        Args:
            gauges: by name: type, help, and values by their labels.
        """
        lines = list(_head("aepipe_http_requests_total", "counter", "Requests by route and status."))
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{_escaped(route)}",status="{status}"'
            lines.append(f"aepipe_http_requests_total{{{labels}}} {count}")
        lines += _head("aepipe_http_request_seconds", "histogram", "Time from the first byte to the last.")
        for route, histogram in sorted(self._seconds.items()):
            lines += histogram.lines("aepipe_http_request_seconds", f'route="{_escaped(route)}"')
        for name, (kind, told, values) in gauges.items():
            lines += _head(name, kind, told)
            lines += [
                f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}" for labels, value in values.items()
            ]
        return "\n".join(lines) + "\n"


def label(**given: str) -> str:
    """Return labels as they stand between the brackets."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in given.items())


def memory() -> float:
    """Return the bytes of memory that this process holds."""
    try:
        return float(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux: the most that it ever held
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def _head(name: str, kind: str, told: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
