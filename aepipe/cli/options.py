"""The options that verbs share, and how groups of options become those of a verb."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from aepipe.cli.completion import names, releases
from aepipe.cli.output import remark, set_loudness
from aepipe.errors import QueryError
from aepipe.store import places, registry
from aepipe.store.artifacts import Store

if TYPE_CHECKING:
    from aepipe.api import Collection
    from aepipe.client.remote import RemoteCollection

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the log.", metavar="TEXT")]
ReleaseText = Annotated[
    str | None,
    typer.Argument(
        metavar="RELEASE",
        help="The first characters of a release's digest, or a collection; else the one in service.",
        autocompletion=releases,
    ),
]
ReleaseOption = Annotated[
    str | None,
    typer.Option(
        "--release",
        metavar="RELEASE",
        help="The first characters of its digest; else the one in service.",
        autocompletion=releases,
    ),
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="The store, a folder or s3://BUCKET/FOLDER; else $AEPIPE_HOME, else the nearest .aepipe, else the user's.",
        metavar="DIR",
    ),
]
User = Annotated[bool, typer.Option("--user", help="The user's store, ~/.local/share/aepipe, from any folder.")]


Wait = Annotated[
    str,
    typer.Option("--wait", help="Wait so long for another run of the collection: 90, 90s, 10m, 2h.", metavar="TIME"),
]
LONGEST = 30 * 86400


def seconds(text: str, option: str = "--wait") -> float:
    """Return a time such as ``90``, ``90s``, ``10m`` or ``2h`` in seconds.

    Args:
        text: the time.
        option: that it was given to.

    Raises:
        QueryError: it is none, or longer than 30 days.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smh]?)", text.strip(), re.ASCII)
    value = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else -1
    if not 0 <= value <= LONGEST:
        raise QueryError(f"{option} {text!r}: no time up to 30 days; write it like 90s, 10m or 2h")
    return value


def _folder(home: Path | None, user: bool) -> Path | None:
    if home is not None and user:
        raise QueryError("--home and --user exclude each other")
    return places.users().root if user else home


def open_store(home: Path | None) -> Store:
    """Return the store in a folder, or the one that every verb uses; nothing is made."""
    return Store(home.expanduser()) if home else Store.locate()


@dataclass(frozen=True, slots=True)
class Where:
    """The store."""

    home: Home = None
    user: User = False

    @property
    def folder(self) -> Path | None:
        """The folder of the store that is asked for; None where none is.

        Raises:
            QueryError: two are.
        """
        return _folder(self.home, self.user)

    def store(self) -> Store:
        """Return the store that things are made in; nothing is made yet."""
        return open_store(self.folder)


@dataclass(frozen=True, slots=True)
class Place:
    """The store, and the collection in it."""

    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="The collection; needed where several are in service.", metavar="NAME", autocompletion=names
        ),
    ] = None
    home: Home = None
    user: User = False

    @property
    def folder(self) -> Path | None:
        """The folder of the store that is asked for; None where none is.

        Raises:
            QueryError: two are.
        """
        return _folder(self.home, self.user)

    def making(self) -> Store:
        """Return the store that collections are made in; nothing is made yet."""
        return open_store(self.folder)

    def store(self) -> Store:
        """Return the store that has the collection; say so where it is the user's."""
        found = places.find(self.name, self.folder)
        if self.folder is None and places.is_users(found):
            remark(f"{self.name or 'asked'}: in the user's store {found.root}")
        return found

    def meant(self, release: str | None) -> tuple[Place, str | None]:
        """Return the place of a release, and its digest; None for the one in service.

        Args:
            release: the first characters of a digest; or a collection, for its release in service.
        """
        if release is None or self.name is not None:
            return self, release
        named = replace(self, name=release)
        stores = places.looked_at(self.folder)
        if any(ref.digest.startswith(release.lower()) for store in stores for ref in store.refs("release")):
            return self, release
        known = {name for store in stores for name in registry.names(store)}
        return (named, None) if registry.tidy_name(release) in known else (self, release)

    def open(self, release: str | None = None) -> Collection:
        """Open the collection in service, or a release; see :meth:`meant`.

        Raises:
            NotFoundError: there is none.
            QueryError: several releases start with the text.
            CorruptError: a part of it is missing or damaged.
        """
        # Verbs that open nothing, and the help of all of them, do without numpy and faiss.
        from aepipe import api

        place, release = self.meant(release)
        return api.open(place.store().address, place.name, release=release)


@dataclass(frozen=True, slots=True)
class ServerFlags:
    """The service that is asked in place of a store."""

    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            help="Ask the service at this address, in place of a store; else $AEPIPE_SERVER.",
            metavar="URL",
        ),
    ] = None

    def connect(self, place: Place) -> RemoteCollection | None:
        """Return the collection behind the service; None where a store is asked.

        Raises:
            QueryError: a store is named, too.
            ServiceError: nothing answers at the address.
        """
        if self.server is not None and (place.home is not None or place.user):
            raise QueryError("--server asks a service, and no store: leave out --home and --user")
        address = self.server or ("" if place.home or place.user else os.environ.get("AEPIPE_SERVER"))
        if not address:
            return None
        from aepipe.client.remote import connect

        return connect(address, place.name)


@dataclass(frozen=True, slots=True)
class Loudness:
    """How much every verb says."""

    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say only results, warnings and errors: no progress, no remarks.")
    ] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say also what is written, and how long each stage took.")
    ] = False


def flat(verb: Callable[..., None]) -> Callable[..., None]:
    """Return a verb with an option for each field of its dataclasses, and those of all verbs.

    Options are grouped in the code and shared between verbs; Typer sees one flat signature.
    """
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, type[Any]] = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)
    }
    parameters = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(verb).parameters.items()
        if name not in groups
    ]
    # Store and collection are the same options for all verbs, and come last in their help.
    in_order = sorted(groups.values(), key=lambda group: group in (Place, Where))
    parameters += [parameter for group in (*in_order, Loudness) for parameter in _fields(group)]

    def flattened(**given: Any) -> None:  # noqa: ANN401  whatever the verb's options are
        set_loudness(given.pop("verbose") - given.pop("quiet"))
        gathered = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        verb(**given, **gathered)

    flattened.__doc__ = verb.__doc__
    # get_type_hints and inspect.signature are how Typer reads a function.
    flattened.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    flattened.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return flattened


def _fields(group: type[Any]) -> list[inspect.Parameter]:
    """Return the fields of a dataclass as parameters."""
    hints = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]
