"""Mailboxes in the format mbox: all mails of a folder in one file, read in place.

A mail begins with a line ``From sender date`` after an empty line, followed by its headers (RFC 4155).
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from aepipe.errors import SourceError
from aepipe.sources.files import Found, Piece
from aepipe.sources.formats.members import Member
from aepipe.sources.item import Reader

SUFFIXES = (".mbox", ".mbx")
_BEGINS = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\n]{1,1000}\n(?=[A-Za-z][A-Za-z0-9-]{0,99}[:\s])")


def claims(name: str) -> bool:
    """Whether a file has the name of a mailbox."""
    return name.lower().endswith(SUFFIXES)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the mail at ``offset+size`` of the mailbox."""
    return reader_at(path, at)(key)


def reader_at(path: Path, at: str) -> Reader:
    """Return what reads the mail at a place; see :func:`read_at`."""
    offset, _, size = at.partition("+")
    return Piece(str(path), int(offset), int(size))


def members(found: Found) -> Iterator[Member]:
    """Yield the mails of a mailbox, named by their numbers: ``1.eml``.

    Raises:
        SourceError: it does not begin with a mail.
    """
    for number, (start, end) in enumerate(_spans(found), 1):
        yield Member(f"{number}.eml", f"{start}+{end - start}", Piece(found.path, start, end - start))


def _spans(found: Found) -> Iterator[tuple[int, int]]:
    """Yield where each mail begins and ends, without the line that parts it from the one before."""
    with open(found.path, "rb") as stream:
        try:
            held = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return
        with held:
            begun: int | None = None
            for line in _BEGINS.finditer(held):
                if begun is None and line.start():
                    break
                if begun is not None:
                    yield begun, line.start()
                begun = line.end()
            if begun is None:
                raise SourceError(f"{found.path}: not a mailbox: it does not begin with a line 'From sender date'")
            yield begun, len(held)
