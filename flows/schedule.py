"""Keep a schedule in this process: run what a Prefect server says is due, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from prefect import get_client
from prefect.schedules import Cron
from prefect.server.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from aepipe.errors import AepipeError
from aepipe.sources.remote import PATIENCE, is_silent
from flows.nightly import nightly

FIELDS = "five fields of minute, hour, day, month, weekday"
ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
START_ONE = (
    "start one with `prefect server start --host 127.0.0.1`, and pass its address: --api http://127.0.0.1:4200/api"
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A recipe and when it runs.

    Attributes:
        name: of the collection in the registry.
        order: parameters of :func:`flows.nightly.nightly`, with absolute paths.
        cron: minute, hour, day, month, weekday.
        timezone: a name like ``Europe/Paris``.
    """

    name: str
    order: Mapping[str, Any]
    cron: str
    timezone: str

    @property
    def path(self) -> str:
        """Its name in Prefect."""
        return f"{nightly.name}/{self.name}"

    def check(self) -> None:
        """Check time zone and cron expression, which a user may mistype.

        Raises:
            AepipeError: there is no such time zone, or the cron expression is not valid or has no next time.
        """
        if self.timezone not in available_timezones():
            raise AepipeError(f"--timezone {self.timezone}: no such time zone; they are named like Europe/Paris or UTC")
        if len(self.cron.split()) != 5 and self.cron not in ALIASES:
            raise AepipeError(f"--cron {self.cron!r}: not {FIELDS}; seconds are not among them")
        try:
            Cron(self.cron)
        except ValueError:
            raise AepipeError(f"--cron {self.cron!r}: not {FIELDS}, each in its range") from None
        if not self.next_times(1):
            raise AepipeError(f"--cron {self.cron!r}: it has no next time, it would never run")

    def next_times(self, count: int = 3) -> list[str]:
        """Return when it runs next, in its own time zone; nothing where it never does."""
        dates = CronSchedule(cron=self.cron, timezone=self.timezone).get_dates(count)
        try:
            return [f"{date:%Y-%m-%d %H:%M}" for date in asyncio.run(dates)]
        except ValueError:  # croniter looks fifty years ahead
            return []

    def serve(self) -> None:
        """Run due flows until Ctrl-C, which also pauses the schedule; the next start resumes it."""
        nightly.serve(
            self.name,
            schedule=Cron(self.cron, timezone=self.timezone),
            parameters=dict(self.order),
            tags=["aepipe", "scheduled"],
            paused=False,
            limit=1,
            print_starting_message=False,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )


def check_server() -> str:
    """Return the address of the server's API.

    Raises:
        AepipeError: no address is set, or no server answers there.
    """
    url: str | None = PREFECT_API_URL.value()
    if url is None:
        raise AepipeError(f"a schedule needs a Prefect server that stays: {START_ONE}")
    if is_silent(f"{url.rstrip('/')}/health"):  # the client would ask again for minutes
        raise AepipeError(f"{url}: no Prefect server answers there (nothing within {PATIENCE:g} s); {START_ONE}")
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise AepipeError(f"{url}: no Prefect server answers there ({error}); {START_ONE}")
    return url
