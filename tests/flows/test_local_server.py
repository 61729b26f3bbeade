"""The temporary server of a run: two first runs of one store do not meet in its database."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flows import local_server


def test_first_starts_follow_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []
    entered = threading.Event()

    def other() -> None:
        entered.set()
        with local_server._first_start(tmp_path):
            order.append("second")

    thread = threading.Thread(target=other)
    with caplog.at_level("INFO"), local_server._first_start(tmp_path):
        thread.start()
        assert entered.wait(60)
        thread.join(0.3)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    with local_server._first_start(tmp_path), local_server._first_start(tmp_path):
        order.append("nobody waits once the database is made")
    assert len(order) == 3


def test_a_first_start_that_fails_is_a_first_start_again(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no server"), local_server._first_start(tmp_path):
        raise OSError("no server")
    assert not list(tmp_path.glob("ready-*"))
