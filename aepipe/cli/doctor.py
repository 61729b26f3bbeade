"""The verb ``doctor``: check packages, store, collections, disk, clock and server.

Nothing is changed, and nothing large is read: `aepipe verify` reads every byte.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from itertools import pairwise
from urllib.error import URLError
from urllib.request import urlopen

import typer
from packaging.requirements import Requirement

from aepipe.cli.options import AsJson, Where
from aepipe.cli.output import say, say_json, table
from aepipe.errors import SHUT, AepipeError, BusyError
from aepipe.release.release import Release
from aepipe.store import layout, reading, registry
from aepipe.store.artifacts import KINDS, Ref, Store
from aepipe.store.backends import State

MARKS = {"ok": "ok", "note": "note", "bad": "WRONG"}
JSON_NAMES = {"store": "shelf"}
"""The JSON keeps this name, because programs may look for it."""
PACKAGE = "aepipe"
ROOM = 2.0
"""Free space that a disk should have, in sizes of the largest release."""
AHEAD = timedelta(minutes=5)
"""A change may be dated this far in the future: clocks of two machines differ."""
SECONDS = 3.0
"""A server that answers later counts as down."""
COLLECTION = "collection "
AGAIN = 0.5
"""Seconds until collections with a fault are looked at again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        level: ``ok``; ``note``, good to know; or ``bad``, has to be fixed.
        what: was checked.
        said: what was found, and how to fix it.
    """

    level: State
    what: str
    said: str


def doctor(where: Where, as_json: AsJson = False) -> None:
    """Find problems of this installation and its store, and say how to fix them.

    Checks the packages, the store, the collections in service, the disk, the clock and the Prefect
    server. Nothing is changed. The exit status is 1 if something has to be fixed.

    Examples:
      aepipe doctor
      aepipe doctor --json
    """
    store = where.store()
    found = list(examine(store, os.environ))
    if any(one.level == "bad" and one.what.startswith(COLLECTION) for one in found):
        # `drop` or `rename` may be at work, which change one file after the other.
        time.sleep(AGAIN)
        found = list(examine(store, os.environ))
    if as_json:
        say_json([asdict(one) | {"what": JSON_NAMES.get(one.what, one.what)} for one in found])
    else:
        say(table(("", "what", "found"), [(MARKS[one.level], one.what, one.said) for one in found]))
    if any(one.level == "bad" for one in found):
        raise typer.Exit(SHUT)


def examine(store: Store, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Run all checks.

    Args:
        store: to be checked.
        environment: of the process; ``PREFECT_API_URL`` is read.
    """
    yield from packages()
    lines = list(store_lines(store))
    yield from lines
    if any((one.what, one.level) == ("store", "bad") for one in lines):
        return
    for name in registry.names(store):
        yield from collection(store, name)
    yield from log_lines(store)
    yield from clock(store)
    yield from server(environment.get("PREFECT_API_URL"))


def packages() -> Iterator[Finding]:
    """Compare the installed packages with those that ours requires."""
    yield Finding("ok", "python", f"{sys.version.split()[0]}, {PACKAGE} {metadata.version(PACKAGE)}")
    wanted = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    extras = sorted(metadata.metadata(PACKAGE).get_all("Provides-Extra") or ())
    whole, wrong = [], list(_unfit([one for one in wanted if one.marker is None]))
    for extra in (one for one in extras if one not in {"all", "dev"}):
        some = [one for one in wanted if one.marker and one.marker.evaluate({"extra": extra})]
        if all(_version(one.name) for one in some):
            whole.append(extra)
            wrong += _unfit([one for one in some if not one.url])
    yield Finding("ok", "extras", ", ".join(whole) or "none: this installation answers queries, and trains nothing")
    for text in dict.fromkeys(wrong):
        yield Finding("bad", "packages", f"{text}; `pip install -c constraints.txt '.[all]'` brings what fits together")


def store_lines(store: Store) -> Iterator[Finding]:
    """Check the place: who can write and read it, free space, and what dead runs have left."""
    root, (level, said) = store.root, store.backend.state()
    yield Finding(level, "store", said)
    if level == "bad" or not root.is_dir():
        return
    free, size = shutil.disk_usage(root).free, _largest(store)
    room = f"{free / 1e9:.1f} GB are free"
    if free < ROOM * size:
        needed = f"and the largest release takes {size / 1e9:.1f} GB"
        yield Finding("bad", "disk", f"{room}, {needed}; `aepipe gc` frees some")
    else:
        yield Finding("ok", "disk", room)
    left = [path for kind in KINDS for path in (root / kind).glob(".tmp-*")]
    if left:
        yield Finding("note", "drafts", f"{len(left)} unfinished folders; the next run removes those of dead processes")


def collection(store: Store, name: str) -> Iterator[Finding]:
    """Check the release in service under a name."""
    what = f"{COLLECTION}{name}"
    try:
        release = Release.open(store, name)
        store.check_lengths(release.part("rows"))
        release.encoder, release.index, release.items  # noqa: B018  each checks itself when it is opened
    except AepipeError as error:
        yield Finding("bad", what, f"{error}; or `aepipe rollback --name {name}`")
        return
    made = store.manifest(release.ref).created
    yield Finding("ok", what, f"release {release.ref.short} of {made}: {len(release):,} rows, {release.n_bits} bits")
    if not release.items.root.exists():
        root = release.items.root
        yield Finding("note", what, f"its source {root} is not there: originals cannot be shown, runs fail")
    events, promoted = registry.history(store, name, refused=True), _promoted(store, name, release.ref)
    refused = [one for one in events if one.when >= promoted and one.action == registry.REFUSE]
    if refused:
        last = refused[-1]
        yield Finding("bad", what, f"the gate refused {len(refused)} since, the last {last.after[:12]}: {last.why}")
    read = reading.facts_of(store, name, release.part("rows"))
    # A list of files that were passed over, and of nothing else, is no trouble.
    calm = layout.Root.quarantine(name) if read.get("passed_over") and not read.get("unreadable") else ""
    for file in store.backend.names("", f"quarantine-{name}*.parquet"):
        if file != calm:
            yield Finding("note", what, f"{store.place(file)}: what could not be read last time, and why")
    try:
        with registry.lock(store, name):
            pass
    except BusyError as error:
        yield Finding("note", what, str(error))
    except (AepipeError, OSError):
        return  # a store that cannot be written was reported already


def log_lines(store: Store) -> Iterator[Finding]:
    """Look for releases in service that the log or the store has lost."""
    file = store.place(layout.Root.LOG)
    for name in registry.unlogged(store):
        if registry.accepted(store, name):
            yield Finding("note", f"{COLLECTION}{name}", f"{file}: its first lines were lost once")
            continue
        said = f"{file}: does not tell how the release in service came there: it was lost, or its first lines"
        remedy = f"bring back a copy, or `aepipe promote RELEASE --name {name}` writes a new line"
        yield Finding("bad", f"{COLLECTION}{name}", f"{said}; {remedy}")
    lost = {event.name for event in registry.history(store)} - set(registry.names(store))
    if not store.backend.lines(layout.Root.LOG):
        lost |= {name for ref in store.refs("release") if (name := _name_of(store, ref))} - set(registry.names(store))
    for name in sorted(lost):
        file = store.place(f"{layout.Root.SERVICE}/{name}")
        said = f"{file}: is missing, and the collection was in service"
        yield Finding("bad", f"{COLLECTION}{name}", f"{said}; `aepipe promote RELEASE` writes it")


def clock(store: Store) -> Iterator[Finding]:
    """Look for changes with a date in the future, or after the date of the next change."""
    dated = [datetime.fromisoformat(event.when) for event in registry.history(store, refused=True)]
    now = datetime.now(UTC)
    if dated and max(dated) > now + AHEAD:
        latest = f"the log has a change of {max(dated):%F %T}"
        yield Finding("bad", "clock", f"it is {now:%F %T} UTC here, and {latest}: set the clock right")
    elif any(later < earlier for earlier, later in pairwise(dated)):
        yield Finding("note", "clock", "it was set back once: the log's changes are in order, their times are not")
    else:
        yield Finding("ok", "clock", f"{now:%F %T} UTC")


def server(url: str | None) -> Iterator[Finding]:
    """Check that a Prefect server answers."""
    if url is None:
        yield Finding("ok", "server", "$PREFECT_API_URL is not set: each run starts a Prefect server of its own")
        return
    try:
        with urlopen(f"{url.rstrip('/')}/health", timeout=SECONDS) as answer:
            well = json.load(answer) is True
    except (OSError, URLError, ValueError) as error:
        yield Finding("bad", "server", f"{url}: no answer ({error}); start it, or unset $PREFECT_API_URL")
        return
    yield Finding("ok" if well else "bad", "server", f"{url}: {'answers' if well else 'answers, but is not well'}")


def _name_of(store: Store, release: Ref) -> str:
    """Return the collection of a release; empty where it cannot be read."""
    try:
        return str(store.manifest(release).facts.get("name", ""))
    except AepipeError:
        return ""


def _unfit(wanted: list[Requirement]) -> Iterator[str]:
    """Yield a line for each package that is missing or has a version that ours does not allow."""
    for one in wanted:
        found = _version(one.name)
        if found is None:
            yield f"{one.name} is missing, {one.name}{one.specifier} is needed"
        elif not one.specifier.contains(found, prereleases=True):
            yield f"{one.name} is {found}, {one.name}{one.specifier} is needed"


def _version(name: str) -> str | None:
    """Return the version of an installed package; None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _largest(store: Store) -> int:
    """Return the bytes of the largest release in service, with all its parts."""
    sizes = [0]
    for name in registry.names(store):
        try:
            release = Release.open(store, name)
            parts = {one for _, part in release.parts for one in (part, *store.parts(part))}
            manifests = [store.manifest(part) for part in parts]
        except AepipeError:
            continue
        sizes.append(sum(int(sealed["bytes"]) for one in manifests for sealed in one.outputs.values()))
    return max(sizes)


def _promoted(store: Store, name: str, ref: Ref) -> str:
    """Return when a release last went into service."""
    return next((one.when for one in reversed(registry.history(store, name)) if one.after == ref.digest), "")
