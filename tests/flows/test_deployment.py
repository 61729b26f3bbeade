"""What `aepipe schedule` is told is checked before anything waits for it."""

from __future__ import annotations

from datetime import datetime

import pytest

from aepipe.errors import AepipeError
from flows.schedule import Deployment


def deployment(cron: str, timezone: str = "UTC") -> Deployment:
    return Deployment("tiny", {}, cron, timezone)


@pytest.mark.parametrize(
    "cron",
    ["0 0 2 * * *", "0 0 2 * * * 2030", "0 2 * *", "", "0 25 * * *", "60 * * * *", "0 2 * * 9", "a b c d e", "@reboot"],
)
def test_five_fields_are_five_and_each_is_in_its_range(cron: str) -> None:
    with pytest.raises(AepipeError, match="not five fields of minute, hour, day, month, weekday"):
        deployment(cron).check()


@pytest.mark.parametrize("cron", ["0 2 31 2 *", "0 2 30 2 *", "0 2 31 4,6,9,11 *"])
def test_what_never_runs_is_refused(cron: str) -> None:
    with pytest.raises(AepipeError, match="it would never run"):
        deployment(cron).check()


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/15 8-18 * * mon-fri", "0 2 29 2 *", "@daily"])
def test_what_runs_is_taken(cron: str) -> None:
    deployment(cron).check()


def test_the_next_times_are_those_of_its_own_zone() -> None:
    times = [datetime.fromisoformat(text) for text in deployment("30 2 * * *", "Asia/Kolkata").next_times()]
    assert [(time.hour, time.minute) for time in times] == [(2, 30)] * 3
    assert sorted(set(times)) == times
