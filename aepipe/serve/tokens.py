"""Tokens of readers and writers from a file, and the cookie that a page gets for one.

A token comes as ``Authorization: Bearer``, or was traded for a cookie; never in an address, which logs and histories
keep. The cookie is signed, so that it outlives a restart, and is worth nothing once the file has other tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Literal

from aepipe.errors import QueryError

Role = Literal["read", "write"]
ROLES: tuple[Role, ...] = ("read", "write")
COOKIE = "aepipe"
DAYS = 30
"""For which a cookie is good."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a service.

    Attributes:
        of: a token for each role; that of ``write`` may read, too.
    """

    of: Mapping[Role, str]

    @classmethod
    def at(cls, file: Path) -> Tokens:
        """Read the tokens of a file; where it is missing, make them.

        Raises:
            QueryError: the file cannot be used, others can read it, or it holds something else.
        """
        try:
            if not file.exists():
                _make(file)
            mode, lines = file.stat().st_mode & 0o077, file.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise QueryError(f"{file}: no file of tokens: {error}") from None
        if mode:
            raise QueryError(f"{file}: others can read it; close it with: chmod 600 {file}")
        found = dict(line.split(" ", 1) for line in lines if line.strip() and " " in line)
        if set(found) != set(ROLES) or min(map(len, found.values())) < 20:
            raise QueryError(f"{file}: two lines are wanted, `read TOKEN` and `write TOKEN`, of 20 letters and more")
        return cls({role: found[role].strip() for role in ROLES})

    def role_of(self, token: str) -> Role | None:
        """Return the role of a token; None for a wrong one."""
        given = token.encode("utf-8", "replace")
        for role in reversed(ROLES):
            if hmac.compare_digest(self.of[role].encode(), given):
                return role
        return None

    def role_in(self, headers: Mapping[str, str]) -> Role | None:
        """Return the role that the headers of a request show; None for none."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.role_of(token.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return self._signed_role(cookie.value) if cookie else None

    def cookie(self, role: Role) -> str:
        """Return a cookie that stands for a role."""
        until = f"{role}.{int(time.time()) + DAYS * 86400}"
        return f"{until}.{self._signature(until)}"

    def _signed_role(self, value: str) -> Role | None:
        until, _, signature = value.rpartition(".")
        if not hmac.compare_digest(self._signature(until).encode(), signature.encode("utf-8", "replace")):
            return None
        role, _, end = until.partition(".")
        alive = end.isdecimal() and int(end) > time.time()
        return next((one for one in ROLES if one == role), None) if alive else None

    def _signature(self, text: str) -> str:
        key = "\n".join(self.of[role] for role in ROLES).encode()
        return hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _make(file: Path) -> None:
    """Write a file with new tokens, for its owner only."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
        stream.writelines(f"{role} {secrets.token_urlsafe(32)}\n" for role in ROLES)
