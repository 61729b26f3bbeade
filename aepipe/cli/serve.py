"""The verb ``serve``: collections as a service and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from aepipe.cli.options import Home, open_store
from aepipe.cli.output import complain, say
from aepipe.errors import ExtraError, NotFoundError, QueryError
from aepipe.serve.settings import LOCAL, PORT, Settings
from aepipe.store import registry
from aepipe.store.artifacts import Store

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the service listens, and to whom."""

    host: Annotated[str, typer.Option("--host", help="Address to listen on.", metavar="HOST")] = LOCAL[0]
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.", metavar="N")] = PORT
    uds: Annotated[Path | None, typer.Option("--uds", help="Listen on a Unix socket instead.", metavar="FILE")] = None
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", help="Ask for a token: those in FILE, which is made if it is missing.", metavar="FILE"
        ),
    ] = None
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A further name of the service.", metavar="NAME")
    ] = None
    cors: Annotated[
        list[str] | None, typer.Option("--cors", help="A page of another origin that may ask.", metavar="ORIGIN")
    ] = None
    trust_proxy: Annotated[
        list[str] | None, typer.Option("--trust-proxy", help="Address of a proxy in front.", metavar="ADDRESS")
    ] = None
    root_path: Annotated[
        str, typer.Option("--root-path", help="Prefix that a proxy adds: /search.", metavar="PATH")
    ] = ""


@dataclass(frozen=True, slots=True)
class Offered:
    """What the service does, and how much of it."""

    name: Annotated[
        list[str] | None, typer.Option("--name", help="A collection; else all in service.", metavar="NAME")
    ] = None
    write: Annotated[bool, typer.Option("--write", help="Take marks, and remove rows.")] = False
    originals: Annotated[bool, typer.Option("--originals", help="Hand files out as they are.")] = False
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Searches at a time; else one for each core.", metavar="N")
    ] = None
    queue: Annotated[int, typer.Option("--queue", min=0, help="Searches that may wait.", metavar="N")] = 64
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.01, help="Requests a second of one client.", metavar="N")
    ] = None
    max_upload: Annotated[str, typer.Option("--max-upload", help="Size of a body: 500K, 32M.", metavar="SIZE")] = "32M"
    where_seconds: Annotated[
        float, typer.Option("--where-seconds", min=0.01, help="Time of a condition in SQL.", metavar="SECONDS")
    ] = 1.0
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False


@dataclass(frozen=True, slots=True)
class Parted:
    """Which shards are searched here, or elsewhere."""

    shard: Annotated[
        str | None, typer.Option("--shard", help="Search one shard of each release only: 2/4.", metavar="I/S")
    ] = None
    shards: Annotated[
        str | None,
        typer.Option("--shards", help="Ask the services of all shards, in their order.", metavar="URL,URL,..."),
    ] = None
    partial: Annotated[bool, typer.Option("--partial", help="Answer without shards that are silent, and say so.")] = (
        False
    )


def serve(listening: Listening, offered: Offered, parted: Parted, home: Home = None) -> None:
    r"""Answer questions over HTTP, and show collections in a browser.

    Collections that go into service later, and new releases of those that are, are taken up while it
    runs. Only this machine can reach the service, unless --host says otherwise; then it asks for a
    token. It ends with Ctrl-C or SIGTERM, once the requests that it has begun with are answered.

    Examples:
      aepipe serve                                   http://127.0.0.1:8477/
      aepipe serve --name photos --port 9000 --open
      aepipe serve --host 0.0.0.0 --token-file tokens --allow-host search.example.org
      aepipe serve --uds /run/aepipe.sock --root-path /search --trust-proxy 127.0.0.1
      aepipe serve --shard 1/2 --port 8481           and --shard 2/2 --port 8482; then
      aepipe serve --shards http://127.0.0.1:8481,http://127.0.0.1:8482
      curl 'http://127.0.0.1:8477/v1/collections/photos/search?id=17&k=5'
      curl --data-binary @boot.jpg -H 'Content-Type: image/jpeg' \
        http://127.0.0.1:8477/v1/collections/photos/search

    `curl .../openapi.json` describes all that can be asked.
    """
    store, settings = open_store(home), settings_of(listening, offered, parted)
    _check_names(store, settings)
    try:
        from aepipe.serve import server
        from aepipe.serve.tokens import Tokens
    except ModuleNotFoundError as error:
        raise ExtraError(str(error.name), "serve") from None
    tokens = Tokens.at(settings.token_file) if settings.token_file else None
    socket = server.bound(settings)
    where = server.address(settings, socket)
    token = f"#token={tokens.of['write' if settings.write else 'read']}" if tokens else ""
    of = f" for shard {settings.shard}" if settings.shard else f" for {len(settings.shards)} shards"
    say(f"aepipe answers at {where}{token}{of if settings.count else ''}")
    if offered.open and settings.uds is None:
        typer.launch(f"{where}{token}")
    by = server.serve(store, settings, tokens, socket)
    if by:
        complain(f"ended by {by}")


def _check_names(store: Store, settings: Settings) -> None:
    """Check that the collections to be served are there, in as many shards as are served.

    Raises:
        NotFoundError: nothing is in service under a name.
        QueryError: a release has another number of shards; without names, all have.
    """
    from aepipe.release.shards import manifest_in_shards

    known = registry.names(store)
    if missing := [name for name in settings.names if registry.tidy_name(name) not in known]:
        raise NotFoundError(f"no release is in service under the name {missing[0]!r}; these are: {', '.join(known)}")
    if settings.count is None:
        return
    wrong: list[QueryError] = []
    for name in settings.names or known:
        try:
            manifest_in_shards(store, registry.resolve(store, name)[1], settings.count)
        except QueryError as error:
            wrong.append(error)
    if wrong and (settings.names or len(wrong) == len(known)):
        raise wrong[0]


def settings_of(listening: Listening, offered: Offered, parted: Parted) -> Settings:
    """Return the settings that options stand for.

    Raises:
        QueryError: a size, a prefix or a shard cannot be read, or options exclude each other.
    """
    from aepipe.client.wire import Wire
    from aepipe.index.shards import Shard

    if parted.shard is not None and parted.shards is not None:
        raise QueryError("--shard searches one shard here, --shards asks others for all of them: give one of the two")
    if parted.partial and parted.shards is None:
        raise QueryError("--partial is about shards that others search: give --shards, too")
    addresses = tuple(one.strip() for one in (parted.shards or "").split(",") if one.strip())
    for one in addresses:
        Wire(one)  # checks it
    if parted.shards is not None and not addresses:
        raise QueryError("--shards names no service: give the addresses of all, with commas between")
    prefix = listening.root_path.rstrip("/")
    if prefix and not prefix.startswith("/"):
        raise QueryError(f"--root-path {listening.root_path!r}: begins with a /")
    more = {} if offered.threads is None else {"threads": offered.threads}
    return Settings(
        names=tuple(offered.name or ()),
        host=listening.host,
        port=listening.port,
        uds=listening.uds,
        token_file=listening.token_file,
        write=offered.write,
        originals=offered.originals,
        allow_hosts=tuple(listening.allow_host or ()),
        cors=tuple(listening.cors or ()),
        trust_proxy=tuple(listening.trust_proxy or ()),
        root_path=prefix,
        queue=offered.queue,
        rate=offered.rate,
        max_upload=_size(offered.max_upload),
        where_seconds=offered.where_seconds,
        shard=None if parted.shard is None else Shard.parse(parted.shard),
        shards=addresses,
        partial=parted.partial,
        **more,
    )


def _size(text: str) -> int:
    """Return a size such as ``32M`` in bytes.

    Raises:
        QueryError: it is none.
    """
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].isalpha() else (text, "")
    if not number.isdecimal() or unit not in UNITS or len(number) > 9:
        raise QueryError(f"--max-upload {text!r}: a size is wanted, such as 500K or 32M")
    return int(number) * UNITS[unit]
