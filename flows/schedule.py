"""A schedule kept by this process: it asks a Prefect server for runs that are due, and runs them one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from prefect import get_client
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from aepipe.errors import AepipeError
from flows.nightly import nightly

START_ONE = (
    "start one with `prefect server start --host 127.0.0.1`, and pass its address: --api http://127.0.0.1:4200/api"
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A recipe and when it runs.

    Attributes:
        name: what its releases are called in service.
        order: parameters of :func:`flows.nightly.nightly`, with absolute paths.
        cron: minute, hour, day, month, weekday.
        timezone: of the hours, a name like ``Europe/Paris``.
    """

    name: str
    order: Mapping[str, Any]
    cron: str
    timezone: str

    @property
    def path(self) -> str:
        """What Prefect calls it."""
        return f"{nightly.name}/{self.name}"

    def check(self) -> None:
        """Check what a user may have mistyped.

        Raises:
            AepipeError: there is no such time zone, or the cron expression is none.
        """
        if self.timezone not in available_timezones():
            raise AepipeError(f"--timezone {self.timezone}: no such time zone; they are named like Europe/Paris or UTC")
        try:
            Cron(self.cron)
        except ValueError:
            raise AepipeError(f"--cron {self.cron!r}: not five fields of minute, hour, day, month, weekday") from None

    def serve(self) -> None:
        """Run whatever is due, until Ctrl-C, which also pauses the schedule; the next start takes it up again."""
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
        AepipeError: none is set, or none answers there.
    """
    url: str | None = PREFECT_API_URL.value()
    if url is None:
        raise AepipeError(f"a schedule needs a Prefect server that stays: {START_ONE}")
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise AepipeError(f"{url}: no Prefect server answers there ({error}); {START_ONE}")
    return url
