"""Addresses of systems, and the part of each that may be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from aepipe.errors import QueryError, ServiceError
from aepipe.sources.remote import is_silent
from aepipe.store.addresses import PATIENCE

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"(?:[^\s:@\[\]]*|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?")
_PLAIN = re.compile(r"(?P<scheme>[a-z][a-z0-9]*):(?P<rest>.+)", re.DOTALL)
_USER = re.compile(r"(\w[\w+.-]*://)[^/?#\s'\"]*@")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a system is.

    Attributes:
        text: as it was given; it may hold a password.
        scheme: ``postgresql``.
        host: with its port; empty for a folder or a file.
        user: empty where none is given.
        password: likewise.
        rest: what follows the host: ``/db?sslmode=require``; or the folder or file.
    """

    text: str = field(repr=False)
    scheme: str
    host: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    rest: str = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Address:
        """Read an address; nothing of a malformed one is shown, for any part may be a password.

        Raises:
            QueryError: it is malformed.
        """
        if text.lower().endswith((".duckdb", ".ddb")) and not _PLAIN.fullmatch(text):
            return cls(text, "duckdb", "", "", "", text)
        if found := _URL.fullmatch(text):
            return cls._of_url(text, found)
        if found := _PLAIN.fullmatch(text):
            return cls(text, found["scheme"], "", "", "", found["rest"])
        raise QueryError(f"no system has such an address; {ALLOWED}")

    @classmethod
    def _of_url(cls, text: str, found: re.Match[str]) -> Address:
        users, at, host = found["authority"].rpartition("@")
        if "@" in users + found["rest"] or not all(_HOST.fullmatch(one) for one in host.split(",")):
            raise QueryError(
                f"the address {found['scheme']}://... cannot be read: in a user, a password or an option, @ : / ? # "
                "are written %40 %3A %2F %3F %23; a password may be left out and given in the environment"
            )
        user, _, password = users.partition(":")
        return cls(text, found["scheme"], host if at or host else "", unquote(user), unquote(password), found["rest"])

    @property
    def is_url(self) -> bool:
        """Whether it names a server, and no folder or file."""
        return self.text.startswith(f"{self.scheme}://")

    @property
    def shown(self) -> str:
        """The address without user, password and options."""
        if not self.is_url:
            return _USER.sub(r"\1", self.text)
        return f"{self.scheme}://{self.host}{self.rest.partition('?')[0]}"

    @property
    def path(self) -> str:
        """What follows the host, without the slash and the options: the database."""
        return unquote(self.rest.partition("?")[0].strip("/"))

    def host_and_port(self, usual: int) -> tuple[str, int]:
        """Return the host and its port; the usual one where the address has none."""
        name, _, port = self.host.rpartition(":")
        return (name, int(port)) if name and port.isdecimal() else (self.host, usual)

    def check_folder(self) -> None:
        """Check that a folder can be where the address names one.

        Raises:
            QueryError: a file is there, or above it.
        """
        if self.is_url or "://" in self.rest:
            return
        path = Path(self.rest).expanduser()
        there = next((one for one in (path, *path.parents) if os.path.exists(one)), None)
        if there is not None and not there.is_dir():
            raise QueryError(f"{there}: not a folder")

    def check_answers(self, url: str) -> None:
        """Check that a server says anything at all, before its driver waits for it.

        Args:
            url: of it, where anybody may ask whether it is there.

        Raises:
            ServiceError: it takes the connection, and does not answer.
        """
        if is_silent(url):
            raise ServiceError(f"{self.shown}: no answer within {PATIENCE:g} s")

    @contextmanager
    def refusals_named(self, *errors: type[Exception]) -> Iterator[None]:
        """Turn errors of a driver into ours, without anything secret.

        Raises:
            ServiceError: one of them was raised.
        """
        try:
            yield
        except errors as error:
            raise ServiceError(f"{self.shown}: {self.hidden(error) or type(error).__name__}") from None

    def hidden(self, text: object) -> str:
        """Return a text of a driver in one line, without anything secret of the address."""
        line = _USER.sub(r"\1", " ".join(str(text).split()))
        options = [value for _, value in parse_qsl(self.rest.partition("?")[2])] if self.is_url else []
        for secret in sorted((self.text, self.password, *options), key=len, reverse=True):
            if len(secret) > 2:
                line = line.replace(secret, "***")
        return line


ALLOWED = (
    "allowed: postgresql://HOST/DATABASE, duckdb:FILE, lancedb:FOLDER, clickhouse://HOST/DATABASE, chdb:FOLDER, "
    "qdrant://HOST, qdrant:FOLDER, opensearch:FOLDER, milvus:FOLDER"
)
"""What an error says of the addresses there are."""
