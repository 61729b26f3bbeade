"""Every error that aepipe raises on purpose.

AepipeError
├── RecipeError            a recipe that cannot be run: file, key, allowed values
├── SourceError            a source that is missing, empty, or too full of unreadable items
│   └── UnclearError       files of several kinds, and none prevails
├── ItemError              one item that cannot be decoded (quarantined at ingestion, fatal in a query)
│   └── EmptyItemError     an item without fault that has nothing in it: silence (passed over, no bad item)
├── CodeError              codes of the wrong length, bad hex, pad bits that are not zero
│   └── FingerprintError   codes of two encoders in one operation
├── TrainingError          a loss that is not finite
├── GateError              a new release that is worse than the one in service
├── ExtraError             an optional package that is not installed
├── EngineError            an engine that cannot be reached, or lost a part of the work
├── ServiceError           a service that does not answer, or cannot
├── QueryError             a query that cannot be answered: an unknown id, contradicting options
└── StoreError             anything about the store
    ├── TargetError        a file to be written whose folder is missing, or that is there already
    ├── NotFoundError      no such release, name or ref
    ├── CorruptError       bytes that differ from their manifest
    ├── BusyError          another run writes under the same name
    └── FullError          a full disk

A user's mistake raises one of these with the place, the value and the remedy; the command line prints it as one line
and exits with the status of the error's class. ``assert`` is for our own bugs.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

STATUS = {
    0: "done",
    1: "the gate refused a release, and the old one stays in service; or `aepipe doctor` found something",
    2: "wrong use or input: one line on stderr says what to change",
    3: "the store or the machine cannot: read-only, no permission, a full disk, damaged files",
    70: "an error that nobody foresaw: one line names the file with its traceback",
    75: "another process is writing to the collection: the same command works when that one has ended",
    130: "interrupted (Ctrl-C)",
    141: "the reader of the output closed the pipe",
    143: "ended by SIGTERM",
}
"""Every exit status of the command line, and what it means."""
SHUT, WRONG_USE, UNABLE, UNFORESEEN, BUSY, INTERRUPTED, READER_GONE, TERMINATED = 1, 2, 3, 70, 75, 130, 141, 143
"""The statuses by name: 70 and 75 are those of sysexits.h, the last three 128 and the number of a signal."""
SHOWN = 200
"""Letters of a name or a question that a message shows."""


def shortened(text: str, most: int = SHOWN) -> str:
    """Return a text with its middle left out, where it is too long for a message."""
    return text if len(text) <= most else f"{text[: most - 70].rstrip()} ... {text[-60:].lstrip()}"


class AepipeError(Exception):
    """Base of all errors that a user can mend; the text is always one line.

    Attributes:
        status: with which the command line exits, one of :data:`STATUS`.
    """

    status: ClassVar[int] = WRONG_USE

    def __init__(self, text: str = "") -> None:
        # Names and values in a text may hold line breaks; a message in a terminal or a log may not.
        super().__init__(" ".join(text.splitlines()))


class RecipeError(AepipeError):
    """A recipe that cannot be run; the text names file, key and allowed values."""


class SourceError(AepipeError):
    """A source that is missing, empty, or has too many unreadable items."""


class UnclearError(SourceError):
    """Files of several kinds, and none prevails: the user has to say which is meant.

    Attributes:
        kinds: that there are, the most frequent first.
    """

    def __init__(self, text: str, kinds: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.kinds = kinds

    def __reduce__(self) -> tuple[type[UnclearError], tuple[str, tuple[str, ...]]]:
        return type(self), (str(self), self.kinds)


class ItemError(AepipeError):
    """One item that cannot be decoded.

    ``reason`` is short and free of the key, so that a quarantine table can be grouped by it.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{shortened(key)}: {reason}" if key else reason)
        self.key = key
        self.reason = reason

    def __reduce__(self) -> tuple[type[ItemError], tuple[str, str]]:
        return type(self), (self.key, self.reason)  # errors cross processes; by default only the text would


class EmptyItemError(ItemError):
    """An item that can be read, but holds nothing, as silence: it is passed over, not bad."""


class CodeError(AepipeError):
    """Codes of the wrong length, text that is not hex, or pad bits that are not zero."""


class FingerprintError(CodeError):
    """Codes of two encoders in one operation; distances between them have no meaning."""


class TrainingError(AepipeError):
    """Training cannot continue: a loss is not finite."""


class GateError(AepipeError):
    """A new release is worse than the one in service, so the old one stays."""

    status: ClassVar[int] = SHUT


class ExtraError(AepipeError):
    """An optional package is not installed.

    Args:
        package: that is missing.
        extra: of aepipe that brings it.
        why: what it is needed for.
        instead: what can be done without it.
    """

    def __init__(self, package: str, extra: str, why: str = "", instead: str = "") -> None:
        lead, rest = (f"{why}: " if why else ""), (f". {instead}" if instead else "")
        super().__init__(f"{lead}{package} is not installed: pip install 'aepipe[{extra}]'{rest}")
        self.package = package
        self.extra = extra
        self._told = (why, instead)

    def __reduce__(self) -> tuple[type[ExtraError], tuple[str, str, str, str]]:
        return type(self), (self.package, self.extra, *self._told)


class QueryError(AepipeError):
    """A query that cannot be answered: an unknown id, an option that contradicts another."""


class EngineError(AepipeError):
    """An engine cannot be reached, has no room for the work, or has lost a part of it too often."""

    status: ClassVar[int] = UNABLE


class ServiceError(AepipeError):
    """A service that cannot be reached, does not answer, or cannot do so now."""

    status: ClassVar[int] = UNABLE


class StoreError(AepipeError):
    """A problem of the store."""

    status: ClassVar[int] = UNABLE


class TargetError(StoreError):
    """A file to be written that is named wrongly: its folder is missing, or it is there already."""

    status: ClassVar[int] = WRONG_USE


class NotFoundError(StoreError):
    """No such release, name or ref in this store."""

    status: ClassVar[int] = WRONG_USE


class CorruptError(StoreError):
    """Bytes in the store differ from their manifest."""


class BusyError(StoreError):
    """Another run is writing under the same name."""

    status: ClassVar[int] = BUSY


class FullError(StoreError):
    """The disk is full."""


_REMEDIES = {
    errno.EACCES: "give this user permission, or take another store with --home",
    errno.EPERM: "give this user permission, or take another store with --home",
    errno.EROFS: "mount it for writing, or take another store with --home",
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space and run again",
    errno.EFBIG: "raise the limit of the size of files and run again",
    errno.EMFILE: "raise the limit of open files (`ulimit -n 4096`) and run again",
    errno.ENFILE: "close other programs and run again: the machine has too many files open",
    errno.ENOMEM: "give it more memory and run again",
    errno.EIO: "look for faults of the disk in the system's log; `aepipe verify --all` finds damaged files",
}


_REFUSALS = _REMEDIES.keys() - {errno.EROFS} | {errno.ENOLCK, errno.ESTALE, errno.ETIMEDOUT}


def is_refusal(error: BaseException) -> bool:
    """Say whether the system refused to read a file, which then may be as it should be."""
    return isinstance(error, OSError) and error.errno in _REFUSALS


def system_words(error: OSError) -> str:
    """Return what the operating system refused as one line: the file, the reason and the remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "`aepipe doctor` and `aepipe verify --all` look for the cause")
    file = f"{error.filename}: " if error.filename is not None else ""
    return f"{file}{error.strerror or error}; {remedy}"


def told(error: Exception) -> dict[str, Any]:
    """Return an error as JSON has it, for another process; :func:`heard` reads it."""
    made_of = error.__reduce__()[1] if isinstance(error, AepipeError) else (str(error),)
    return {"error": type(error).__name__, "made_of": list(made_of)}


def heard(told: Mapping[str, Any]) -> Exception:
    """Return the error that :func:`told` was given.

    Of one that is not aepipe's, only name and text are left.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    kind = globals().get(str(told["error"]))
    if not isinstance(kind, type) or not issubclass(kind, AepipeError):
        (text,) = told["made_of"]
        return EngineError(f"{told['error']}: {text}")
    made: Callable[..., AepipeError] = kind
    return made(*(tuple(one) if isinstance(one, list) else one for one in told["made_of"]))
