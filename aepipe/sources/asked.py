"""What an argument of a query names: a file or a folder, or nothing of the sort."""

from __future__ import annotations

import os
import re
from pathlib import Path

from aepipe.sources.files import Refused, existing
from aepipe.sources.item import Item

_LIKE_A_PATH = re.compile(r"\S*(/\S*|\.(?=\d*[A-Za-z])[A-Za-z0-9]{1,5})")


def path_named(text: str) -> Path | None:
    """Return the file or folder that a text names; None where nothing is there.

    A text that no system takes for a name, because it is too long or has a zero byte, names nothing. A name with
    accents is found in either normal form of Unicode.
    """
    if not text or "\0" in text:
        return None
    path = existing(Path(text))
    return path if os.path.exists(path) else None


def file_named(text: str) -> Path | None:
    """Return the file that a text names; None where there is none."""
    path = path_named(text)
    return path if path is not None and path.is_file() else None


def is_like_a_path(text: str) -> bool:
    """Whether a text looks like a path, and not like words: ``a/b``, ``notes.txt``."""
    return _LIKE_A_PATH.fullmatch(text) is not None


def nothing_at(text: str, wanted: str) -> Item:
    """Return an item that says that a text names nothing, and what the collection answers.

    Args:
        text: the argument.
        wanted: what the collection can be asked with: ``pictures``.
    """
    reason = f"no such file or folder; this collection answers {wanted}, and its own rows by --key or --id"
    if not is_like_a_path(text):
        reason += ". Words are for a collection of documents"
    return Item(text, text, Refused(reason))
