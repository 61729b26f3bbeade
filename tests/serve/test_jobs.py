"""Longer work of the service: one piece at a time, and how far each is."""

from __future__ import annotations

import threading

from aepipe.log import Progress, step
from aepipe.serve.jobs import Jobs
from aepipe.serve.responses import working


def test_a_piece_of_work_says_how_far_it_is() -> None:
    jobs, begun, go = Jobs(), threading.Event(), threading.Event()

    def work() -> str:
        step("comparing", 3, 8)
        begun.set()
        assert go.wait(10)
        return "done"

    assert jobs.result("one", work, wait=0) is None
    assert begun.wait(10)
    assert jobs.result("two", lambda: "later", wait=0) is None
    assert jobs.progress("one") == Progress("comparing", 3, 8)
    assert working(jobs.progress("one")) == {"status": "working", "stage": "comparing", "done": 3, "total": 8}
    assert working(jobs.progress("two")) == {"status": "working"}
    go.set()
    assert jobs.result("two", lambda: "later", wait=10) == "later"
    assert jobs.progress("one") is None
    jobs.close()
