"""The name of this machine's time zone.

Containers often have the rules of a zone, but not its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from io import BytesIO
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

from aepipe.cli.output import complain
from aepipe.errors import AepipeError

LINK, NAMED = "/etc/localtime", "/etc/timezone"
SAMPLES, DAYS = 30, 25
"""Instants at which two zones are compared, and days from one to the next; no summer time is as short."""


def local_timezone() -> str:
    """Return the name of this machine's time zone; UTC where it has none, which is said.

    ``$TZ`` decides, then the rules in ``/etc/localtime``: their name is that of the file which this is a link to, else
    the one in ``/etc/timezone``, else that of a zone with the same rules. A name is taken only where it has these
    rules, because a container may have those of its host under a name of its own.

    Raises:
        AepipeError: ``$TZ`` is a rule, and not the name of a zone.
    """
    asked = os.environ.get("TZ", "").removeprefix(":")
    if asked and asked != LINK:
        name = _after_zoneinfo(asked) or asked
        if name not in available_timezones():
            raise AepipeError(f"$TZ is {asked}, and no time zone has that name; give one with --timezone")
        return name
    rules, zones = _read(LINK), _zones()
    named = [name for name in (_linked(), _read(NAMED).decode("ascii", "replace").strip()) if name in zones]
    found = next((name for name in named if not rules or _has(name, rules)), None) or _of_rules(rules, zones)
    if found is None:
        complain("the time zone of this machine is not known, UTC is taken; give one with --timezone")
    return found or "UTC"


def _linked() -> str:
    link = Path(LINK)
    return _after_zoneinfo(str(link.resolve())) if link.is_symlink() else ""


def _after_zoneinfo(path: str) -> str:
    return path.partition("zoneinfo/")[2]


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


def _zones() -> list[str]:
    """Return all names; first UTC, then those that stand for others, each sort in the order of the alphabet."""
    lines = (line.split("\t") for line in _packaged("zone1970.tab").decode().splitlines() if line[:1] != "#")
    leading = {cells[2] for cells in lines if len(cells) > 2}
    return sorted(available_timezones(), key=lambda name: (name != "Etc/UTC", name not in leading, name))


def _of_rules(rules: bytes, zones: list[str]) -> str | None:
    """Return the name of a zone with some rules; one with the same file, else one with the same hours."""
    if not rules:
        return None
    same = (name for name in zones if rules in _files(name) and _has(name, rules))
    return next(same, None) or next((name for name in zones if _has(name, rules)), None)


def _files(name: str) -> Iterator[bytes]:
    """Yield what zones of a name are: of the system, and of the package."""
    yield from (_read(f"{folder}/{name}") for folder in TZPATH)
    yield _packaged(name)


def _packaged(name: str) -> bytes:
    """Return the file of a zone in the package tzdata, which nothing mounts over; empty where there is none."""
    try:
        return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    except (ModuleNotFoundError, OSError):
        return b""


def _has(name: str, rules: bytes) -> bool:
    """Say whether the zone of a name has the hours of some rules, in the two years to come."""
    try:
        mine = ZoneInfo.from_file(BytesIO(rules))
        theirs = ZoneInfo.from_file(BytesIO(own)) if (own := _packaged(name)) else ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    now = datetime.now(UTC)
    instants = [now + timedelta(days=DAYS * number) for number in range(SAMPLES)]
    return all(at.astimezone(mine).utcoffset() == at.astimezone(theirs).utcoffset() for at in instants)
