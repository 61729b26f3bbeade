"""What a service is started with."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aepipe.index.shards import Shard

LOCAL = ("127.0.0.1", "localhost", "[::1]")
"""Hosts by which this machine calls itself."""
PORT = 8477


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices of one service.

    Attributes:
        names: of the collections; empty for every one in service, also those to come.
        host: address that is listened on.
        port: 0 for any that is free.
        uds: a Unix socket in place of both.
        token_file: holds the tokens of readers and of writers; None lets everybody in who reaches the address.
        write: marks of hits are taken, and rows are removed.
        originals: files are handed out as they are, not only made small.
        allow_hosts: further names by which the service may be called.
        cors: origins of other pages that may ask.
        trust_proxy: addresses of proxies whose ``X-Forwarded-*`` headers are believed.
        root_path: path in front of all others, where a proxy adds one.
        threads: searches at a time.
        queue: searches that wait for a thread; further ones are refused at once.
        rate: requests a second of one client; None for any.
        max_upload: bytes of a body.
        where_seconds: time that a condition in SQL may take.
        request_seconds: time that a request may take to arrive, and then to be answered.
        shard: the only one of a release's shards that is searched here; None for all.
        shards: addresses of services that search one shard each, in the order of their numbers; empty where the
            releases are searched here.
        partial: an answer without the shards that are silent is one, and says so, unless a request refuses that.
    """

    names: tuple[str, ...] = ()
    host: str = LOCAL[0]
    port: int = PORT
    uds: Path | None = None
    token_file: Path | None = None
    write: bool = False
    originals: bool = False
    allow_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    trust_proxy: tuple[str, ...] = ()
    root_path: str = ""
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    queue: int = 64
    rate: float | None = None
    max_upload: int = 32 << 20
    where_seconds: float = 1.0
    request_seconds: float = 30.0
    shard: Shard | None = None
    shards: tuple[str, ...] = ()
    partial: bool = False

    @property
    def count(self) -> int | None:
        """Shards that a release needs to be served; None for any."""
        return self.shard.count if self.shard else len(self.shards) or None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.uds is not None or self.host.strip("[]") in {"127.0.0.1", "localhost", "::1"}

    @property
    def hosts(self) -> frozenset[str]:
        """The names by which the service may be called, in lower case, without a port."""
        bound = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return frozenset(name.lower() for name in (*LOCAL, bound, *self.allow_hosts))
