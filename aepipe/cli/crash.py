"""What nobody foresaw: one line, with the file of its traceback and how to report it.

Nothing heavy is imported, because what failed may be an import.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress

from aepipe.errors import UNFORESEEN


def unforeseen(error: BaseException, complain: Callable[[str], None] | None = None) -> int:
    """Keep the traceback of an error in a file, name it in one line, and return the status.

    Args:
        error: that was caught.
        complain: prints the line; by default plainly on stderr.
    """
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    try:
        file = _kept(error)
    except OSError:  # no room or no folder for it: better a long message than none
        sys.stderr.write(_without_passwords("".join(traceback.format_exception(error))))
        where = "the traceback is above"
    else:
        where = f"the traceback is in {file}"
    cause = _without_passwords(cause)[:300]
    line = f"unforeseen error, {cause}; {where}: please report it with that text where you have aepipe from"
    (complain or _plainly)(line)
    return UNFORESEEN


def _kept(error: BaseException) -> str:
    """Write the traceback, the command line and the versions into a new file, and return its name."""
    handle, file = tempfile.mkstemp(prefix="aepipe-", suffix=".txt", text=True)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(_without_passwords(f"{sys.argv}\nPython {sys.version}\n{platform.platform()}\n\n"))
        stream.write(_without_passwords("".join(traceback.format_exception(error))))
    return file


def _without_passwords(text: str) -> str:
    """Return a text whose addresses have no user and password."""
    return re.sub(r"(://)[^/\s'\"]*@", r"\1***@", text)


def _plainly(line: str) -> None:
    with suppress(OSError, AttributeError):  # a full disk behind stderr, or none at all
        sys.stderr.write(f"aepipe: {line}\n")
