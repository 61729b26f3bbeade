"""The 26 goals of the service: what was measured, what a test holds, and whether it is enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Way = Literal["most", "least", "test"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        row: of the goal that it belongs to; 0 where it is only told.
        what: was measured.
        value: the number.
        unit: of it.
    """

    row: int
    what: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing that the service should do.

    Attributes:
        row: its number.
        figure: what its figure begins with; the test that holds it, where that is no figure.
        way: the figure is ``most`` or ``least`` the bound; or a ``test`` says yes or no.
        bound: of the figure.
        what: in words, for what a test holds.
    """

    row: int
    figure: str
    way: Way = "test"
    bound: float = 0
    what: str = ""


GOALS = (
    Goal(1, "flat, in the order of codes: service less library, median", "most", 0.4),
    Goal(1, "flat, as they come: service less library, median", "most", 0.4),
    Goal(1, "multihash, in the order of codes: service less library, median", "most", 0.4),
    Goal(2, "flat, in the order of codes: service less library, 99 %", "most", 2),
    Goal(3, "8 connections, flat: service / two threads", "least", 0.8),
    Goal(4, "8 connections, multihash", "least", 2000),
    Goal(4, "8 connections, multihash / a constant answer", "least", 0.5),
    Goal(5, "8 connections, multihash / FastAPI", "least", 0.8),
    Goal(5, "8 connections, multihash / Flask", "least", 2),
    Goal(6, "Qdrant in-process / service", "least", 20),
    Goal(7, "1,000 ids at once: service / library", "most", 1.15),
    Goal(7, "1,000 ids at once: first line of NDJSON", "most", 50),
    Goal(8, "a JPEG of 1,024 x 768", "most", 2),
    Goal(9, "tests/serve/test_remote.py", what="answers equal `aepipe query --json`, for all kinds of collection"),
    Goal(10, "flat: from start to ready", "most", 1.5),
    Goal(10, "flat: memory, without mapped files", "most", 250),
    Goal(11, "10 promotions: answers that failed", "most", 0),
    Goal(11, "10 promotions: answers of mixed releases", "most", 0),
    Goal(11, "10 promotions: longest until the new one answers", "most", 1),
    Goal(11, "10 promotions: longest until the old one is let go of", "most", 5),
    Goal(12, "tests/serve/test_reload.py", what="a damaged release: the old one goes on, `/readyz` says why"),
    Goal(13, "tests/serve/test_reload.py", what="SIGTERM: open requests are answered, status 0 within 5 s"),
    Goal(14, "64 clients, a queue of 8: answers other than 200 and 503", "most", 0),
    Goal(14, "64 clients, a queue of 8: 99 % / median", "most", 20),
    Goal(14, "64 clients, a queue of 8: longest of /livez", "most", 50),
    Goal(
        15,
        "tests/serve/test_openapi.py",
        what="requests by schemathesis, 400 for each endpoint: no 5xx, no path of the server",
    ),
    Goal(16, "a body of 2 GB: memory", "most", 40),
    Goal(16, "100 PNG of 49 million pixels: memory", "most", 300),
    Goal(16, "tests/serve/test_guards.py", what="a condition that would run for an hour ends, and its thread is free"),
    Goal(17, "tests/serve/test_guards.py", what="paths, addresses, hosts, origins, tokens, ranges: never a file"),
    Goal(18, "page: all of it, gzipped", "most", 60),
    Goal(18, "page: all of it, as it is", "most", 180),
    Goal(19, "page: requests before the first search", "most", 5),
    Goal(19, "page: requests to other origins", "most", 0),
    Goal(20, "page: cold, until the first hits with their pictures", "most", 1),
    Goal(20, "page: warm, from a query to its hits", "most", 0.3),
    Goal(21, "page: from a dropped JPEG to the first tile", "most", 0.3),
    Goal(21, "page: from a dropped JPEG to ten pictures", "most", 0.6),
    Goal(22, "page: 60 small pictures, none made before", "most", 1.5),
    Goal(22, "page: requests for them the second time", "most", 0),
    Goal(23, "page: map of a million rows, first picture", "most", 1),
    Goal(23, "page: map of a million rows, a frame", "most", 60),
    Goal(24, "tests/serve/test_page.py", what="axe finds no obstacle on 15 screens; everything by keys alone"),
    Goal(25, "tests/test_architecture.py", what="the wheel holds the page; it works without Node.js and network"),
    Goal(26, "tests/cli/test_app.py", what="a cold query loads none of the service"),
)


def judged(figures: Iterable[Figure]) -> Iterator[dict[str, Any]]:
    """Yield a row of the results for each goal, and for each figure that is only told."""
    known = list(figures)
    for goal in GOALS:
        if goal.way == "test":
            yield {
                "goal": goal.row,
                "what": goal.what,
                "measured": f"`{goal.figure}`",
                "wanted": "passes",
                "is": "test",
            }
            continue
        found = next((one for one in known if one.row == goal.row and one.what.startswith(goal.figure)), None)
        wanted = f"{'at most' if goal.way == 'most' else 'at least'} {goal.bound:,g}"
        if found is None:
            yield {"goal": goal.row, "what": goal.figure, "measured": "-", "wanted": wanted, "is": "**not measured**"}
            continue
        enough = found.value <= goal.bound if goal.way == "most" else found.value >= goal.bound
        yield {
            "goal": goal.row,
            "what": found.what,
            "value": found.value,
            "measured": f"{found.value:,.2f} {found.unit}".rstrip(),
            "wanted": f"{wanted} {found.unit}".rstrip(),
            "is": "reached" if enough else "**not reached**",
        }
    for one in known:
        if not one.row:
            yield {"told": one.what, "value": one.value, "unit": one.unit}
