"""Questions as they go over the network, in requests of a bounded size."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from aepipe.errors import ItemError, QueryError, shortened

if TYPE_CHECKING:
    from aepipe.sources.item import Item

Way = Literal["json", "form", "none"]

MOST: dict[Way, int] = {"json": 256, "form": 16, "none": 1}
"""Questions of one request."""
LARGEST: dict[Way, int] = {"json": 600_000, "form": 8 << 20, "none": 0}
"""Bytes of the questions of one request; a single question may be larger."""
NAME = 200
"""Letters of a name that go with bytes: its end, which tells the kind of a file."""
_ODD = re.compile(r"[^\w .@#+()\[\]{}=,;!~&-]")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Attributes:
        text: what the user called it.
        field: of a query in JSON, with its value; bytes go as a file.
        value: of that field.
        failure: why it cannot be sent.
    """

    text: str
    field: str
    value: Any
    failure: ItemError | None = None

    @property
    def way(self) -> Way:
        """How it is sent."""
        return "none" if self.failure else "form" if self.field == "bytes" else "json"

    @property
    def size(self) -> int:
        """About how many bytes it has."""
        return len(self.value) if self.field == "bytes" else len(json.dumps(self.value))

    @property
    def outside(self) -> bool:
        """Whether it is an item from outside, which may be one that cannot be read."""
        return self.field not in {"id", "key", "code"}

    @property
    def sent_name(self) -> str:
        """What the bytes are called on the way.

        It names no folder of this machine, and has no letter that a form would change.
        """
        return _ODD.sub("_", self.text.rpartition("/")[2])[-NAME:] or "upload"

    def failed(self, said: str) -> ItemError:
        """Return the error of what a service says of this item, which it knows by another name."""
        name = self.sent_name if self.field == "bytes" else "vector" if self.field == "vector" else shortened(self.text)
        name = row_name(self.value) if self.field == "row" else name
        return ItemError(self.text, said.removeprefix(f"{' '.join(name.splitlines())}: "))


def row_name(row: Mapping[str, Any]) -> str:
    """Return what a service calls a row of a table."""
    body = json.dumps(row)
    return body if len(body) < 60 else f"{body[:56]}..."


def asked_item(kind: str, item: Item) -> Asked:
    """Return the question of an item from outside; one that cannot be read carries the reason."""
    try:
        return asked_bytes(kind, item.key, item.read())
    except ItemError as error:
        return Asked(item.key, "bytes", b"", error)


def check_letters(option: str, *texts: str) -> None:
    """Check that texts can be sent.

    Raises:
        QueryError: one is not in UTF-8.
    """
    for text in texts:
        if bad := _bad(text):
            raise QueryError(f"{option} {text!r}: {bad}")


def asked_bytes(kind: str, name: str, data: bytes) -> Asked:
    """Return the question of some bytes in a collection of a kind.

    Raises:
        ItemError: they hold no row or vector.
    """
    if kind == "table":
        return Asked(name, "row", _row(name, data))
    if kind == "vectors":
        return Asked(name, "vector", _vector(name, data))
    # What is not in UTF-8 cannot be sent as a text.
    if kind == "text" and data == name.encode("utf-8", "surrogateescape") and not _bad(name):
        return Asked(name, "text", name)
    return Asked(name, "bytes", data)


def _row(name: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ItemError(name, "not a JSON object of columns and values")
    return found


def _vector(name: str, data: bytes) -> list[float]:
    """Return the numbers of a JSON list, a ``.npy`` file, or float32 in the machine's order."""
    from aepipe.sources.vectors.numbers import NPY, numbers

    try:
        json.loads(data)
        width = None
    except (ValueError, RecursionError):
        width = None if data.startswith(NPY) else len(data) // 4
    found: list[float] = numbers(data, name, width).tolist()
    return found


def blocks(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Yield questions in the order asked, as many together as one request takes."""
    block: list[Asked] = []
    size = 0
    for one in asked:
        full = len(block) >= MOST[one.way] or size + one.size > LARGEST[one.way]
        if block and (full or one.way != block[0].way):
            yield block
            block, size = [], 0
        block.append(one)
        size += one.size
    if block:
        yield block


def as_form(block: Sequence[Asked]) -> tuple[bytes, str]:
    """Return files as the body of a form, and its type.

    Source: RFC 7578, "Returning Values from Forms: multipart/form-data".
    """
    border = secrets.token_hex(16)
    parts: list[bytes] = []
    for one in block:
        head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{one.sent_name}"\r\n\r\n'
        parts += [head.encode("utf-8", "replace"), one.value, b"\r\n"]
    return b"".join([*parts, f"--{border}--\r\n".encode()]), f"multipart/form-data; boundary={border}"


def _bad(text: str) -> str | None:
    from aepipe.sources.asked import not_utf8

    return not_utf8(text)
